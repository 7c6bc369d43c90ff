"""What is told of a stored SEG: segments, where its frames lie, and its part in the bank."""

import pytest
import requests

import patients
from patients import LIVER_KEY, SIZE, SLICES, SPLEEN_KEY


def told_of(api, segmentation: str) -> dict:
    answer = api.get(f"/segmentations/{segmentation}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def approve(api, segmentation: str):
    url = f"{api.base}/api/v1/exemplars"
    assert requests.post(url, json={"segmentation": segmentation}, timeout=30).status_code == 202
    api.settled()


def withdraw(api, segmentation: str, **label):
    url = f"{api.base}/api/v1/exemplars"
    assert requests.delete(url, params={"segmentation": segmentation, **label}, timeout=30).status_code == 202
    api.settled()


def sources_of(seg) -> list[tuple[int, str]]:
    """Each frame's segment and the image it names."""
    return [(frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber,
             frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID)
            for frame in seg.PerFrameFunctionalGroupsSequence]


def test_segments_and_frames_are_those_of_the_object(api):
    images, seg = patients.images(1), patients.segmentation(1)
    api.store(*images, seg)
    api.settled()
    told = told_of(api, seg.SOPInstanceUID)
    assert (told["study"], told["series"]) == (seg.StudyInstanceUID, seg.SeriesInstanceUID)
    assert (told["encoding"], told["rows"], told["columns"]) == ("BINARY", SIZE, SIZE)
    assert told["targets"] == [{"study": images[0].StudyInstanceUID, "series": images[0].SeriesInstanceUID}]
    assert [(one["number"], one["label"], one["meaning"], one["algorithm_type"]) for one in told["segments"]] == [
        (1, LIVER_KEY, "Liver", "MANUAL"), (2, SPLEEN_KEY, "Spleen", "MANUAL")]
    assert [(one["segment"], one["sop_instance"]) for one in told["frames"]] == sources_of(seg)
    assert [one["frame"] for one in told["frames"]] == list(range(1, seg.NumberOfFrames + 1))
    assert all((one["sop_frame"], one["origin"], one["row_step"], one["column_step"]) == (1, [0, 0], [1, 0], [0, 1])
               for one in told["frames"])
    assert told["exemplars"] == SLICES and not told["approved"] and not told["partial"]


def test_a_frame_that_lies_the_other_way_round_says_so(api):
    images, mirrored = patients.images(2), patients.images(2)
    for image in mirrored:
        x, y, z = image.ImagePositionPatient
        image.ImagePositionPatient = [x + (SIZE - 1) * float(image.PixelSpacing[1]), y, z]
        image.ImageOrientationPatient = [-1, 0, 0, 0, 1, 0]
    seg = patients.segmentation(2, sources=mirrored)
    api.store(*images, seg)
    frames = told_of(api, seg.SOPInstanceUID)["frames"]
    assert [one["sop_instance"] for one in frames] == [source for _, source in sources_of(seg)]
    assert all((one["origin"], one["row_step"], one["column_step"]) == ([0, SIZE - 1], [1, 0], [0, -1])
               for one in frames)


def test_frames_of_images_that_are_not_stored_are_left_out(api):
    images, seg = patients.images(3), patients.segmentation(3)
    api.store(*images[:5], seg)
    stored = {image.SOPInstanceUID for image in images[:5]}
    told = told_of(api, seg.SOPInstanceUID)
    assert [(one["segment"], one["sop_instance"]) for one in told["frames"]] == [
        source for source in sources_of(seg) if source[1] in stored]
    assert told["exemplars"] == 0


def test_what_people_said_of_it_is_told(api):
    api.store(*patients.images(1), patients.segmentation(1), *patients.images(4))
    api.settled()
    uid = api.segment(4).json()["result"]["sop_instance"]
    told = told_of(api, uid)
    assert told["encoding"] == "LABELMAP"
    assert told["frames"] and all(one["segment"] is None for one in told["frames"])
    assert (told["exemplars"], told["approved"], told["withdrawn"], told["withdrawn_labels"]) == (0, False, False, [])
    approve(api, uid)
    told = told_of(api, uid)
    assert (told["exemplars"], told["approved"], told["withdrawn"]) == (SLICES, True, False)
    withdraw(api, uid, label=LIVER_KEY)
    told = told_of(api, uid)
    left = [one for one in api.get("/exemplars").json()["exemplars"] if one["segmentation"] == uid]
    assert (told["exemplars"], told["withdrawn_labels"]) == (len(left), [LIVER_KEY]) and left
    withdraw(api, uid)
    told = told_of(api, uid)
    assert (told["exemplars"], told["withdrawn"]) == (0, True)


@pytest.mark.parametrize("uid, status, code", [
    ("1.2.3", 404, "no_such_segmentation"), (None, 422, "unreadable_segmentation")])
def test_what_is_no_stored_segmentation_is_refused(api, uid, status, code):
    image = patients.images(1)[0]
    api.store(image)
    answer = api.get(f"/segmentations/{uid or image.SOPInstanceUID}")
    assert (answer.status_code, answer.json()["code"]) == (status, code)
