"""Starts and stops the servers that are measured."""

import http.client
import os
import signal
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def engram(binary: Path, port: int, data: Path, log: Path, *options: str | Path):
    """A server on loopback; gives its process and how many seconds passed until it was healthy."""
    begun = time.perf_counter()
    with open(log, "a") as output:
        server = subprocess.Popen([binary, "serve", "--bind", f"127.0.0.1:{port}", "--data", data, *options],
                                  stdout=output, stderr=output)
    try:
        while not is_healthy(port):
            if server.poll() is not None:
                raise SystemExit(f"Engram did not start: see {log}")
            time.sleep(0.02)
        yield server, time.perf_counter() - begun
    finally:
        server.terminate()
        server.wait()


@contextmanager
def orthanc(yardstick: Path, folder: Path):
    """The yardstick's Orthanc with an empty store in a folder; gives its process ID."""
    started = subprocess.run([yardstick / "start_orthanc.sh", folder], stdout=subprocess.PIPE, text=True, check=True)
    pid = int(started.stdout.split()[-1])
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGTERM)
        while Path(f"/proc/{pid}").exists() and "zombie" not in Path(f"/proc/{pid}/status").read_text():
            time.sleep(0.1)


def is_healthy(port: int) -> bool:
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", "/api/v1/health")
        return connection.getresponse().status == 200
    except OSError:
        return False
