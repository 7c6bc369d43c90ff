"""A LABELMAP as BINARY: the same voxels and words to every reader."""

from copy import deepcopy

import numpy as np
import pydicom
import pytest

import oracle
import patients
import segmented

PROVENANCE = (0x0063, "ENGRAM PROVENANCE 1")


@pytest.fixture
def path(made, name):
    return made.file(name, "binary")


@pytest.fixture
def expected(case) -> dict[int, np.ndarray]:
    """Masks by the numbers that a BINARY SEG gives: 1, 2, 3 and so on."""
    return {number: case.masks[old] for number, old in enumerate(sorted(case.masks), start=1)}


def test_dciodvfy_finds_no_error(path):
    assert oracle.dciodvfy_errors(path, "Segmentation") == []


def test_voxels_are_the_same_to_pydicom_highdicom_and_dcmqi(path, case, expected, tmp_path):
    readings = [oracle.referenced_masks(path, case.images), oracle.highdicom_masks(path, case.images)]
    # dcmqi wants one spacing between slices.
    if case.images[0].PatientID != f"T{segmented.PATIENTS['uneven']}":
        readings.append(oracle.dcmqi_masks(path, case.images, tmp_path))
    for found in readings:
        assert found.keys() == expected.keys()
        for number, mask in expected.items():
            np.testing.assert_array_equal(found[number], mask)


def test_frames_are_where_segments_are(path, case, expected):
    seg = pydicom.dcmread(path)
    slices = {image.SOPInstanceUID: index for index, image in enumerate(case.images)}
    found = [(frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber,
              slices[frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID])
             for frame in seg.PerFrameFunctionalGroupsSequence]
    assert sorted(found) == sorted(
        (number, index) for number, mask in expected.items() for index in np.flatnonzero(mask.any(axis=(1, 2))))
    assert found[0][0] == 1 and [number for number, _ in found] == sorted(number for number, _ in found)


def test_segments_say_what_they_said(path, case):
    seg = pydicom.dcmread(path)
    old = [case.segments[number] for number in sorted(case.segments)]
    assert [item.SegmentNumber for item in seg.SegmentSequence] == list(range(1, len(old) + 1))
    for before, after in zip(old, seg.SegmentSequence, strict=True):
        before = deepcopy(before)
        del before.SegmentNumber, after.SegmentNumber
        assert after == before
    assert seg.ReferencedSeriesSequence == case.seg.ReferencedSeriesSequence


def test_provenance_of_our_own_result_stays(made):
    seg = pydicom.dcmread(made.file("own", "binary"))
    for item in seg.SegmentSequence:
        block = item.private_block(*PROVENANCE)
        assert block[1].value > 0 and 0 < block[3].value <= 1


def test_it_is_another_object_and_the_same_each_time(made, path, case, name):
    seg = pydicom.dcmread(path)
    assert seg.SegmentationType == "BINARY"
    if case.seg.SegmentationType == "BINARY":
        assert seg == case.seg
        return
    assert seg.SOPInstanceUID != case.uid and seg.SeriesInstanceUID != case.seg.SeriesInstanceUID
    assert seg.StudyInstanceUID == case.seg.StudyInstanceUID
    assert made.get(case.uid, "binary").content == path.read_bytes()


def test_what_is_no_label_map_is_refused(made):
    images = patients.images(20)
    seg = segmented.label_map(20, images, segmented.description(1, patients.LIVER), segmented.description(2, patients.SPLEEN),
                          kind="FRACTIONAL")
    made.api.store(*images, seg)
    for uid, status, code in [(seg.SOPInstanceUID, 422, "no_label_map"), ("1.2.3", 404, "no_such_segmentation"),
                              (images[0].SOPInstanceUID, 422, "unreadable_segmentation")]:
        answer = made.get(uid, "binary")
        assert (answer.status_code, answer.json()["code"]) == (status, code)
