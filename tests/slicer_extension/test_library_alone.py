"""The library with nothing beside it but numpy and pydicom, as Slicer 5.8 ships them: runs on Python 3.9 as well."""

import datetime
import io
import itertools
import threading
import time

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from EngramLib import as_dicom, coding, confidence, dicom_seg, geometry, settings, tasks, teach, upload, words
from EngramLib.client import Label
from EngramLib.errors import Cancelled, EngramError
from EngramLib.jobs import Progress

AXES = np.array([[0.8, 0.6, 0.0], [-0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])


def header(index: int, height: float, size=(5, 7), axes=AXES, shift=(0.0, 0.0)) -> Dataset:
    one = Dataset()
    one.SOPClassUID, one.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.4", f"1.2.3.{index + 1}"
    one.StudyInstanceUID, one.SeriesInstanceUID, one.Modality = "1.2.4", "1.2.5", "MR"
    one.Rows, one.Columns = size
    one.PixelSpacing, one.SliceThickness = [1.5, 1.25], 3
    one.ImageOrientationPatient = [*axes[0], *axes[1]]
    one.ImagePositionPatient = list(np.array([10.0, 20.0, 30.0]) + height * axes[2] + shift[0] * axes[0] + shift[1] * axes[1])
    return one


def series(heights=(0, 3, 6, 9), **options):
    return [header(index, height, **options) for index, height in enumerate(heights)]


GRID = geometry.grid_of(series())


def refused(call, *arguments, **options) -> str:
    with pytest.raises(EngramError) as raised:
        call(*arguments, **options)
    return str(raised.value)


def test_slices_are_sorted_along_their_normal():
    shuffled = [series()[index] for index in (2, 0, 3, 1)]
    grid = geometry.grid_of(shuffled)
    assert [one.sop_instance_uid for one in grid.slices] == ["1.2.3.1", "1.2.3.2", "1.2.3.3", "1.2.3.4"]
    assert grid.shape == (4, 5, 7) and grid.is_even and grid.remark == ""
    lps = np.diag([-1, -1, 1, 1]) @ grid.matrix
    np.testing.assert_allclose(lps @ [2, 1, 3, 1], [*(np.array([10, 20, 39]) + 2.5 * AXES[0] + 1.5 * AXES[1]), 1])


def test_a_part_of_a_series_is_a_volume_of_its_own():
    grid = geometry.grid_of(series(), ["1.2.3.2", "1.2.3.3"])
    assert [one.sop_instance_uid for one in grid.slices] == ["1.2.3.2", "1.2.3.3"]


def test_frames_of_a_multi_frame_image():
    image = header(0, 0)
    del image.ImagePositionPatient, image.ImageOrientationPatient, image.PixelSpacing
    image.NumberOfFrames = 3
    shared, measures, turned = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, turned.ImageOrientationPatient = [1, 1], [1, 0, 0, 0, 1, 0]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [turned]
    image.SharedFunctionalGroupsSequence = [shared]
    groups = []
    for height in (6, 0, 3):
        plane, group = Dataset(), Dataset()
        plane.ImagePositionPatient = [0, 0, height]
        group.PlanePositionSequence = [plane]
        groups.append(group)
    image.PerFrameFunctionalGroupsSequence = groups
    grid = geometry.grid_of([image])
    assert [one.frame for one in grid.slices] == [2, 3, 1] and all(one.multi_frame for one in grid.slices)


def test_what_is_no_volume():
    assert "same place" in refused(geometry.grid_of, series((0, 3, 3, 6)))
    assert "size or pixel spacing" in refused(geometry.grid_of, [*series(), header(9, 12, size=(5, 8))])
    turned = np.array([AXES[1], -AXES[0], AXES[2]])
    assert "orientation" in refused(geometry.grid_of, [*series(), header(9, 12, axes=turned)])
    assert "no" in refused(geometry.grid_of, [])


@pytest.mark.parametrize("shifted", [False, True])
def test_uneven_slices_are_reported(shifted):
    images = [header(i, 3.0 * i, shift=(0.5 * i, 0)) for i in range(4)] if shifted else series((0, 3, 7, 10))
    grid = geometry.grid_of(images)
    assert not grid.is_even and "not evenly stacked" in grid.remark
    # The volume that Slicer makes of it has one matrix: masks go there slice by slice.
    straight = geometry.grid_of(series())
    placement = geometry.place(grid, straight.matrix, grid.shape[::-1])
    mask = np.random.default_rng(1).random(grid.shape) < 0.5
    np.testing.assert_array_equal(placement.to_voxels(mask), mask)
    assert "not its series slice by slice" in refused(geometry.place, grid, straight.matrix, (3, 3, 3))


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("flips", list(itertools.product([False, True], repeat=3)))
def test_every_order_and_direction_of_axes_is_placed_voxel_by_voxel(order, flips):
    """A volume whose axis n is axis order[n] of the series, backwards where flips[n] says so."""
    sizes = np.array(GRID.shape[::-1])
    matrix = np.eye(4)
    matrix[:, 3] = GRID.matrix[:, 3]
    for axis, (of, flip) in enumerate(zip(order, flips)):
        matrix[:, axis] = GRID.matrix[:, of] * (-1 if flip else 1)
        matrix[:, 3] += GRID.matrix[:, of] * (sizes[of] - 1) * flip
    placement = geometry.place(GRID, matrix, sizes[list(order)])
    mask = np.random.default_rng(2).random(GRID.shape) < 0.4
    voxels = placement.to_voxels(mask)
    assert voxels.shape == tuple(sizes[list(order)][::-1])
    np.testing.assert_array_equal(placement.to_mask(voxels), mask)

    def places(array, to_ras):
        k, j, i = np.nonzero(array)
        found = (to_ras @ np.vstack([i, j, k, np.ones(len(i))]))[:3].T
        return found[np.lexsort(np.round(found, 3).T)]

    np.testing.assert_allclose(places(voxels, placement.matrix), places(mask, GRID.matrix), atol=1e-9)
    along = placement.axes.index(0)
    for index in range(len(mask)):
        np.testing.assert_array_equal(
            np.take(voxels, placement.slice_of(index, len(mask)), axis=along).sum(), mask[index].sum())


def test_a_cropped_volume_leaves_masks_where_their_slices_are():
    placement = geometry.place(GRID, GRID.matrix, (6, 5, 4))
    np.testing.assert_array_equal(placement.matrix, GRID.matrix)
    shifted = GRID.matrix.copy()
    shifted[:3, 3] += 5
    np.testing.assert_array_equal(geometry.place(GRID, shifted, (7, 5, 4)).matrix, GRID.matrix)


LIVER = coding.Coding(coding.ANATOMICAL_STRUCTURE, coding.Code("10200004", "SCT", "Liver"))


@pytest.mark.parametrize("encoding", ["BINARY", "LABELMAP"])
def test_a_segmentation_goes_there_and_back(encoding):
    mask = np.random.default_rng(3).random(GRID.shape) < 0.3
    when = datetime.datetime(2026, 1, 5)
    _, content = dicom_seg.write(
        GRID, [dicom_seg.Segment("Liver", LIVER, mask)], dicom_seg.Authorship("d", "c", when), encoding)
    (back,) = dicom_seg.read(content, GRID)
    np.testing.assert_array_equal(back.mask, mask)
    assert back.coding == LIVER
    with pytest.raises(EngramError, match="no segment"):
        dicom_seg.write(GRID, [], dicom_seg.Authorship("d", "c", when), encoding)


IDENTIFIERS = as_dicom.Identifiers("Doe^Jane", "P1", "MR")


@pytest.mark.parametrize(("voxels", "exact"), [
    (np.arange(140).reshape(4, 5, 7).astype(np.int16) - 50, True), (np.arange(140.0).reshape(4, 5, 7), True),
    (np.linspace(-3.5, 1e6, 140).reshape(4, 5, 7), False), (np.full((4, 5, 7), 0.5), False)])
def test_a_volume_becomes_a_series_with_its_numbers_and_place(voxels, exact):
    written = as_dicom.write(voxels, GRID.matrix, IDENTIFIERS)
    images = [pydicom.dcmread(io.BytesIO(content)) for _, content in written]
    grid = geometry.grid_of(images)
    np.testing.assert_allclose(grid.matrix, GRID.matrix, atol=1e-6)
    values = np.stack([np.frombuffer(one.PixelData, "<i2").reshape(one.Rows, one.Columns) * float(one.RescaleSlope)
                       + float(one.RescaleIntercept) for one in images])
    step = float(images[0].RescaleSlope)
    np.testing.assert_allclose(values, voxels, atol=0 if exact else 0.51 * step)
    assert {str(one.PatientName) for one in images} == {"Doe^Jane"}


def test_the_same_volume_gets_the_same_files_and_another_one_others():
    voxels = np.arange(140).reshape(4, 5, 7).astype(np.int16)
    once, again = (as_dicom.write(voxels, GRID.matrix, IDENTIFIERS) for _ in range(2))
    assert once == again
    other = as_dicom.write(voxels, GRID.matrix, IDENTIFIERS._replace(patient_id="P2"))
    assert not {uid for uid, _ in once} & {uid for uid, _ in other}


def test_a_volume_that_cannot_be_a_series():
    voxels = np.zeros((4, 5, 7), np.int16)
    sheared = GRID.matrix.copy()
    sheared[:3, 2] += sheared[:3, 0]
    assert "right angles" in refused(as_dicom.write, voxels, sheared, IDENTIFIERS)
    assert "written as US" in refused(as_dicom.write, voxels, GRID.matrix, IDENTIFIERS._replace(modality="US"))
    assert "no ID" in refused(as_dicom.write, voxels, GRID.matrix, IDENTIFIERS._replace(patient_id=" "))
    assert "no date" in refused(as_dicom.write, voxels, GRID.matrix, IDENTIFIERS._replace(birth_date="19701301"))
    assert "too long" in refused(as_dicom.write, voxels, GRID.matrix, IDENTIFIERS._replace(patient_name="x" * 65))
    assert "backslash" in refused(as_dicom.write, voxels, GRID.matrix, IDENTIFIERS._replace(patient_id="a\\b"))
    assert "finite" in refused(as_dicom.write, np.full((4, 5, 7), np.nan), GRID.matrix, IDENTIFIERS)
    assert "finite" in refused(as_dicom.write, np.zeros((4, 5, 7, 3)), GRID.matrix, IDENTIFIERS)


def test_edited_slices():
    mask = np.zeros(GRID.shape, bool)
    mask[1, 2] = True
    segment = dicom_seg.Segment("Liver", LIVER, mask)
    spleen = segment._replace(coding=LIVER._replace(property_type=coding.Code("78961009", "SCT", "Spleen")))
    moved = mask.copy()
    moved[3, 0, 0] = True
    assert teach.edited_slices([segment], []) == [1]
    assert teach.edited_slices([segment], [segment]) == []
    assert teach.edited_slices([segment._replace(mask=moved)], [segment]) == [3]
    # Another label is an edit of the slices that it is on; one that is not shown is none.
    assert teach.edited_slices([segment, spleen._replace(mask=moved)], [segment]) == [1, 3]
    assert teach.edited_slices([segment], [segment, spleen]) == [] == teach.edited_slices([], [segment])
    # What was taken away is one, and two segments of a label are one.
    assert teach.edited_slices([segment._replace(mask=mask & False)], [segment]) == [1]
    assert teach.edited_slices([segment, segment._replace(mask=moved)], [segment]) == [3]


def provenance(index, value, review=False, label="L"):
    return {"sop_instance": f"1.2.3.{index + 1}", "frame": 1, "label": label, "confidence": value, "review": review, "exemplars": []}


def test_confidence_of_slices_is_the_lowest_of_their_labels():
    job = {"result": {"labels": [{"label": "L", "review": [{"sop_instance": "1.2.3.4", "frame": 1, "confidence": 0.1}]}]}}
    told = [provenance(0, 0.9), provenance(0, 0.6, True, "M"), provenance(1, 0.8), provenance(99, 0.0, True)]
    slices = confidence.of_result(job, told, GRID)
    assert slices == [(0.6, True), (0.8, False), (None, False), (0.1, True)]
    assert confidence.flagged(slices) == [3, 0]
    assert confidence.of_result(job, told, GRID, "L")[0] == (0.9, False)
    # Without the role that provenance needs, the job tells which slices to look at.
    assert confidence.flagged(confidence.of_result(job, None, GRID)) == [3]


def test_the_strip_shows_confidence_flags_and_the_slice_on_show():
    slices = [confidence.SliceConfidence(one, review) for one, review in ((0.0, True), (1.0, False), (None, False), (0.5, False))]
    picture = confidence.strip(slices, 40, 8, shown=3)
    assert picture.shape == (8, 40, 3)
    assert tuple(picture[0, 5]) == tuple(confidence.LOW) and tuple(picture[-1, 5]) == confidence.FLAG
    assert tuple(picture[0, 15]) == tuple(confidence.HIGH) and tuple(picture[-1, 15]) == tuple(confidence.HIGH)
    assert tuple(picture[0, 25]) == confidence.UNKNOWN
    assert tuple(picture[4, 30]) == (255, 255, 255) and tuple(picture[4, 35]) == tuple(confidence.MIDDLE)
    assert [confidence.slice_at(x, 40, 4) for x in (-5, 0, 9, 10, 39, 80)] == [0, 0, 0, 1, 3, 3]
    assert confidence.ppm(picture).startswith(b"P6 40 8 255\n")


def test_labels_are_offered_by_modality_with_most_cases_first():
    labels = [
        Label("A:1", "Liver", 3, 30, {"MR": 3}), Label("A:2", "Spleen", 5, 9, {"CT": 4, "MR": 1}), Label("A:3", "Femur", 1, 9, {"CT": 1})]
    assert [one.meaning for one in words.offered(labels, "MR")] == ["Liver", "Spleen"]
    assert [one.meaning for one in words.offered(labels, "")] == ["Spleen", "Liver", "Femur"]
    assert [one.meaning for one in words.offered(labels, "", "f")] == ["Femur"]
    assert words.offered(labels, "MR", "a:1")[0].meaning == "Liver"
    assert words.label(labels[1], "MR") == "Spleen (1 case)" and words.label(labels[0], "MR") == "Liver (3 cases)"
    assert words.label(labels[1], "") == "Spleen (5 cases)"
    assert words.no_labels(labels, "US") == "The bank has no US case yet: teach it a first one below."
    assert words.no_labels(labels, "MR") == ""


def drained(all_of: tasks.Tasks, condition) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        all_of.drain()
        time.sleep(0.005)


def test_work_runs_beside_and_is_handed_back_to_whoever_drains():
    all_of, told, main = tasks.Tasks(), [], threading.current_thread()

    def work(report, stopped):
        assert threading.current_thread() is not main
        report(Progress("prepare"))
        return 42

    def on_main(*given):
        assert threading.current_thread() is main
        told.append(given)

    all_of.start(work, on_main, on_main, on_main)
    time.sleep(0.05)
    assert told == []
    drained(all_of, lambda: len(told) == 2)
    assert told == [(Progress("prepare"),), (42,)]


def test_work_that_fails_or_is_stopped_is_told():
    all_of, told = tasks.Tasks(), []

    def broken(report, stopped):
        raise ZeroDivisionError("by zero")

    all_of.start(broken, told.append, told.append)
    drained(all_of, lambda: told)
    assert told[0].code == "internal" and told[0].message == "ZeroDivisionError: by zero"

    def patient(report, stopped):
        while not stopped():
            time.sleep(0.005)
        raise Cancelled()

    all_of.start(patient, told.append, told.append).stop()
    drained(all_of, lambda: len(told) == 2)
    assert isinstance(told[1], Cancelled)


def test_requests_are_bounded():
    parts = [upload.Part(upload.BYTES_PER_REQUEST // 2, None)] * 5
    assert [len(one) for one in upload.batches(parts)] == [2, 2, 1]
    assert [len(one) for one in upload.batches([upload.Part(1, None)] * 450)] == [200, 200, 50]
    assert [len(one) for one in upload.batches([upload.Part(upload.BYTES_PER_REQUEST * 3, None)] * 2)] == [1, 1]
    body = b"".join(upload.multipart([upload.bytes_part(b"one"), upload.bytes_part(b"two")], "XX"))
    assert body == (b"--XX\r\nContent-Type: application/dicom\r\n\r\none\r\n"
                    b"--XX\r\nContent-Type: application/dicom\r\n\r\ntwo\r\n--XX--\r\n")


class Settings(dict):
    value, setValue = dict.get, dict.__setitem__


def test_settings_are_remembered():
    kept = Settings()
    assert settings.load(kept) == settings.Remembered()
    one = settings.Remembered("https://pacs.example:8443", "token", "Reader^Test", "best")
    settings.save(kept, one)
    assert settings.load(kept) == one
