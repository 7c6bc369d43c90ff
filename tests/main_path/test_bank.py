"""Who becomes an exemplar, and what takes it out again."""

import subprocess
from copy import deepcopy

import pytest
import requests

import patients
from engram_api import Api
from patients import LIVER, LIVER_KEY, SPLEEN, SPLEEN_KEY


def slices_of(api, **filters) -> list[dict]:
    return api.get("/exemplars", params=filters).json()["exemplars"]


def test_the_seg_may_come_before_its_images(api):
    api.store(patients.segmentation(1))
    assert api.settled() == {}
    *most, last = patients.images(1)
    api.store(*most)
    assert api.settled() == {}
    api.store(last)
    assert set(api.settled()) == {LIVER_KEY, SPLEEN_KEY}


def test_deleting_the_seg_or_the_images_removes_the_exemplars(api):
    seg, images = patients.segmentation(1), patients.images(1)
    api.store(*images, seg)
    assert api.settled()
    requests.delete(f"{api.base}/dicomweb/studies/{seg.StudyInstanceUID}/series/{seg.SeriesInstanceUID}", timeout=30)
    assert api.settled() == {}
    api.store(seg)
    assert api.settled()
    requests.delete(f"{api.base}/dicomweb/studies/{seg.StudyInstanceUID}", timeout=30)
    assert api.settled() == {}


def test_a_later_seg_supersedes_its_labels_and_a_deleted_one_gives_them_back(api):
    first, second = patients.segmentation(1), patients.segmentation(1, codes=(LIVER,), version=2)
    api.store(*patients.images(1), first)
    api.settled()
    api.store(second)
    api.settled()
    by_label = {key: {s["segmentation"] for s in slices_of(api, label=key)} for key in (LIVER_KEY, SPLEEN_KEY)}
    assert by_label == {LIVER_KEY: {second.SOPInstanceUID}, SPLEEN_KEY: {first.SOPInstanceUID}}
    url = f"{api.base}/dicomweb/studies/{second.StudyInstanceUID}/series/{second.SeriesInstanceUID}"
    requests.delete(url, timeout=30)
    api.settled()
    assert {s["segmentation"] for s in slices_of(api)} == {first.SOPInstanceUID}


def test_an_earlier_seg_that_arrives_later_does_not_supersede(api):
    early, late = patients.segmentation(1, codes=(LIVER,)), patients.segmentation(1, codes=(LIVER,), version=2)
    api.store(*patients.images(1), late)
    api.settled()
    api.store(early)
    api.settled()
    assert {s["segmentation"] for s in slices_of(api)} == {late.SOPInstanceUID}


def test_a_complete_annotation_teaches_absence_and_a_partial_one_does_not(api):
    edited = [4, 5]
    api.store(*patients.images(1), patients.segmentation(1))
    api.store(*patients.images(2))
    api.store(patients.segmentation(2, slices=edited), partial="true")
    api.settled()
    complete = slices_of(api, study=patients.images(1)[0].StudyInstanceUID)
    partial = slices_of(api, study=patients.images(2)[0].StudyInstanceUID)
    assert any(s["absent"] for s in complete)
    assert [s["slice_index"] for s in partial] == edited


def test_a_seg_of_one_volume_teaches_though_its_series_has_another(api):
    """A localizer of another orientation in the same series, of which the SEG says nothing."""
    localizer = patients.images(1)[:3]
    for index, one in enumerate(localizer):
        one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = patients.uid(1, "localizer", index)
        one.ImageOrientationPatient, one.ImagePositionPatient = [1, 0, 0, 0, 0, -1], [0, 20.0 * index, 60]
        one.InstanceNumber = 100 + index
    api.store(*patients.images(1), *localizer, patients.segmentation(1))
    assert set(api.settled()) == {LIVER_KEY, SPLEEN_KEY}
    taught_by = {s["sop_instance"] for s in slices_of(api)}
    assert taught_by <= {one.SOPInstanceUID for one in patients.images(1)}


