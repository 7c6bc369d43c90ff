"""Segments a case by registering annotated ones to it: multi-atlas segmentation with ANTs."""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

from engram_registration.case import BadInput, Volume, read_exemplar, read_volume, told
from engram_registration.register import TRANSFORMS, carry
from engram_registration.seg import Label, merge, segmentation
from engram_registration.vote import Ballot


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog="engram_registration", description=__doc__)
    p.add_argument("--out", type=Path, required=True, metavar="FILE", help="the SEG to write")
    p.add_argument(
        "--target", type=Path, required=True, metavar="CASE", help="folder with images/*.dcm"
    )
    p.add_argument("--transform", choices=TRANSFORMS, default=TRANSFORMS[0], help="of ANTs (SyN)")
    p.add_argument(
        "exemplars",
        type=Path,
        nargs="+",
        metavar="CASE",
        help="folder with images/*.dcm and seg.dcm",
    )
    return p


def say(line: str) -> None:
    print(f"engram_registration: {line}", file=sys.stderr, flush=True)


def writable(target: Volume, labels: list[Label], transform: str, out: Path) -> None:
    """Raises where the result could not be written: better now than after the registrations."""
    if not out.parent.is_dir():
        raise BadInput(f"{out.parent}: no such folder")
    try:
        nothing = np.zeros(target.voxels.shape, np.uint16)
        segmentation(target.slices, nothing, labels, transform)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise BadInput(f"no SEG can be made of these labels and images: {told(error)}") from error


def segment(target: Path, exemplars: list[Path], transform: str, out: Path) -> None:
    """Registers every exemplar to the target, votes, and writes the SEG."""
    fixed = read_volume(target)
    labels: list[Label] = []
    for folder in exemplars:  # all are read before the first is registered, which takes long
        merge(labels, read_exemplar(folder).labels)
    writable(fixed, labels, transform, out)
    ballot = Ballot(len(labels), fixed.voxels.shape)
    for folder in exemplars:
        start = time.monotonic()
        exemplar = read_exemplar(folder)
        carried = carry(fixed, exemplar.volume, exemplar.masks, transform)
        ballot.add({labels.index(n): m for n, m in zip(exemplar.labels, carried, strict=True)})
        say(f"{folder}: {time.monotonic() - start:.1f} s")
    segmentation(fixed.slices, ballot.result(), labels, transform).save_as(out)


def main(argv: list[str] | None = None) -> int:
    """The exit status: 1, with one line on stderr, where the input cannot be used."""
    args = parser().parse_args(argv)
    try:
        segment(args.target, args.exemplars, args.transform, args.out)
    except (BadInput, OSError) as error:
        say(told(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
