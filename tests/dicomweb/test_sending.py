"""Stored files that the connection sends by itself: pipelined requests, clients that read slowly or leave, HEAD."""

import contextlib
import json
import socket
import time
from http.client import HTTPResponse
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
import requests

from small_ct import make_ct, part10

STUDY = "2.25.4711"
SERIES = f"{STUDY}.1"
COUNT = 40
STORED = "application/dicom; transfer-syntax=*"
EVERY = 'multipart/related; type="application/dicom"; transfer-syntax=*'
# What sockets hold between the two ends, by far.
SMALL_BUFFER = 1 << 14


@pytest.fixture(scope="module")
def stored(server) -> dict[str, bytes]:
    """Instances of half a mebibyte, by their UID, as they were sent."""
    sent = {}
    for number in range(COUNT):
        instance = make_ct(number + 1, study=STUDY, series=SERIES)
        instance.Rows = instance.Columns = 512
        pixels = np.random.default_rng(number).integers(0, 4000, 512 * 512, dtype=np.uint16)
        instance.PixelData = pixels.tobytes()
        sent[instance.SOPInstanceUID] = part10(instance)
        answer = requests.post(f"{server.dicomweb}/studies", data=sent[instance.SOPInstanceUID], timeout=10,
                               headers={"Content-Type": "application/dicom"})
        assert answer.status_code == 200
    return sent


class Connection:
    """A socket by which requests can be sent before the answers of those before are read."""

    def __init__(self, server, buffer: int | None = None):
        base = urlsplit(server.base)
        self.socket = socket.socket()
        if buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.socket.settimeout(20)
        self.socket.connect((base.hostname, base.port))
        self.file = self.socket.makefile("rb")
        self.file.close, self.close = lambda: None, self.file.close

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
        self.socket.close()

    def makefile(self, _mode: str):
        return self.file

    def ask(self, path: str, accept: str = STORED, method: str = "GET", **headers: str):
        self.socket.sendall(request(path, accept, method, **headers))

    def answer(self, method: str = "GET") -> HTTPResponse:
        answer = HTTPResponse(self, method=method)
        answer.begin()
        return answer


def request(path: str, accept: str = STORED, method: str = "GET", **headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: engram", f"Accept: {accept}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def at(uid: str) -> str:
    return f"/dicomweb/studies/{STUDY}/series/{SERIES}/instances/{uid}"


def open_objects(process: int) -> int:
    found = 0
    for link in Path(f"/proc/{process}/fd").iterdir():
        # Others of its files may be closed while we look.
        with contextlib.suppress(OSError):
            found += "objects" in link.readlink().parts
    return found


def audited(data: Path, path: str) -> dict:
    """The last line of the audit log about a path, once there is one."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        lines = [json.loads(line) for line in (data / "audit.jsonl").read_text().splitlines()]
        if found := [line for line in lines if line["path"] == path]:
            return found[-1]
        time.sleep(0.02)
    pytest.fail(f"nothing in the audit log about {path}")


def test_pipelined_requests_are_answered_in_turn(server, stored):
    uids = list(stored)[:8]
    with Connection(server) as connection:
        for uid in uids:
            connection.ask(at(uid))
            connection.ask(f"{at(uid)}/metadata", "application/dicom+json")
            connection.ask(at(uid), Range="bytes=1000-299999")
        for uid in uids:
            assert connection.answer().read() == stored[uid]
            assert json.loads(connection.answer().read())[0]["00080018"]["Value"] == [uid]
            part = connection.answer()
            assert part.status == 206 and part.read() == stored[uid][1000:300000]


def test_the_connection_goes_on_after_head(server, stored):
    uid, sent = next(iter(stored.items()))
    with Connection(server) as connection:
        for _ in range(2):
            connection.ask(at(uid), method="HEAD")
            head = connection.answer("HEAD")
            assert head.getheader("content-length") == str(len(sent)) and head.read() == b""
            connection.ask(at(uid))
            assert connection.answer().read() == sent


def test_a_head_behind_a_get_does_not_keep_the_connection(server, stored):
    # actix-web answers what was asked before in the way of the last request that it read: without a body.
    uid = next(iter(stored))
    with Connection(server) as connection:
        connection.socket.sendall(request(at(uid)) + request(at(uid), method="HEAD", Connection="close"))
        with contextlib.suppress(ConnectionResetError):
            while connection.file.read(1 << 16):
                pass


def test_frames_of_an_instance(server, stored):
    uid, sent = next(iter(stored.items()))
    accept = 'multipart/related; type="application/octet-stream"'
    frame = requests.get(f"{server.base}{at(uid)}/frames/1", headers={"Accept": accept}, timeout=10)
    assert sent[-512 * 512 * 2:] in frame.content and len(frame.content) < 512 * 512 * 2 + 400


def test_a_slow_client_gets_all_of_a_series(server, stored):
    series = at("").removesuffix("/instances/")
    with Connection(server, SMALL_BUFFER) as connection:
        connection.ask(series, EVERY)
        answer = connection.answer()
        time.sleep(0.3)
        assert 1 <= open_objects(server.process.pid) <= 3, "one is sent, and two are opened ahead"
        body = b""
        while piece := answer.read(1 << 20):
            body += piece
            time.sleep(0.01)
    assert len(body) == int(answer.getheader("content-length"))
    at_last = 0
    for uid in sorted(stored, key=lambda uid: body.find(stored[uid])):
        found = body.find(stored[uid], at_last)
        assert found >= at_last, f"{uid} is not in the answer"
        at_last = found + len(stored[uid])
    line = audited(server.data, series)
    assert line["complete"] and line["bytes"] == len(body)


def test_a_client_that_leaves_did_not_get_all(server, stored):
    study = f"/dicomweb/studies/{STUDY}"
    with Connection(server, SMALL_BUFFER) as connection:
        connection.ask(study, EVERY)
        time.sleep(0.3)
        length = int(connection.answer().getheader("content-length"))
    line = audited(server.data, study)
    assert not line["complete"] and 0 < line["bytes"] < length


def test_a_file_that_is_gone_is_no_answer_and_a_shortened_one_breaks_off(start_engram):
    server = start_engram()
    instance = make_ct(1, study=STUDY, series=SERIES, rows=20_000)
    sent = part10(instance)
    requests.post(f"{server.dicomweb}/studies", data=sent, headers={"Content-Type": "application/dicom"}, timeout=10)
    (file,) = [file for file in (server.data / "objects").rglob("*") if file.is_file()]
    file.chmod(0o600)
    file.write_bytes(file.read_bytes()[:300_000])
    with Connection(server) as connection:
        connection.ask(at(instance.SOPInstanceUID))
        answer = connection.answer()
        assert answer.status == 200 and len(answer.fp.read()) < len(sent)
    file.unlink()
    gone = requests.get(server.base + at(instance.SOPInstanceUID), headers={"Accept": STORED}, timeout=10)
    assert gone.status_code == 500
    assert requests.get(f"{server.base}/api/v1/health", timeout=10).ok
