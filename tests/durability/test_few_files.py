"""A server that may open no more files refuses what it cannot do, and goes on once it may again."""

import resource
import sys
import threading
from pathlib import Path

import pytest
import requests

from serving import skip_or_fail
from small_ct import make_ct, part10

STORED, REFUSED = 200, range(400, 600)
BATCH, BATCHES, THREADS = 4, 6, 4


def body(instances: list[bytes]) -> bytes:
    parts = (b"--XX\r\nContent-Type: application/dicom\r\n\r\n" + one + b"\r\n" for one in instances)
    return b"".join(parts) + b"--XX--\r\n"


def store(session: requests.Session, dicomweb: str, instances: list[bytes]) -> requests.Response:
    headers = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=XX'}
    return session.post(f"{dicomweb}/studies", data=body(instances), headers=headers, timeout=60)


def batches(thread: int) -> list[list[bytes]]:
    """Each instance in a study of its own, so that many folders are made and synced."""
    uid = f"1.2.826.0.1.3680043.8.498.{thread + 1}"
    numbers = range(1, BATCH + 1)
    return [
        [part10(make_ct(number, f"{uid}.{batch}.{number}", f"{uid}.{batch}.{number}.1", rows=200)) for number in numbers]
        for batch in range(1, BATCHES + 1)
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="limits of another process can be set on Linux alone")
def test_what_cannot_be_stored_for_want_of_files_is_stored_later(start_engram):
    server = start_engram()
    if not hasattr(resource, "prlimit"):
        skip_or_fail("this Python cannot set limits of another process")
    sessions = [requests.Session() for _ in range(THREADS)]
    for session in sessions:
        assert session.get(f"{server.dicomweb}/studies", timeout=30).status_code in (200, 204)
    answers: list[list[int]] = [[] for _ in sessions]

    def send(thread: int):
        for spare, instances in enumerate(batches(thread)):
            if thread == 0:
                limit(server.process.pid, spare % 4)
            answers[thread].append(store(sessions[thread], server.dicomweb, instances).status_code)

    before = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
    threads = [threading.Thread(target=send, args=(thread,)) for thread in range(THREADS)]
    try:
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
    finally:
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, before)

    statuses = [status for of_thread in answers for status in of_thread]
    assert len(statuses) == THREADS * BATCHES
    assert any(status in REFUSED for status in statuses), f"nothing was refused: {statuses}"
    for thread, session in enumerate(sessions):
        for instances in batches(thread):
            again = store(session, server.dicomweb, instances)
            assert again.status_code == STORED, again.text
    found = sessions[0].get(f"{server.dicomweb}/instances?limit=1000", timeout=30).json()
    assert len(found) == THREADS * BATCHES * BATCH


def limit(process: int, spare: int):
    """Lets the process open so many files more than it has open."""
    most = len(list(Path(f"/proc/{process}/fd").iterdir())) + spare
    _, hard = resource.prlimit(process, resource.RLIMIT_NOFILE)
    resource.prlimit(process, resource.RLIMIT_NOFILE, (most, hard))
