"""Everything, in order: data, training, export."""

import argparse
import subprocess
import sys
from pathlib import Path


def module(name: str, *arguments: object) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-m", f"engram_train.{name}", *map(str, arguments)])


def finish(*processes: subprocess.Popen) -> None:
    """Waits for all; stops everything if one failed."""
    if any([process.wait() for process in processes]):
        sys.exit(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="data and checkpoints")
    parser.add_argument("--out", type=Path, required=True, help="bundle folder")
    parser.add_argument("--minutes", type=float, default=120, help="training of the network")
    parser.add_argument("--anatomies", type=int, default=4000)
    args = parser.parse_args()
    cache, tour, half = args.work / "cache", args.work / "tour", args.anatomies // 2
    finish(
        module("cache", "--cache", cache, "--first", 0, "--count", half),
        module("cache", "--cache", cache, "--first", half, "--count", half),
    )
    finish(module("cache", "--cache", tour, "--count", 640, "--tour"))
    finish(module("train", "--cache", cache, "--out", args.work, "--minutes", args.minutes))
    if not (args.work / "retrieval.pt").exists():
        finish(module("retrieval", "--cache", tour, "--out", args.work))
    weights = ["--checkpoint", args.work / "checkpoint.pt"]
    weights += ["--retrieval", args.work / "retrieval.pt"]
    finish(module("export", *weights, "--out", args.out))


if __name__ == "__main__":
    main()
