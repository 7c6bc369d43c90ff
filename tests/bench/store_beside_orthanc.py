"""C-STORE by storescu, to Engram and to Orthanc in turns, each with an empty store; beside what writing and syncing costs.

    python tests/bench/store_beside_orthanc.py --yardstick YARDSTICK --data DATA --engram target/release/engram --out OUT

YARDSTICK has start_orthanc.sh, which starts an Orthanc with DICOM port 4242; DATA is what its make_data.py made. Needs DCMTK.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import time
from pathlib import Path

from running import engram, orthanc

HTTP_PORT, DIMSE_PORT, ORTHANC_PORT = 8179, 11179, 4242
BAR = 5.0
CONFIG = f"""
[dimse]
bind = "127.0.0.1:{DIMSE_PORT}"
"""


def main():
    arguments = parse_arguments()
    arguments.out.mkdir(parents=True, exist_ok=True)
    study = json.loads((arguments.data / "manifest.json").read_text())["studies"][0]
    files = [arguments.data / one["path"] for one in study["instances"]]
    seconds = {"orthanc": [], "engram": [], "floor": []}
    for run in range(arguments.runs):
        with orthanc(arguments.yardstick, arguments.out / f"orthanc-{run}"):
            seconds["orthanc"].append(time_storing(files, "ORTHANC", ORTHANC_PORT))
        config = arguments.out / "config.toml"
        config.write_text(CONFIG)
        with engram(arguments.engram, HTTP_PORT, arguments.out / f"engram-{run}", arguments.out / "engram.log",
                    "--config", config):
            seconds["engram"].append(time_storing(files, "ENGRAM", DIMSE_PORT))
        seconds["floor"].append(time_floor(arguments.out / f"floor-{run}", files))
    report(seconds, len(files))
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


def time_storing(files: list[Path], called: str, port: int) -> float:
    """Seconds that one storescu takes for all files on one association; each must be stored."""
    begun = time.perf_counter()
    subprocess.run(["storescu", "-aec", called, "127.0.0.1", str(port), *files], check=True)
    return time.perf_counter() - begun


def time_floor(folder: Path, files: list[Path]) -> float:
    """Seconds that writing and syncing the same files one after the other takes."""
    folder.mkdir()
    contents = [file.read_bytes() for file in files]
    begun = time.perf_counter()
    for number, content in enumerate(contents):
        with open(folder / str(number), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    return time.perf_counter() - begun


def report(seconds: dict[str, list[float]], count: int):
    for name, runs in seconds.items():
        times = ", ".join(f"{one:.2f}" for one in runs)
        print(f"{name:8s} {count / statistics.median(runs):7.1f} instances/s (runs of {times} s)")
    median = {name: statistics.median(runs) for name, runs in seconds.items()}
    print(f"Engram stores {median['orthanc'] / median['engram']:.1f} times as fast as Orthanc (bar: {BAR}), "
          f"{median['floor'] / median['engram']:.2f} of the floor")


if __name__ == "__main__":
    main()
