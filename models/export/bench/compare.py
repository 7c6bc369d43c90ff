"""Rust and Python in turns on the same series, with the same threads and ONNX Runtime."""

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import onnxruntime

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[2]
RUST = "cargo run --quiet --release -p engram-segmenter --example series --"


def library() -> str:
    """The shared library that comes with the Python package."""
    folder = Path(onnxruntime.__file__).parent / "capi"
    found = [
        *folder.glob("libonnxruntime.so*"),
        *folder.glob("libonnxruntime.*dylib"),
        *folder.glob("onnxruntime.dll"),
    ]
    if not found:
        sys.exit(f"there is no ONNX Runtime library in {folder}: name one in ENGRAM_ORT")
    return str(found[0])


class Rust:
    def __init__(self, args: argparse.Namespace):
        self.command = [*shlex.split(args.rust), "--bundle", str(args.bundle.resolve())]
        self.command += ["--slices", str(args.slices), "--threads", str(args.threads)]
        self.environment = {"ENGRAM_ORT": library()} | os.environ

    def run(self, *more: str) -> list[dict]:
        """A row for every number of patients."""
        done = subprocess.run(
            [*self.command, *more],
            cwd=REPOSITORY, env=self.environment, stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
        header = ["patients", "encode", "segment", "speed", "overhead", "anew", "peak"]
        rows = [line.replace("%", "").split() for line in done.stdout.splitlines()[2:]]
        return [dict(zip(header, map(float, row), strict=True)) for row in rows]


def python(args: argparse.Namespace, series: Path) -> dict:
    command = [sys.executable, str(HERE / "method.py"), "--json"]
    command += ["--bundle", str(args.bundle), "--series", str(series)]
    command += ["--threads", str(args.threads)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--slices", type=int, default=36)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--anew", default="1,5,20", help="exemplar patients; empty: not measured")
    parser.add_argument("--rust", default=RUST, help="the command that measures Engram")
    args = parser.parse_args()
    rust = Rust(args)
    print(f"{args.bundle}, {args.slices} slices, {args.threads} threads; seconds are of segmenting")
    print("round  load    Rust s  Python s   ratio  Rust over  Python over     Dice  differ")
    rounds = []
    with tempfile.TemporaryDirectory() as folder:
        save = ["--patients", "1", "--save", folder]
        rust.run(*save)  # builds, writes the series, warms the file cache
        for number in range(args.rounds):
            load = os.getloadavg()[0]
            # Each goes first every other time.
            if number % 2:
                other = python(args, Path(folder))
                (own,) = rust.run(*save)
            else:
                (own,) = rust.run(*save)
                other = python(args, Path(folder))
            ratio = own["segment"] / other["segment"]
            walls = own["segment"], other["segment"]
            rounds.append((ratio, own["overhead"], other["overhead"], *walls))
            print(
                f"{number + 1:>5} {load:>5.1f} {own['segment']:>9.2f} {other['segment']:>9.2f} "
                f"{ratio:>7.3f} {own['overhead']:>9.2f}% {other['overhead']:>11.2f}% "
                f"{other['dice']:>8.5f} {other['differ']:>7}",
                flush=True,
            )
    ratio, own, other, wall, python_wall = (median(column) for column in zip(*rounds, strict=True))
    print(
        f"{'median':>11} {wall:>9.2f} {python_wall:>9.2f} {ratio:>7.3f} {own:>9.2f}% "
        f"{other:>11.2f}%"
    )
    if args.anew:
        print("\nexemplars encoded anew for the target against kept ones")
        print("patients  encode s  segment s  factor")
        for row in rust.run("--patients", args.anew):
            print(
                f"{row['patients']:>8.0f} {row['encode']:>9.2f} {row['segment']:>10.2f} "
                f"{row['anew']:>7.2f}"
            )


if __name__ == "__main__":
    main()
