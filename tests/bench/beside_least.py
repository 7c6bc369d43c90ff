"""How close STOW-RS of single instances comes to the least that a server does, which `least_store` does.

    cargo build --release -p engram-archive --example least_store
    python tests/bench/beside_least.py --data DATA --engram target/release/engram \\
        --least target/release/examples/least_store --out OUT

DATA was made by `make_data.py` of the yardstick. In each run the same instances go to an empty `least_store` and to an empty
Engram, by as many connections as the yardstick has, from a client in Python on the same processors, as its is; and as
many threads write and sync files of that size, without a client or a server. *Filed* is an Engram that receives everything into files
(`[storage] receive_mb = 0`), through the page cache.
"""

import argparse
import http.client
import json
import shutil
import socket
import statistics
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from beside_orthanc import CONNECTIONS, instance_size, time_floor
from running import engram

LEAST_PORT, ENGRAM_PORT = 8176, 8177
BOUNDARY = b"leastBOUNDARYleast"
HEADERS = {"Content-Type": f'multipart/related; type="application/dicom"; boundary={BOUNDARY.decode()}',
           "Accept": "application/dicom+json"}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--engram", type=Path, required=True)
    parser.add_argument("--least", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    studies = json.loads((arguments.data / "manifest.json").read_text())["studies"]
    # The second half of the studies, as the yardstick does.
    paths = [arguments.data / one["path"] for study in studies[len(studies) // 2:] for one in study["instances"]]
    rates = {"floor": [], "least": [], "filed": [], "engram": []}
    filed = arguments.out / "filed.toml"
    filed.write_text("[storage]\nreceive_mb = 0\n")
    for run in range(arguments.runs):
        rates["floor"].append(time_floor(arguments.out, run, instance_size(arguments.data)))
        with least(arguments.least, arguments.out / f"least-{run}"):
            rates["least"].append(rate_of(LEAST_PORT, paths))
        for name, options in (("filed", ["--config", filed]), ("engram", [])):
            store, log = arguments.out / f"{name}-{run}", arguments.out / "engram.log"
            with engram(arguments.engram, ENGRAM_PORT, store, log, *options):
                rates[name].append(rate_of(ENGRAM_PORT, paths))
    # Stores stay until the end: what is deleted slows down the disk for whoever comes next.
    for store in [path for path in arguments.out.iterdir() if path.is_dir()]:
        shutil.rmtree(store)
    medians = {name: statistics.median(found) for name, found in rates.items()}
    for name, found in rates.items():
        print(f"{name}: {medians[name]:.0f} a second ({', '.join(f'{rate:.0f}' for rate in found)})")
    for name, peer in (("least", "floor"), ("engram", "floor"), ("engram", "least"), ("engram", "filed")):
        ratios = [one / other for one, other in zip(rates[name], rates[peer], strict=True)]
        print(f"{name} / {peer}: {statistics.median(ratios):.2f}")


@contextmanager
def least(binary: Path, folder: Path):
    """The least server, with an empty folder."""
    server = subprocess.Popen([binary, f"127.0.0.1:{LEAST_PORT}", folder])
    try:
        while not listens(LEAST_PORT):
            if server.poll() is not None:
                raise SystemExit("the least server did not start")
            time.sleep(0.02)
        yield
    finally:
        server.terminate()
        server.wait()


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
        return True
    except OSError:
        return False


def rate_of(port: int, paths: list[Path]) -> float:
    """Instances a second, of one instance a request."""
    # A list's iterator may be shared by threads: each step of it is one of the interpreter's.
    shared, refused = iter(paths), []

    def work(paths: Iterator[Path]):
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for path in paths:
            connection.request("POST", "/dicomweb/studies", body=multipart(path), headers=HEADERS)
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                refused.append(f"{path}: {answer.status}")

    threads = [threading.Thread(target=work, args=(shared,)) for _ in range(CONNECTIONS)]
    begun = time.perf_counter()
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    seconds = time.perf_counter() - begun
    if refused:
        raise SystemExit(refused[0])
    return len(paths) / seconds


def multipart(path: Path) -> bytes:
    start = b"--" + BOUNDARY + b"\r\nContent-Type: application/dicom\r\n\r\n"
    return b"".join([start, path.read_bytes(), b"\r\n--" + BOUNDARY + b"--\r\n"])


if __name__ == "__main__":
    main()
