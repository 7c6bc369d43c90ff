"""STOW in, SEG out: the whole path over HTTP, with public clients on both ends."""

import json
from io import BytesIO

import pydicom
import pytest
import requests

import patients
from engram_api import masks_of
from patients import LIVER_KEY, SPLEEN_KEY


def test_annotations_become_exemplars(taught):
    labels = taught.labels()
    assert set(labels) == {LIVER_KEY, SPLEEN_KEY}
    assert labels[LIVER_KEY]["meaning"] == "Liver" and labels[LIVER_KEY]["studies"] == 3
    shown = sum(patients.anatomy(n)[1][patients.LIVER].any(axis=(1, 2)).sum() for n in (1, 2, 3))
    assert labels[LIVER_KEY]["exemplars"] == shown


def test_a_segmentation_is_stored_and_read_back(taught):
    job = taught.segment(4).json()
    assert job["state"] == "succeeded" and job["result"]["stored"]
    result = job["result"]
    seg = taught.dicom.retrieve_instance(result["study"], result["series"], result["sop_instance"])
    assert seg.SOPClassUID == "1.2.840.10008.5.1.4.1.1.66.7"
    assert {s.SegmentAlgorithmType for s in seg.SegmentSequence} == {"AUTOMATIC"}
    assert seg.PatientID == "T4" and seg.StudyInstanceUID == patients.images(4)[0].StudyInstanceUID
    _, truth = patients.anatomy(4)
    found = masks_of(seg, patients.images(4))
    assert found["Liver"].shape == truth[patients.LIVER].shape
    assert sum(label["voxels"] for label in result["labels"]) == sum(m.sum() for m in found.values())


def test_stage_seconds_add_up(taught):
    job = taught.segment(4).json()
    wall = (job["finished_at"] - job["started_at"]) / 1000
    assert sum(seconds for _, seconds in job["stage_seconds"]) == pytest.approx(wall, abs=0.05 + 0.02 * wall)


def test_provenance_names_the_exemplars_and_the_seg_names_no_patient(taught):
    job = taught.segment(4).json()
    provenance = taught.get(f"/jobs/{job['id']}/provenance").json()
    studies = {source["study"] for entry in provenance for source in entry["exemplars"]}
    known = {patients.images(n)[0].StudyInstanceUID for n in (1, 2, 3)}
    if any(label["voxels"] for label in job["result"]["labels"]):
        assert studies and studies <= known
    seg = taught.get(f"/jobs/{job['id']}/result").content
    for number in (1, 2, 3):
        assert f"T{number}".encode() not in seg.replace(b"T4", b"")
        assert patients.images(number)[0].StudyInstanceUID.encode() not in seg


def test_the_seg_itself_as_the_answer_and_binary_on_request(taught):
    answer = taught.segment(4, accept="application/dicom", options={"encoding": "BINARY"}, store=False)
    assert answer.headers["Content-Type"] == "application/dicom"
    seg = pydicom.dcmread(BytesIO(answer.content))
    assert seg.SOPClassUID.name == "Segmentation Storage"
    stored = taught.dicom.search_for_instances(search_filters={"SOPInstanceUID": seg.SOPInstanceUID})
    assert stored == []


def test_some_labels_only(taught):
    job = taught.segment(4, labels=[SPLEEN_KEY], store=False).json()
    assert [label["label"] for label in job["result"]["labels"]] == [SPLEEN_KEY]


def test_the_same_request_gives_the_same_voxels(taught):
    first, second = (taught.segment(4, store=False).json()["result"]["labels"] for _ in range(2))
    assert first == second


def test_events_tell_every_stage_and_the_end(taught):
    job = taught.segment(4, wait=False, store=False)
    assert job.status_code == 202 and job.headers["Location"] == job.json()["links"]["self"]
    stages, last = set(), None
    with taught.get(f"/jobs/{job.json()['id']}/events", stream=True) as stream:
        assert stream.headers["Content-Type"] == "text/event-stream"
        for line in stream.iter_lines(decode_unicode=True):
            if line.startswith("data: "):
                last = json.loads(line[6:])
                stages.add(last["stage"])
    assert last["state"] == "succeeded"
    timed = [stage for stage, _ in last["stage_seconds"]]
    assert timed[0] == "load" and timed[-1] == "store" and {"prepare", "retrieve", "first_pass"} <= set(timed)
    assert stages


def test_a_waiting_job_can_be_cancelled(taught):
    jobs = [taught.segment(4, wait=False, store=False).json()["id"] for _ in range(3)]
    answer = requests.delete(f"{taught.base}/api/v1/jobs/{jobs[-1]}", timeout=10)
    assert answer.status_code == 202
    with taught.get(f"/jobs/{jobs[-1]}/events", stream=True) as stream:
        events = [line for line in stream.iter_lines(decode_unicode=True) if line.startswith("data: ")]
    assert json.loads(events[-1][6:])["state"] == "cancelled"


def test_metrics_say_who_answered(taught):
    taught.segment(4, store=False)
    text = requests.get(f"{taught.base}/metrics", timeout=10).text
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    answered = [float(values[f'engram_retrievals_total{{answered_by="{by}"}}']) for by in ("graph", "exact")]
    assert sum(answered) > 0
