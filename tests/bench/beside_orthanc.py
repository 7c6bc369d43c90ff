"""How fast Engram's DICOMweb is beside Debian's Orthanc: fresh servers, interleaved, with the cost of storing as a floor.

    python tests/bench/beside_orthanc.py --yardstick YARDSTICK --data DATA --engram target/release/engram --out OUT

YARDSTICK holds `dwbench.py`, `compare.py` and `start_orthanc.sh`; DATA was made by its `make_data.py`. Each run starts an
empty Orthanc, measures it, starts an empty Engram, measures it, and times what neither can avoid: one file of an instance's
size written and synced, by as many threads as the yardstick has connections. The last table holds the ratio of each row to
its bar.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

from running import engram, orthanc

ENGRAM_PORT = 8177
ORTHANC = "http://127.0.0.1:8042/dicom-web"
CONNECTIONS = 4
FLOOR_FILES = 600
# What a row's ratio, Orthanc's time over Engram's, has to reach, by the beginning of its name and its connections.
BARS = [
    ("STOW 120", None, 4.0),
    ("STOW 1 ", CONNECTIONS, 1.5),
    ("QIDO /series/{}/instances", None, 10.0),
    ("QIDO /instances", None, 10.0),
    ("QIDO", None, 3.0),
    ("WADO series /metadata", None, 20.0),
    ("WADO instance /metadata", None, 20.0),
    ("WADO series", None, 3.0),
    ("WADO instance", None, 3.0),
    ("WADO /frames", None, 3.0),
    ("WADO /rendered (png)", None, 5.0),
    ("WADO /rendered", None, 1.0),
]


def main():
    arguments = parse_arguments()
    arguments.out.mkdir(parents=True, exist_ok=True)
    floors = []
    # Stores stay until the end: for half a minute after a deletion ext4 passes over the freed inodes one by one, which would
    # slow down whoever comes next.
    for run in range(1, arguments.runs + 1):
        measure_orthanc(arguments, run)
        measure_engram(arguments, run)
        floors.append(time_floor(arguments.out, run, instance_size(arguments.data)))
    reports = [sorted(str(path) for path in arguments.out.glob(f"{name}-run*.json")) for name in ("orthanc", "engram")]
    subprocess.run([sys.executable, arguments.yardstick / "compare.py", *reports[0], *reports[1]], check=True)
    print_bars(*reports, statistics.median(floors))
    for store in [path for path in arguments.out.iterdir() if path.is_dir()]:
        shutil.rmtree(store)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--yardstick", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--engram", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=3)
    return parser.parse_args()


def measure_orthanc(arguments: argparse.Namespace, run: int):
    with orthanc(arguments.yardstick, arguments.out / f"orthanc-{run}") as pid:
        measure(arguments, "orthanc", ORTHANC, pid, run)


def measure_engram(arguments: argparse.Namespace, run: int):
    data, log = arguments.out / f"engram-{run}", arguments.out / "engram.log"
    with engram(arguments.engram, ENGRAM_PORT, data, log) as (server, _):
        measure(arguments, "engram", f"http://127.0.0.1:{ENGRAM_PORT}/dicomweb", server.pid, run)


def measure(arguments: argparse.Namespace, name: str, base: str, pid: int, run: int):
    print(f"-- {name}, run {run}", flush=True)
    subprocess.run([sys.executable, arguments.yardstick / "dwbench.py", "--base", base, "--data", arguments.data,
                    "--name", name, "--pid", str(pid), "--out", arguments.out / f"{name}-run{run}.json"], check=True)


def instance_size(data: Path) -> int:
    manifest = json.loads((data / "manifest.json").read_text())
    return (data / manifest["studies"][0]["instances"][0]["path"]).stat().st_size


def time_floor(folder: Path, run: int, size: int) -> float:
    """Files of `size` bytes that CONNECTIONS threads write and sync, a second."""
    place = folder / f"floor-{run}"
    place.mkdir()
    content = os.urandom(size)

    def write(thread: int):
        for number in range(FLOOR_FILES // CONNECTIONS):
            with open(place / f"{thread}-{number}", "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())

    threads = [threading.Thread(target=write, args=(thread,)) for thread in range(CONNECTIONS)]
    start = time.perf_counter()
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    rate = FLOOR_FILES / (time.perf_counter() - start)
    print(f"floor: {rate:.0f} files of {size} bytes written and synced a second, {CONNECTIONS} threads", flush=True)
    return rate


def print_bars(of_orthanc: list[str], of_engram: list[str], floor: float):
    theirs, ours = merge(of_orthanc), merge(of_engram)
    print(f"\n{'operation':50s} {'orthanc':>10s} {'engram':>10s} {'ratio':>8s} {'bar':>6s}")
    for key, row in ours.items():
        peer, bar = theirs[key], bar_of(*key)
        # Rates where many connections share the work, else the time of one request.
        ratio = row["items"] / peer["items"] if key[0].startswith("STOW 1 ") else peer["p50"] / row["p50"]
        print(f"{key[0]:47s} c{key[1]} {peer['p50']:10.2f} {row['p50']:10.2f} {ratio:8.1f} {bar:6.1f}"
              f" {'' if ratio >= bar else ' below'}")
        if key[0].startswith("STOW 1 "):
            print(f"{'  of the floor':50s} {floor:8.0f}/s {row['items']:8.0f}/s {row['items'] / floor:8.2f}    0.5")
    peaks = [max(row["hwm"] for row in side.values()) for side in (theirs, ours)]
    print(f"{'peak RSS, MB':50s} {peaks[0]:10.0f} {peaks[1]:10.0f} {peaks[0] / peaks[1]:8.1f}    2.0")


def bar_of(operation: str, connections: int) -> float:
    return next(bar for name, at, bar in BARS if operation.startswith(name) and at in (None, connections))


def merge(reports: list[str]) -> dict[tuple[str, int], dict[str, float]]:
    """The median of each row over the runs."""
    rows = {}
    for report in reports:
        for row in json.loads(Path(report).read_text())["rows"]:
            rows.setdefault((row["op"], row["conc"]), []).append(row)
    names = {"p50": "p50_ms", "items": "items_s", "hwm": "hwm_MB"}
    return {key: {name: statistics.median(row[field] for row in found) for name, field in names.items()}
            for key, found in rows.items()}


if __name__ == "__main__":
    main()
