"""What a hospital has around Engram: a PACS that can misbehave, modalities, and a script that listens to webhooks."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pydicom
import pytest
import requests
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import MRImageStorage, Verification

import patients
from engram_api import Api
from serving import Server

ENGRAM, PACS, MODALITY = "ENGRAM", "PACS", "MR_7"
SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.7"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
COMPREHENSIVE_3D_SR = "1.2.840.10008.5.1.4.1.1.88.34"
PATIENCE = 120


def wait_for(condition: Callable, what: str, seconds: float = PATIENCE):
    """What `condition` answers, as soon as that is true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.1)
    pytest.fail(f"{what} did not come about within {seconds} seconds")


def node(pacs: "Pacs") -> str:
    """The lines of configuration that make the PACS a node."""
    return f'[[dimse.nodes]]\nname = "{PACS}"\nae_title = "{PACS}"\naddress = "127.0.0.1:{pacs.port}"'


@dataclass
class Engram:
    """A running Engram whose bank knows some patients."""

    server: Server
    dimse_port: int
    config: Path

    @property
    def api(self) -> Api:
        return Api(self.server.base)

    def teach(self, count: int) -> None:
        for number in range(1, count + 1):
            self.api.store(*patients.images(number), patients.segmentation(number))
        self.api.settled()

    def send(self, *datasets: pydicom.Dataset, calling: str = MODALITY) -> None:
        """C-STORE, as a modality does it."""
        ae = AE(ae_title=calling)
        for uid in {dataset.SOPClassUID for dataset in datasets} | {MRImageStorage}:
            ae.add_requested_context(uid)
        association = ae.associate("127.0.0.1", self.dimse_port, ae_title=ENGRAM)
        assert association.is_established
        for dataset in datasets:
            assert association.send_c_store(dataset).Status == 0
        association.release()

    def call(self, method: str, path: str, **options) -> requests.Response:
        return requests.request(method, f"{self.server.base}/api/v1{path}", timeout=60, **options)

    def put(self, rule: dict) -> requests.Response:
        return self.call("PUT", f"/rules/{rule['name']}", json=rule)

    def jobs(self, kind: str) -> list[dict]:
        return self.api.get("/jobs", params={"kind": kind}).json()

    def deliveries(self, state: str | None = None) -> list[dict]:
        found = self.api.get("/deliveries", params={"state": state} if state else {}).json()
        return [delivery for delivery in found if delivery["kind"] == "node"]

    def routed(self, count: int = 1) -> list[dict]:
        """The jobs that rules asked for, once there are so many and all have ended."""
        def ended():
            jobs = self.jobs("routed")
            return len(jobs) >= count and all(job["state"] not in ("queued", "running") for job in jobs) and jobs
        jobs = wait_for(ended, f"{count} segmentations by rules")
        assert len(jobs) == count
        return jobs

    def asked(self, number: int, times: int = 1) -> list[dict]:
        """The jobs that asked the rules about a patient's study, once there are so many and all have ended."""
        def ended():
            jobs = [job for job in self.jobs("routing") if job["request"]["study"] == patients.uid(number, "study")]
            return len(jobs) >= times and all(job["state"] == "succeeded" for job in jobs) and jobs
        return wait_for(ended, f"the rules being asked {times} times about patient {number}")

    def audited(self, action: str) -> list[dict]:
        """The lines of the audit log about this."""
        lines = map(json.loads, (self.server.data / "audit.jsonl").read_text().splitlines())
        return [line for line in lines if line["action"] == action]

    def quiet(self) -> None:
        """Waits until nothing is left to be routed, segmented or sent."""
        def is_quiet():
            jobs = [*self.jobs("routing"), *self.jobs("routed"), *self.deliveries()]
            return not any(job["state"] in ("queued", "running") for job in jobs)
        wait_for(is_quiet, "quiet")


@dataclass
class Pacs:
    """A storage SCP. Each C-STORE is first shown to `answer`, which gives the status, and may block or abort."""

    port: int
    answer: Callable = lambda event: 0
    without: set[str] = field(default_factory=set)
    stored: list[pydicom.Dataset] = field(default_factory=list)
    asked: int = 0
    server: object = None

    def start(self) -> None:
        ae = AE(ae_title=PACS)
        contexts = [context for context in AllStoragePresentationContexts if context.abstract_syntax not in self.without]
        # pynetdicom knows it by no name yet.
        if LABEL_MAP not in self.without:
            contexts = [*contexts, build_context(LABEL_MAP)]
        ae.supported_contexts = list({context.abstract_syntax: context for context in contexts}.values())
        ae.add_supported_context(Verification)
        self.server = ae.start_server(("127.0.0.1", self.port), block=False, evt_handlers=[(evt.EVT_C_STORE, self.take)])

    def stop(self) -> None:
        if self.server:
            self.server.shutdown()
        self.server = None

    def take(self, event) -> int:
        self.asked += 1
        status = self.answer(event)
        if status == 0:
            dataset = event.dataset
            dataset.file_meta = event.file_meta
            self.stored.append(dataset)
        return status

    def classes(self) -> Counter:
        return Counter(dataset.SOPClassUID for dataset in self.stored)

    def instances(self) -> Counter:
        return Counter(dataset.SOPInstanceUID for dataset in self.stored)

    def has(self, count: int) -> list[pydicom.Dataset]:
        """What it has, once that is so much."""
        wait_for(lambda: len(self.stored) >= count, f"{count} instances in the PACS")
        return self.stored


class Script:
    """A script behind a webhook: keeps what it is called with. `answers` are the statuses of its first answers."""

    def __init__(self, *answers: int):
        self.calls: list[tuple[Message, bytes]] = []
        self.answers = list(answers)
        script = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                script.calls.append((self.headers, body))
                self.send_response(script.answers.pop(0) if script.answers else 204)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/heard"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
