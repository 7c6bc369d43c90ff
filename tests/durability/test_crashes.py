"""`kill -9` at random moments of storing, ingestion and segmentation: nothing acknowledged is lost, the catalogue
is consistent, and every job comes to its end with one SEG."""

import json
import random
import subprocess
import threading
import time

import requests

import patients
from engram_api import Api

ROUNDS = 20
FINISH_SECONDS = 180


class Storing(threading.Thread):
    """Stores a patient slice by slice, then the SEG, then asks for a segmentation; notes what was acknowledged."""

    def __init__(self, base: str, number: int, target: int):
        super().__init__(daemon=True)
        self.base, self.number, self.target = base, number, target
        self.acknowledged: dict[str, bytes] = {}
        self.jobs: list[str] = []

    def run(self):
        try:
            for one in [*patients.images(self.number), patients.segmentation(self.number)]:
                self.store(one)
            self.segment()
        except requests.RequestException:
            pass  # the server was killed

    def store(self, one):
        content = patients.part10(one)
        body = b"\r\n--XX\r\nContent-Type: application/dicom\r\n\r\n" + content + b"\r\n--XX--\r\n"
        answer = requests.post(
            f"{self.base}/dicomweb/studies", data=body, timeout=60,
            headers={"Content-Type": 'multipart/related; type="application/dicom"; boundary=XX'})
        if answer.status_code == 200:
            self.acknowledged[one.SOPInstanceUID] = content

    def segment(self):
        image = patients.images(self.target)[0]
        body = {"study": image.StudyInstanceUID, "series": image.SeriesInstanceUID}
        answer = requests.post(f"{self.base}/api/v1/segmentations", json=body, timeout=60)
        if answer.status_code == 202:
            self.jobs.append(answer.json()["id"])


def stored_bytes(base: str, sop_instance: str) -> bytes:
    (found,) = requests.get(f"{base}/dicomweb/instances?SOPInstanceUID={sop_instance}", timeout=30).json()
    study, series = found["0020000D"]["Value"][0], found["0020000E"]["Value"][0]
    answer = requests.get(
        f"{base}/dicomweb/studies/{study}/series/{series}/instances/{sop_instance}", timeout=30,
        headers={"Accept": "application/dicom; transfer-syntax=*"})
    return answer.content


def finished(api: Api, job: str) -> dict:
    deadline = time.monotonic() + FINISH_SECONDS
    while time.monotonic() < deadline:
        view = api.get(f"/jobs/{job}").json()
        if view["state"] not in ("queued", "running"):
            return view
        time.sleep(0.2)
    raise AssertionError(f"job {job} did not finish: {view}")


def seconds_of_a_round(base: str, target: int) -> float:
    """How long one that nobody kills takes here and now."""
    began = time.monotonic()
    storing = Storing(base, 102, target)
    storing.run()
    assert storing.jobs, "it was not asked for a segmentation"
    return time.monotonic() - began


def test_nothing_acknowledged_is_lost(engram, start_engram, tmp_path):
    moments = random.Random(20)
    target = 100
    # Each round may kill the server under the same job; more often than the default allows.
    config = tmp_path / "config.toml"
    config.write_text("[jobs]\nmax_attempts = 100\n")
    server = start_engram(config=config)
    api = Api(server.base)
    api.store(*patients.images(target), *patients.images(101), patients.segmentation(101))
    api.settled()
    latest = max(1.2, 2 * seconds_of_a_round(server.base, target))
    acknowledged, jobs = {}, []
    for number in range(1, ROUNDS + 1):
        storing = Storing(server.base, number, target)
        storing.start()
        time.sleep(moments.uniform(0.01, latest))
        server.kill()
        storing.join()
        acknowledged |= storing.acknowledged
        jobs += storing.jobs
        doctor = subprocess.run([engram, "doctor", "--json", "--data", tmp_path / "data"],
                                capture_output=True, text=True, timeout=120)
        store = [check for check in json.loads(doctor.stdout) if check["what"] == "store"]
        assert all(check["verdict"] == "good" for check in store), store
        server = start_engram(config=config)
    assert acknowledged and jobs, "the kills came too early to show anything"
    for sop_instance, content in acknowledged.items():
        assert stored_bytes(server.base, sop_instance) == content
    api = Api(server.base)
    # A kill between queueing and answering leaves a job that its client never heard of; it is done all the same.
    kept = [job["id"] for job in api.get("/jobs", params={"kind": "segmentation"}).json()]
    assert set(jobs) <= set(kept)
    for job in kept:
        view = finished(api, job)
        assert view["state"] == "succeeded", view
    made = api.dicom.search_for_instances(
        study_instance_uid=patients.images(target)[0].StudyInstanceUID, search_filters={"Modality": "SEG"})
    assert len(made) == len(kept)
    whole = [n for n in range(1, ROUNDS + 1) if patients.segmentation(n).SOPInstanceUID in acknowledged]
    labels = api.settled()
    studies = {s["study"] for s in api.get("/exemplars", params={"limit": 1000}).json()["exemplars"]}
    assert {patients.images(n)[0].StudyInstanceUID for n in whole} <= studies
    assert labels[patients.LIVER_KEY]["studies"] >= len(whole)
