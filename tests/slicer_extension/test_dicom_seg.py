"""DICOM-SEG that the extension writes and reads, beside what others make of it."""

import datetime
import gzip
import subprocess
import sys
from functools import cache
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.filebase import DicomBytesIO
from pydicom.sr.coding import Code as PydicomCode

import cases
import patients
from EngramLib import as_dicom, colours, dicom_seg, geometry, target, teach
from EngramLib.coding import Code, Coding, of_terminology
from EngramLib.dicom_seg import Authorship, Segment
from EngramLib.errors import EngramError
from steps import client_store, never, silent

AUTHORSHIP = Authorship("Made in a test", "Reader^Müller", datetime.datetime(2026, 1, 5, 9, 30))
STRUCTURE = Code("123037004", "SCT", "Anatomical Structure")
LIVER = Coding(STRUCTURE, Code("10200004", "SCT", "Liver"))
RIGHT_KIDNEY = Coding(
    STRUCTURE, Code("64033007", "SCT", "Kidney"), (Code("24028007", "SCT", "Right"), Code("255561001", "SCT", "Medial")),
    Code("818983003", "SCT", "Abdomen"))


def tool(name: str) -> str:
    return str(Path(sys.executable).parent / name)


def dciodvfy_errors(path) -> list[str]:
    done = subprocess.run([tool("dciodvfy"), "-new", path], capture_output=True, text=True)
    lines = (done.stdout + done.stderr).splitlines()
    assert lines, "dciodvfy said nothing"
    return [line for line in lines if line.startswith("Error")]


ORIENTATIONS = ["axial", "oblique", "flipped"]


@pytest.fixture(scope="module", params=ORIENTATIONS)
def case(request, tmp_path_factory):
    return cases.make(70 + ORIENTATIONS.index(request.param), request.param, tmp_path_factory.mktemp("case") / "images")


def segments_on(grid, overlapping: bool) -> list[Segment]:
    random = np.random.default_rng(7)
    liver = random.random(grid.shape) < 0.3
    kidney = random.random(grid.shape) < 0.2
    if not overlapping:
        kidney &= ~liver
    liver[2] = kidney[2] = False
    return [Segment("Liver", LIVER, liver, colour=(200, 30, 60)),
            Segment("Right kidney", RIGHT_KIDNEY, kidney, "SEMIAUTOMATIC", (0, 114, 178))]


@pytest.mark.parametrize(("encoding", "overlapping"), [("BINARY", True), ("LABELMAP", False)])
def test_what_is_written_is_read_by_all(case, tmp_path, encoding, overlapping):
    grid = geometry.grid_of(case.images)
    written = segments_on(grid, overlapping)
    uid, content = dicom_seg.write(grid, written, AUTHORSHIP, encoding)
    path = tmp_path / "seg.dcm"
    path.write_bytes(content)
    assert dciodvfy_errors(path) == []

    # By the extension itself.
    back = dicom_seg.read(content, grid)
    for one, before in zip(back, written, strict=True):
        np.testing.assert_array_equal(one.mask, before.mask)
        assert (one.label, one.coding, one.algorithm_type) == (before.label, before.coding, before.algorithm_type)
        assert np.abs(np.subtract(one.colour, before.colour)).max() <= 1

    # By pydicom and highdicom.
    seg = hd.seg.segread(path)
    assert seg.SOPInstanceUID == uid and seg.ContentCreatorName == "Reader^Müller"
    pixels = seg.get_pixels_by_source_instance(
        [one.sop_instance_uid for one in grid.slices], ignore_spatial_locations=True, assert_missing_frames_are_empty=True)
    for index, before in enumerate(written):
        found = pixels[..., index] if encoding == "BINARY" else hd_mask(pixels, index + 1)
        np.testing.assert_array_equal(found.astype(bool), before.mask)
    described = seg.get_segment_description(2)
    assert described.segmented_property_type == PydicomCode("64033007", "SCT", "Kidney")
    modifiers = described.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence
    assert [one.CodeValue for one in modifiers] == ["24028007", "255561001"]


def hd_mask(pixels: np.ndarray, number: int) -> np.ndarray:
    return pixels[..., number - 1] if pixels.ndim == 4 else pixels == number