def test_a_seg_of_two_series_teaches_each_label_where_its_frames_are(api):
    here, there = patients.images(1), patients.images(1, modality="CT")
    seg = patients.segmentation(1)
    for groups in seg.PerFrameFunctionalGroupsSequence:
        if groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber == 2:
            # Frames of one slice share theirs.
            groups.DerivationImageSequence = deepcopy(groups.DerivationImageSequence)
            for source in groups.DerivationImageSequence[0].SourceImageSequence:
                index = [one.SOPInstanceUID for one in here].index(source.ReferencedSOPInstanceUID)
                source.ReferencedSOPInstanceUID = there[index].SOPInstanceUID
    other = deepcopy(seg.ReferencedSeriesSequence[0])
    other.SeriesInstanceUID = there[0].SeriesInstanceUID
    for reference, one in zip(other.ReferencedInstanceSequence, there, strict=True):
        reference.ReferencedSOPInstanceUID = one.SOPInstanceUID
    seg.ReferencedSeriesSequence.append(other)
    api.store(*here, *there, seg)
    api.settled()
    jobs = api.get("/jobs", params={"kind": "ingestion"}).json()
    assert all(job["state"] == "succeeded" for job in jobs), jobs
    labels = {
        series: {key for s in slices_of(api, series=series) for key in s["present"]}
        for series in (here[0].SeriesInstanceUID, there[0].SeriesInstanceUID)
    }
    assert labels == {here[0].SeriesInstanceUID: {LIVER_KEY}, there[0].SeriesInstanceUID: {SPLEEN_KEY}}


@pytest.mark.parametrize("algorithm, counts", [("MANUAL", True), ("SEMIAUTOMATIC", True), ("AUTOMATIC", False)])
def test_only_what_a_person_made_or_corrected_counts(api, algorithm, counts):
    seg = patients.segmentation(1, algorithm=algorithm)
    api.store(*patients.images(1), seg)
    assert bool(api.settled()) == counts
    if not counts:
        body = {"segmentation": seg.SOPInstanceUID}
        assert requests.post(f"{api.base}/api/v1/exemplars", json=body, timeout=30).status_code == 202
        assert api.settled()


def test_what_a_person_withdrew_stays_out(api, start_engram, tmp_path):
    seg = patients.segmentation(1)
    api.store(*patients.images(1), seg)
    api.settled()
    for label in (LIVER_KEY, None):
        parameters = {"segmentation": seg.SOPInstanceUID} | ({"label": label} if label else {})
        requests.delete(f"{api.base}/api/v1/exemplars", params=parameters, timeout=30)
        assert set(api.settled()) == ({SPLEEN_KEY} if label else set())
    api.store(seg)
    assert api.settled() == {}


def test_collections_are_kept_apart(api):
    api.store(*patients.images(1), patients.segmentation(1), collection="children")
    api.store(*patients.images(2), patients.segmentation(2, codes=(LIVER,)))
    api.store(*patients.images(4))
    labels = api.settled()
    assert labels[SPLEEN_KEY]["collections"] == ["children"]
    assert labels[LIVER_KEY]["collections"] == ["children", "default"]
    answer = api.segment(4, collection="default", store=False).json()
    assert [label["label"] for label in answer["result"]["labels"]] == [LIVER_KEY]
    assert api.segment(4, collection="elsewhere").status_code == 422


def test_the_target_is_never_its_own_exemplar(api):
    api.store(*patients.images(1), patients.segmentation(1, codes=(SPLEEN,)))
    api.settled()
    answer = api.segment(1, store=False)
    assert answer.status_code == 422 and answer.json()["code"] == "no_exemplars"


def test_the_bank_survives_a_restart_and_a_rebuild(engram, start_engram, tmp_path):
    server = start_engram()
    api = Api(server.base)
    api.store(*patients.images(1), patients.segmentation(1), collection="kept")
    before = api.settled()
    server.stop()
    server = start_engram()
    assert Api(server.base).settled() == before
    server.stop()
    subprocess.run([engram, "rebuild", "--data", tmp_path / "data"], check=True, capture_output=True)
    server = start_engram()
    assert Api(server.base).settled() == before
