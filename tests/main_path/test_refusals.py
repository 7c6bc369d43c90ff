"""What cannot be segmented is told so, and the server goes on serving."""

import numpy as np
import pytest
import requests

import patients
from patients import LIVER_KEY


@pytest.fixture(autouse=True)
def still_serving(taught):
    yield
    assert taught.get("/health").json()["status"] == "ok"


def refused(answer: requests.Response, status: int, code: str):
    assert answer.status_code == status, answer.text
    problem = answer.json()
    assert problem["code"] == code and problem["message"] and problem["what_to_do"]


def test_a_series_that_is_not_there(taught):
    refused(taught.segment(77), 404, "no_such_series")


def test_a_label_nobody_annotated(taught):
    refused(taught.segment(4, labels=["SCT:64033007"]), 422, "unknown_label")


def test_another_modality_than_every_exemplar(taught):
    taught.store(*patients.images(5, modality="OT"))
    refused(taught.segment(5, modality="OT", labels=[LIVER_KEY]), 422, "other_modality")
    refused(taught.segment(5, modality="OT"), 422, "no_exemplars")


def test_an_empty_bank(api):
    api.store(*patients.images(1))
    refused(api.segment(1), 422, "no_exemplars")


def test_a_localizer_is_no_volume(taught):
    one = patients.image(6, 0, np.zeros((64, 64), np.uint16), "MR", "ORIGINAL\\PRIMARY\\LOCALIZER")
    taught.store(one)
    refused(taught.segment(6), 422, "not_a_volume")


def test_a_secondary_capture_is_no_volume(taught):
    one = patients.image(7, 0, np.zeros((64, 64), np.uint16), "MR", "DERIVED\\SECONDARY")
    one.SOPClassUID = one.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    del one.ImagePositionPatient, one.ImageOrientationPatient, one.FrameOfReferenceUID
    taught.store(one)
    refused(taught.segment(7), 422, "not_a_volume")


@pytest.mark.parametrize("body", [{}, {"study": "1"}, {"study": "1", "series": "2", "surprise": 1}, [], "x"])
def test_a_body_that_is_no_request(taught, body):
    answer = requests.post(f"{taught.base}/api/v1/segmentations", json=body, timeout=10)
    refused(answer, 400, "bad_request")


def test_a_job_that_is_not_there(taught):
    nobody = "00000000-0000-0000-0000-000000000000"
    for path in ("", "/events"):
        assert taught.get(f"/jobs/{nobody}{path}").status_code == 404
    assert taught.get("/jobs/not-a-uuid").status_code in (400, 404)


def test_a_seg_whose_references_are_not_there_waits(api):
    api.store(patients.segmentation(8))
    assert api.settled() == {}
    (job,) = api.get("/jobs", params={"kind": "ingestion"}).json()
    assert job["state"] == "succeeded"
    assert job["result"]["waiting"] == [patients.segmentation(8).SOPInstanceUID]
