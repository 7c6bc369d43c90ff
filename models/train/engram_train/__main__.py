"""Everything, in order: data, training, export."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from engram_train.cache import SHARD

# How each device is used: what a step is on it.
TRAINING = {
    "cpu": ["--workers", "2", "--groups", "1", "--rate", "7e-4"],
    "cuda": ["--workers", "1", "--groups", "36", "--precision", "fp16", "--rate", "1.2e-3"],
}


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
    parser.add_argument("--device", choices=TRAINING, default="cpu", help="what trains")
    parser.add_argument("--start", type=Path, help="weights to begin from")
    parser.add_argument("--engram", type=Path, help="the engram program: calibrates confidence")
    args = parser.parse_args()
    cache, makers = args.work / "cache", os.cpu_count() or 1
    each = SHARD * -(-args.anatomies // (SHARD * makers))
    finish(
        *[
            module("cache", "--cache", cache, "--first", i * each, "--count", each)
            for i in range(makers)
        ]
    )
    how = ["--minutes", args.minutes, "--device", args.device, "--capacity", args.anatomies + 1000]
    start = ["--start", args.start] if args.start else []
    finish(
        module("train", "--cache", cache, "--out", args.work, *how, *TRAINING[args.device], *start)
    )
    weights = ["--checkpoint", args.work / "checkpoint.pt"]
    finish(module("retrieval", "--cache", cache, *weights, "--out", args.work))
    weights += ["--retrieval", args.work / "retrieval.pt"]
    finish(module("export", *weights, "--out", args.out))
    if args.engram:
        with_program = ["--engram", args.engram, "--bundle", args.out, "--work", args.work]
        finish(module("calibrate", *with_program))


if __name__ == "__main__":
    main()
