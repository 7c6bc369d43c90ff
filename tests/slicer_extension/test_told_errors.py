"""What goes wrong is told word by word, and a job outlives its connection."""

import contextlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pydicom
import pytest
import requests
from pydicom.encaps import encapsulate
from pydicom.uid import RLELossless

import cases
import patients
from EngramLib import jobs, run, target, upload, words
from EngramLib.client import Client
from EngramLib.errors import Cancelled, ConnectionLost, EngramError
from serving import free_port
from steps import Wire, client_store, locate, never, port_of, silent


def told(call, *arguments, **options) -> EngramError:
    with pytest.raises(EngramError) as raised:
        call(*arguments, **options)
    return raised.value


@contextlib.contextmanager
def answering(status: int, body: bytes, kind: str = "application/json", headers=()):
    """A server that gives one answer to everything; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            for name, value in (("Content-Type", kind), ("Content-Length", str(len(body))), *headers):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_server_down():
    address = f"http://127.0.0.1:{free_port()}"
    error = told(Client(address).health)
    assert isinstance(error, ConnectionLost) and error.code == "server_down"
    assert str(error) == (f"No server answers at {address}: Connection refused.\n"
                          "Start Engram there (engram serve), or correct the address.")


@pytest.mark.parametrize("address", ["", "localhost:8080", "ftp://x", "http://"])
def test_no_address(address):
    assert told(Client, address).message == f'"{address}" is no address of a server.'


def test_tokens(guarded):
    """Missing, wrong, and of a role that may not: in the server's own words."""
    base = guarded.server.base
    refusal = requests.get(f"{base}/api/v1/labels", timeout=10).json()
    missing = told(Client(base).health)
    assert (missing.code, missing.message) == ("unauthorised", refusal["message"])
    assert missing.what_to_do == f"Enter a token above. {refusal['what_to_do']}"
    wrong = requests.get(f"{base}/api/v1/labels", headers={"Authorization": "Bearer wrong"}, timeout=10).json()
    error = told(Client(base, "wrong").health)
    assert (error.code, error.message, error.what_to_do) == (wrong["code"], wrong["message"], wrong["what_to_do"])
    assert Client(base, guarded.tokens["read"]).health()["status"] == "ok"
    forbidden = guarded.request("POST", "/api/v1/segmentations", "read", json={"study": "1", "series": "2"}).json()
    error = told(Client(base, guarded.tokens["read"]).segment, {"study": "1", "series": "2"})
    assert (error.code, error.message) == ("forbidden", forbidden["message"])
    assert told(Client, base, "two words").code == "bad_token"


@pytest.mark.parametrize(("version", "fits"), [("0.0.9", False), ("0.1.0", True), ("0.9.3-beta.1", True), ("1.0.0", False), ("x", False)])
def test_versions(version, fits):
    with answering(200, json.dumps({"status": "ok", "version": version}).encode()) as address:
        if fits:
            assert Client(address).health()["version"] == version
            return
        error = told(Client(address).health)
        assert error.code == "wrong_version"
        assert error.message == f"The server is Engram {version}; this extension needs 0.1 or later, before 1.0."
        assert error.what_to_do.startswith("Update the extension")


@pytest.mark.parametrize(("status", "body", "kind", "why"), [
    (404, b"<html>", "text/html", "status 404, Not Found"), (200, b"<html>", "text/html", "it does not answer in JSON"),
    (200, b"[]", "application/json", "its health is in another form"), (302, b"", "text/html", "status 302, Found")])
def test_what_is_not_engram(status, body, kind, why):
    with answering(status, body, kind, [("Location", "http://127.0.0.1:9/")] if status == 302 else []) as address:
        error = told(Client(address).health)
        assert (error.code, error.message) == ("not_engram", f"What answers at {address} is not Engram: {why}.")


def test_no_exemplars(engram, engram_server, tmp_path):
    client = Client(engram_server)
    located = locate(client, cases.make(60, "axial", tmp_path / "images"))
    refusal = requests.post(f"{engram_server}/api/v1/segmentations", timeout=60,
                            json={"study": located.study, "series": located.series}).json()
    error = told(run.start, client, located, run.Asked())
    assert (error.code, error.message, error.what_to_do) == ("no_exemplars", refusal["message"], refusal["what_to_do"])
    assert words.no_labels(client.labels(), "MR") == "The bank is empty: teach it a first case below."


