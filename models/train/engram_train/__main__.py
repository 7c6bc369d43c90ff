"""Everything, in order: data, training, export."""

import argparse
import os
import subprocess
import sys
from pathlib import Path


def module(name: str, *arguments: object) -> subprocess.Popen:
    """Starts a step. It is one thread, or processes of one: libraries shall add none."""
    alone = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", f"engram_train.{name}", *map(str, arguments)]
    return subprocess.Popen(command, env=os.environ | alone)


def finish(*processes: subprocess.Popen) -> None:
    """Waits for all; stops everything if one failed."""
    if any([process.wait() for process in processes]):
        sys.exit(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="data and checkpoints")
    parser.add_argument("--out", type=Path, required=True, help="bundle folder")
    parser.add_argument("--minutes", type=float, default=60, help="training of the network")
    parser.add_argument("--anatomies", type=int, default=2000)
    args = parser.parse_args()
    cache, half = args.work / "cache", args.anatomies // 2
    finish(
        module("cache", "--cache", cache, "--first", 0, "--count", half),
        module("cache", "--cache", cache, "--first", half, "--count", half),
    )
    finish(module("train", "--cache", cache, "--out", args.work, "--minutes", args.minutes))
    weights = ["--checkpoint", args.work / "checkpoint.pt"]
    finish(module("retrieval", "--cache", cache, *weights, "--out", args.work))
    weights += ["--retrieval", args.work / "retrieval.pt"]
    finish(module("export", *weights, "--out", args.out))


if __name__ == "__main__":
    main()
