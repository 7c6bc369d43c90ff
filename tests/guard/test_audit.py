"""The audit log: who did what, when, and what came of it."""

import json
import socket
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests

from small_ct import make_ct, part10

STUDY = "2.25.881"


def lines(data: Path, count: int) -> list[dict]:
    """The log's lines, once there are so many. The fixtures' looks at the server's health are none."""
    deadline = time.monotonic() + 10
    while True:
        text = (data / "audit.jsonl").read_text()
        found = [json.loads(line) for line in text.splitlines()]
        if len(found) >= count or time.monotonic() > deadline:
            assert len(found) == count
            return found
        time.sleep(0.02)


def newest(data: Path, count: int) -> dict:
    """The last line, once there are so many: that of an access whose answer has come may yet be to be written."""
    return lines(data, count)[-1]


@pytest.fixture
def admin(commands) -> dict:
    return {"Authorization": f"Bearer {commands.token('boss', 'admin')}"}


def test_every_access_is_a_line(start_engram, admin):
    server = start_engram()
    new = make_ct(1, study=STUDY, series=f"{STUDY}.1")
    instance = f"/dicomweb/studies/{STUDY}/series/{STUDY}.1/instances/{new.SOPInstanceUID}"
    sent = part10(new)
    dicom = {"Content-Type": "application/dicom", **admin}
    before = datetime.now(UTC)
    requests.post(f"{server.dicomweb}/studies/{STUDY}", data=sent, headers=dicom, timeout=10)
    stored = newest(server.data, 1)
    search = requests.get(f"{server.dicomweb}/studies?PatientName=Doe*", timeout=10,
                          headers={"Accept-Encoding": "identity", **admin})
    searched = newest(server.data, 2)
    got = requests.get(server.base + instance, headers=admin, timeout=10)
    retrieved = newest(server.data, 3)
    requests.head(server.base + instance, headers=admin, timeout=10)
    looked = newest(server.data, 4)
    requests.get(server.base + instance, timeout=10)
    refused = newest(server.data, 5)
    requests.delete(server.base + instance, headers=admin, timeout=10)
    deleted = newest(server.data, 6)

    assert stored["who"] == "boss" and stored["action"] == "POST" and stored["status"] == 200
    assert stored["study"] == STUDY and "series" not in stored
    assert searched["query"] == "PatientName=Doe*" and searched["bytes"] == len(search.content)
    assert retrieved["bytes"] == len(got.content) and retrieved["complete"] and retrieved["seconds"] > 0
    assert (retrieved["series"], retrieved["instance"]) == (f"{STUDY}.1", new.SOPInstanceUID)
    assert looked["action"] == "HEAD" and looked["bytes"] == 0 and looked["complete"]
    assert refused["who"] is None and refused["status"] == 401 and refused["instance"] == new.SOPInstanceUID
    assert deleted["action"] == "DELETE" and deleted["status"] == 204
    for line in (stored, refused, deleted):
        assert line["peer"].startswith("127.0.0.1:")
        assert before.timestamp() - 1 < datetime.fromisoformat(line["time"]).timestamp() < time.time() + 1
    log = server.data / "audit.jsonl"
    assert log.stat().st_mode & 0o077 == 0, "its owner's alone"
    assert admin["Authorization"].split("_")[1] not in log.read_text()
    server.stop()
    assert len(lines(server.data, 6)) == 6


def test_lines_cannot_be_forged(start_engram):
    server = start_engram()
    requests.get(f'{server.dicomweb}/studies?PatientID=%0A{{"who":"me"}}&x="', timeout=10)
    searched = newest(server.data, 1)
    requests.get(f"{server.base}/a%0Ab%22", timeout=10)
    other = newest(server.data, 2)
    assert searched["who"] == other["who"] == "local" and other["path"] == '/a\nb"'


def test_a_client_that_goes_away_in_the_middle(start_engram):
    server = start_engram()
    host, port = server.base.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as slow:
        slow.sendall(b"POST /dicomweb/studies HTTP/1.1\r\nHost: x\r\nContent-Type: application/dicom\r\n"
                     b"Content-Length: 900\r\n\r\nsome")
        time.sleep(0.5)
    (line,) = lines(server.data, 1)
    assert line["action"] == "POST" and (line["status"] is None or line["status"] >= 400)


def test_queries_can_be_left_out_and_the_log_switched_off(start_engram, tmp_path):
    config = tmp_path / "c.toml"
    config.write_text("[audit]\nqueries = false")
    server = start_engram(config=config)
    requests.get(f"{server.dicomweb}/studies?PatientID=7", timeout=10)
    (line,) = lines(server.data, 1)
    assert "query" not in line and line["path"] == "/dicomweb/studies"
    config.write_text("[audit]\nenabled = false")
    server = start_engram(config=config, data=tmp_path / "other")
    requests.get(f"{server.dicomweb}/studies", timeout=10)
    server.stop()
    assert not (server.data / "audit.jsonl").exists()