def test_a_job_that_failed(client, taught):
    """Pixels that do not decode are found when the job runs."""
    images = patients.images(61)
    for one in images:
        one.file_meta.TransferSyntaxUID = RLELossless
        one.PixelData = encapsulate([b"\x01" + b"\xff" * 99])
    client_store(client, images)
    located = target.locate(client, target.Target(tuple(one.SOPInstanceUID for one in images)), silent, never)
    identity = run.start(client, located, run.Asked())
    error = told(run.finish, client, identity, located, silent, never)
    failure = client.job(identity)["error"]
    assert failure["message"]
    assert (error.code, error.message, error.what_to_do) == (failure["code"], failure["message"], failure["what_to_do"])


def test_refused_files(client):
    broken = upload.bytes_part(b"no DICOM")
    error = told(upload.send, client, [broken], silent, never)
    assert error.message.startswith("The server refused 1 of 1 instances: ")


def test_a_series_that_nobody_has(client):
    error = told(target.locate, client, target.Target(("1.2.3.4",)), silent, never)
    assert error.message == "The server does not have the volume's series, and Slicer's DICOM database lacks its files."


def test_a_server_that_starts_anew_finishes_the_same_job(engram, start_engram, tmp_path):
    wire, first = Wire(), start_engram()
    wire.leads_to = port_of(first.base)
    client = Client(wire.address)
    known = cases.make(1, "axial", tmp_path / "known")
    client_store(client, [*known.images, known.segmentation()])
    while not client.labels():
        time.sleep(0.1)
    located = locate(client, cases.make(62, "axial", tmp_path / "images"))
    identity = run.start(client, located, run.Asked())
    seen = []

    def restart():
        while client.job(identity)["state"] == "queued":
            time.sleep(0.02)
        first.kill()
        wire.cut()
        while not any(one.stage == "connection_lost" for one in seen):
            time.sleep(0.02)
        wire.leads_to = port_of(start_engram(data=first.data).base)

    restarting = threading.Thread(target=restart)
    restarting.start()
    result = run.finish(client, identity, located, seen.append, never)
    restarting.join()
    assert result.job["id"] == identity and result.job["state"] == "succeeded" and result.job["attempts"] == 2
    lost = next(one for one in seen if one.stage == "connection_lost")
    assert words.progress(lost).startswith(f"Connection lost, trying again (No server answers at {wire.address}")


def test_a_connection_that_is_lost_for_long_is_told_and_resumed(client, taught, tmp_path):
    wire = Wire()
    far = Client(wire.address)
    wire.leads_to = port_of(taught.base)
    unfinished = run.Unfinished()
    case = cases.make(63, "axial", tmp_path / "images")
    parts = tuple(upload.file_part(str(path)) for path in case.files())
    unfinished.located = target.locate(far, target.Target(case.uids, parts), silent, never)
    unfinished.identity = run.start(far, unfinished.located, run.Asked())
    wire.cut()
    with pytest.raises(ConnectionLost):
        jobs.follow(far, unfinished.identity, silent, never, patience=0.5)
    wire.leads_to = port_of(taught.base)
    assert run.resume(far, unfinished, silent, never).job["id"] == unfinished.identity


def test_cancelled(client, taught, tmp_path):
    located = locate(client, cases.make(64, "axial", tmp_path / "images"))
    identity = run.start(client, located, run.Asked())
    with pytest.raises(Cancelled):
        jobs.follow(client, identity, silent, lambda: True)
    assert client.job(identity)["state"] == "cancelled"


@pytest.mark.parametrize(("progress", "said"), [
    (jobs.Progress("propagate", 12, 24, 4.1), "From slice to slice: 12 of 24, about 4 s left"),
    (jobs.Progress("queued"), "Waiting for the server's turn"),
    (jobs.Progress("some_new_stage", 0, 0, 240), "Some new stage, about 4 min left"),
])
def test_progress_in_words(progress, said):
    assert words.progress(progress) == said


def test_every_stage_of_the_server_has_words(client, taught, tmp_path):
    located = locate(client, cases.make(65, "axial", tmp_path / "images"))
    job = jobs.follow(client, run.start(client, located, run.Asked(quality="best")), silent, never)
    assert {stage for stage, _ in job["stage_seconds"]} <= words.STAGES.keys()
    assert pydicom.dcmread(pydicom.filebase.DicomBytesIO(client.result(job["id"]))).Modality == "SEG"
