"""How close retrieval comes to nginx sending the same bytes from files: a series, instances over four connections, and the
metadata of an instance over one.

    python tests/bench/beside_nginx.py --base http://127.0.0.1:8080/dicomweb --data DATA --out OUT

The server at --base holds the studies of DATA, which `make_data.py` of the yardstick made. Both are asked in turns: for the
series by a client that throws away what it reads, for the others by one that keeps each answer, as the yardstick's does.
"""

import argparse
import http.client
import json
import statistics
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

PORT = 8179
REPEATS = 30
CONNECTIONS, ROUNDS, METADATA = 4, 5, 120
ACCEPT = 'multipart/related; type="application/dicom"; transfer-syntax=*'
JSON = "application/dicom+json"
CONFIGURATION = """
daemon off; pid {out}/nginx.pid; error_log {out}/nginx.log;
events {{ }}
http {{
  access_log off; sendfile on; tcp_nopush on;
  # As Engram's: a client of Python's library takes longer to read this header than others.
  default_type 'multipart/related; type="application/dicom"; boundary=none';
  server {{ listen 127.0.0.1:{port}; root {out}; location /data/ {{ alias {data}/; }}
    location /metadata {{ default_type application/dicom+json; }} }}
}}
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    out = arguments.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    study = json.loads((arguments.data / "manifest.json").read_text())["studies"][1]
    base = urlsplit(arguments.base)
    path = f"{base.path}/studies/{study['study']}/series/{study['series']}"
    engram = http.client.HTTPConnection(base.hostname, base.port)
    first = f"{path}/instances/{study['instances'][0]['uid']}/metadata"
    for name, asked, accept in (("series", path, ACCEPT), ("metadata", first, JSON)):
        engram.request("GET", asked, headers={"Accept": accept})
        (out / name).write_bytes(engram.getresponse().read())
    (out / "nginx.conf").write_text(CONFIGURATION.format(out=out, port=PORT, data=arguments.data.resolve()))
    server = subprocess.Popen(["nginx", "-c", out / "nginx.conf", "-e", out / "nginx.log"])
    try:
        time.sleep(1)
        nginx = http.client.HTTPConnection("127.0.0.1", PORT)
        times = {"engram": [], "nginx": []}
        for _ in range(REPEATS):
            times["engram"].append(seconds(engram, path))
            times["nginx"].append(seconds(nginx, "/series"))
        single = {"engram": [], "nginx": []}
        metadata = {"engram": [], "nginx": []}
        for _ in range(ROUNDS):
            single["engram"] += of_instances(base.hostname, base.port, [
                f"{path}/instances/{one['uid']}" for one in study["instances"]])
            single["nginx"] += of_instances("127.0.0.1", PORT, [f"/data/{one['path']}" for one in study["instances"]])
            metadata["engram"] += of_instances(base.hostname, base.port, [first] * METADATA, JSON, 1)
            metadata["nginx"] += of_instances("127.0.0.1", PORT, ["/metadata"] * METADATA, JSON, 1)
    finally:
        server.terminate()
        server.wait()
    size = (out / "series").stat().st_size
    medians = {name: statistics.median(found) for name, found in times.items()}
    for name, median in medians.items():
        print(f"{name}: {median * 1e3:.1f} ms, {size / median / 1e6:.0f} MB/s")
    print(f"engram / nginx: {medians['engram'] / medians['nginx']:.2f}")
    for what, found in ((f"an instance, {CONNECTIONS} connections", single), ("metadata of an instance", metadata)):
        medians = {name: statistics.median(seconds) for name, seconds in found.items()}
        told = ", ".join(f"{name} {median * 1e3:.2f} ms" for name, median in medians.items())
        print(f"{what}: {told}; engram / nginx: {medians['engram'] / medians['nginx']:.2f}")


def of_instances(
    host: str, port: int, paths: list[str], accept: str = ACCEPT, connections: int = CONNECTIONS,
) -> list[float]:
    """Seconds that each of the paths takes when connections share them."""
    shared, found = iter(paths), []

    def work(paths: Iterator[str]):
        connection = http.client.HTTPConnection(host, port)
        for path in paths:
            begun = time.perf_counter()
            connection.request("GET", path, headers={"Accept": accept, "Accept-Encoding": "identity"})
            answer = connection.getresponse()
            answer.read()
            found.append(time.perf_counter() - begun)
            if answer.status != 200:
                raise SystemExit(f"{path}: {answer.status}")

    # A list's iterator may be shared by threads: each step of it is one of the interpreter's.
    threads = [threading.Thread(target=work, args=(shared,)) for _ in range(connections)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    return found


def seconds(connection: http.client.HTTPConnection, path: str) -> float:
    """The time until the last byte of an answer is there."""
    buffer = bytearray(1 << 20)
    begun = time.perf_counter()
    connection.request("GET", path, headers={"Accept": ACCEPT})
    response = connection.getresponse()
    while response.readinto(buffer):
        pass
    assert response.status == 200, response.status
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