def test_dcmqi_reads_it(case, tmp_path):
    """dcmqi, what QuantitativeReporting reads with, finds the same number of voxels at the same place."""
    grid = geometry.grid_of(case.images)
    written = segments_on(grid, True)
    (tmp_path / "seg.dcm").write_bytes(dicom_seg.write(grid, written, AUTHORSHIP)[1])
    done = subprocess.run(
        [tool("segimage2itkimage"), "--inputDICOM", tmp_path / "seg.dcm", "--outputDirectory", tmp_path, "--outputType", "nrrd"],
        capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    for number, before in enumerate(written, start=1):
        header, data = (tmp_path / f"{number}.nrrd").read_bytes().split(b"\n\n", 1)
        if b"encoding: gzip" in header:
            data = gzip.decompress(data)
        fields = dict(line.split(": ", 1) for line in header.decode().splitlines() if ": " in line)
        kind = {"short": "<i2", "unsigned short": "<u2", "unsigned char": "u1", "uchar": "u1"}[fields["type"]]
        assert np.count_nonzero(np.frombuffer(data, kind)) == before.mask.sum()
        origin = np.array(fields["space origin"].strip("()").split(","), float)
        shown = np.flatnonzero(before.mask.any(axis=(1, 2)))
        np.testing.assert_allclose(origin, grid.slices[shown[0]].position, atol=1e-4)


def test_engram_takes_it(taught, client, case):
    client_store(client, case.images)
    uids = tuple(case.uids)
    located = target.locate(client, target.Target(uids), silent, never)
    made = teach.teach(client, located, segments_on(located.grid, True), AUTHORSHIP, [], False, silent, never)
    assert made.slices == patients.SLICES
    assert {one["label"] for one in map(dict, taught.get("/labels").json())} >= {"SCT:10200004", "SCT:64033007|SCT:24028007|SCT:255561001"}


def test_highdicoms_binary_and_labelmap_are_read(case):
    grid = geometry.grid_of(case.images)
    order = [case.uids.index(one.sop_instance_uid) for one in grid.slices]
    liver, spleen = case.truth[patients.LIVER][order], case.truth[patients.SPLEEN][order]
    alone = spleen & ~liver
    written = {"BINARY": np.stack([liver, spleen], -1).astype(np.uint8), "LABELMAP": (liver + 2 * alone).astype(np.uint8)}
    for kind, array in written.items():
        seg = hd.seg.Segmentation(
            grid.headers, array, kind, patients.segmentation(1).SegmentSequence, "1.2.3", 1, "1.2.4", 1, "M", "M", "1", "1")
        back = dicom_seg.read(patients.part10(seg), grid)
        assert [one.label for one in back] == ["Liver", "Spleen"]
        np.testing.assert_array_equal(back[0].mask, liver)
        np.testing.assert_array_equal(back[1].mask, alone if kind == "LABELMAP" else spleen)


def test_frames_that_refer_to_no_image_are_placed_by_their_position(case):
    grid = geometry.grid_of(case.images)
    written = segments_on(grid, False)
    seg = pydicom.dcmread(DicomBytesIO(dicom_seg.write(grid, written, AUTHORSHIP)[1]))
    for groups in seg.PerFrameFunctionalGroupsSequence:
        del groups.DerivationImageSequence
    for one, before in zip(dicom_seg.read(patients.part10(seg), grid), written, strict=True):
        np.testing.assert_array_equal(one.mask, before.mask)


def test_only_edited_slices(case):
    """Of an edited slice every segment says something, also that it is not there; of others none does."""
    grid = geometry.grid_of(case.images)
    _, content = dicom_seg.write(grid, segments_on(grid, True), AUTHORSHIP, only_slices=[2, 5])
    for one in dicom_seg.read(content, grid):
        assert one.slices == (2, 5)
        assert not one.mask[2].any() and one.mask[5].any()


def refused(content: bytes, grid) -> str:
    with pytest.raises(EngramError) as raised:
        dicom_seg.read(content, grid)
    return raised.value.message


def test_what_cannot_be_read_is_told_so(case):
    grid = geometry.grid_of(case.images)
    _, content = dicom_seg.write(grid, segments_on(grid, True), AUTHORSHIP)

    def changed(**attributes) -> bytes:
        seg = pydicom.dcmread(DicomBytesIO(content))
        for name, value in attributes.items():
            setattr(seg, name, value)
        return patients.part10(seg)

    assert "FRACTIONAL" in refused(changed(SegmentationType="FRACTIONAL"), grid)
    assert "too short for" in refused(changed(PixelData=b"\0\0"), grid)
    assert "is of 32 x" in refused(changed(Rows=32), grid)
    assert "is no segmentation" in refused(patients.part10(case.images[0]), grid)
    assert "it is damaged" in refused(changed(SharedFunctionalGroupsSequence=None), grid)
    assert "cannot be read" in refused(content[:3000], grid)
    other = geometry.grid_of(patients.images(99))
    assert "none of the volume's slices" in refused(content, other)
    with pytest.raises(EngramError, match="overlap"):
        dicom_seg.write(grid, segments_on(grid, True), AUTHORSHIP, "LABELMAP")
    empty = [Segment("Liver", LIVER, np.zeros(grid.shape, bool))]
    with pytest.raises(EngramError, match="All segments are empty"):
        dicom_seg.write(grid, empty, AUTHORSHIP)


@cache
def small() -> tuple[geometry.Grid, bytes]:
    grid = geometry.grid_of(patients.images(5)[:3])
    return grid, dicom_seg.write(grid, segments_on(grid, True), AUTHORSHIP)[1]


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damaged_bytes_are_an_error_and_nothing_else(data):
    grid, content = small()
    content = bytearray(content)
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, min(len(content), 6000) - 1))] = data.draw(st.integers(0, 255))
    try:
        read = dicom_seg.read(bytes(content), grid)
    except EngramError:
        return
    assert all(one.mask.shape == grid.shape for one in read)


