"""The system calls of storing: what is acknowledged was synced before."""

import os
import re
import shutil
import signal
import subprocess
import time

import pytest
import requests

import patients
from serving import free_port, skip_or_fail

CALLS = "openat,fsync,fdatasync,sync_file_range,rename,renameat,renameat2,write,writev,sendto,sendmsg"
SYNC = re.compile(r"(?:fsync|fdatasync)\(\d+<([^>]+)>\)\s+= 0")
RESUMED_SYNC = re.compile(r"<\.\.\. (?:fsync|fdatasync) resumed>\)\s+= 0")
STARTED_SYNC = re.compile(r"(?:fsync|fdatasync)\(\d+<([^>]+)> <unfinished")
ANSWER = re.compile(r'(?:write|writev|sendto|sendmsg)\(\d+<[^>]*>.*HTTP/1\.1 200 OK')
ROUNDS = 12


def completed_syncs(lines: list[str]) -> list[str]:
    """Paths in the order in which their syncs ended; a call split over two lines counts at its end."""
    started, done = {}, []
    for line in lines:
        thread = line.split(maxsplit=1)[0]
        if found := SYNC.search(line):
            done.append(found[1])
        elif found := STARTED_SYNC.search(line):
            started[thread] = found[1]
        elif RESUMED_SYNC.search(line) and thread in started:
            done.append(started.pop(thread))
    return done


def split_at_answers(lines: list[str]) -> list[list[str]]:
    """What happened before each answer and after the one before it."""
    spans, span = [], []
    for line in lines:
        if ANSWER.search(line):
            spans.append(span)
            span = []
        else:
            span.append(line)
    return spans


@pytest.fixture
def traced(engram, tmp_path):
    """A server under strace: its URL, its data folder and its trace."""
    if shutil.which("strace") is None:
        skip_or_fail("strace is not installed")
    port, data, trace = free_port(), tmp_path / "data", tmp_path / "trace"
    process = subprocess.Popen(
        ["strace", "-f", "-y", "-s", "64", "-e", f"trace={CALLS}", "-o", trace,
         engram, "serve", "--bind", f"127.0.0.1:{port}", "--data", data],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    base = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            requests.get(f"{base}/api/v1/health", timeout=5)
            break
        except requests.ConnectionError:
            time.sleep(0.1)
    yield base, data, trace
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_file_folder_and_catalogue_are_synced_before_the_answer(traced):
    base, data, trace = traced
    before = len(trace.read_text(errors="replace").splitlines())
    for one in patients.images(1)[:ROUNDS]:
        body = b"\r\n--XX\r\nContent-Type: application/dicom\r\n\r\n" + patients.part10(one) + b"\r\n--XX--\r\n"
        answer = requests.post(
            f"{base}/dicomweb/studies", data=body, timeout=60,
            headers={"Content-Type": 'multipart/related; type="application/dicom"; boundary=XX'})
        assert answer.status_code == 200
    time.sleep(1)
    spans = split_at_answers(trace.read_text(errors="replace").splitlines()[before:])
    spans = [span for span in spans if any("incoming" in line for line in span)]
    assert len(spans) == min(ROUNDS, patients.SLICES)
    for span in spans:
        synced = completed_syncs(span)
        files = [path for path in synced if "/incoming/" in path or path.endswith(".dcm")]
        folders = [path for path in synced if path.startswith(f"{data}/objects/") and not path.endswith(".dcm")]
        catalogue = [path for path in synced if path.startswith(f"{data}/db")]
        assert files and folders and catalogue, synced