@pytest.mark.parametrize("rgb", [(0, 0, 0), (255, 255, 255), (255, 0, 0), (12, 200, 77), *colours.PALETTE])
def test_colours_go_there_and_back(rgb):
    assert np.abs(np.subtract(colours.of_dicom(colours.to_dicom(rgb)), rgb)).max() <= 1


def test_a_terminology_entry_goes_there_and_back_as_far_as_slicer_has_room():
    one = RIGHT_KIDNEY._replace(modifiers=RIGHT_KIDNEY.modifiers[:1])
    assert of_terminology(one.terminology()) == one
    assert Coding.of_json(RIGHT_KIDNEY.to_json()) == RIGHT_KIDNEY
    assert of_terminology("") is None
    awkward = LIVER._replace(property_type=Code("1", "99X", "a~b^c|d"))
    assert of_terminology(awkward.terminology()).property_type == Code("1", "99X", "a b c d")


@given(st.lists(st.booleans(), min_size=1, max_size=60))
def test_runs(pixels):
    mask = np.array(pixels)
    lengths = teach.runs(mask)
    rebuilt = np.concatenate([np.full(length, index % 2) for index, length in enumerate(lengths)])
    np.testing.assert_array_equal(rebuilt.astype(bool), mask)
    assert all(lengths[1:])


@pytest.mark.parametrize("modality", list(as_dicom.SOP_CLASSES))
def test_a_volume_written_as_a_series_is_valid(tmp_path, modality):
    identifiers = as_dicom.Identifiers("Doe^Jane", "P1", modality, "19700101", "F", "Study", "Series")
    (_, content), *_ = as_dicom.write(np.arange(140.0).reshape(4, 5, 7) / 3, np.diag([-1.5, -1.2, 4, 1]), identifiers)
    (tmp_path / "image.dcm").write_bytes(content)
    assert dciodvfy_errors(tmp_path / "image.dcm") == []


@pytest.mark.parametrize(("seg", "images"), [
    ("liver.dcm", "ct-3slice"), ("partial_overlaps.dcm", "ct-3slice"), ("23x38x3/seg/label.seg", "23x38x3/image"),
    ("24x38x3/seg/label.seg", "24x38x3/image"), ("24x38x3/seg/label.seg", "24x38x3/multiframe")])
def test_dcmqis_samples_are_read(shared, seg, images):
    """Each frame of each segment, by pydicom, is on the slice that lies where the frame says it does."""
    folder = shared / "data" / "seg-samples" / "dcmqi"
    grid = geometry.grid_of([pydicom.dcmread(path) for path in sorted((folder / images).iterdir())])
    read = {one.number: one.mask for one in dicom_seg.read((folder / seg).read_bytes(), grid)}
    heights = np.array([one.position @ grid.normal for one in grid.slices])
    stored = pydicom.dcmread(folder / seg)
    expected = {number: np.zeros(grid.shape, bool) for number in read}
    for plane, groups in zip(stored.pixel_array, stored.PerFrameFunctionalGroupsSequence, strict=True):
        position = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float)
        at = int(np.abs(heights - position @ grid.normal).argmin())
        expected[groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber][at] |= plane.astype(bool)
    for number, mask in expected.items():
        assert mask.any()
        np.testing.assert_array_equal(read[number], mask)
