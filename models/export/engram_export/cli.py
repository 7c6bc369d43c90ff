"""`engram-export`: one command from checkpoints to a bundle."""

import argparse
import shlex
import sys
from pathlib import Path

import torch

from engram_export.bundle import Inexact, write_bundle
from engram_export.configs import DINO_NAMES, SAM_NAMES, STRIDE, TINY_TEST, sizes
from engram_export.weights import Unusable, load_dino, load_sam


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog="engram-export", description=__doc__)
    p.add_argument(
        "--sam",
        required=True,
        metavar="MODEL",
        help=f"one of {', '.join(SAM_NAMES)}; a folder in transformers' layout; or a SAM 2.1 "
        "checkpoint FILE in the official naming (.pt, .pth), with --sam-config",
    )
    p.add_argument(
        "--sam-config",
        metavar="MODEL",
        help="the architecture of a checkpoint file: a name or folder",
    )
    p.add_argument(
        "--dino",
        required=True,
        metavar="MODEL",
        help=f"one of {', '.join(DINO_NAMES)}; or a folder in transformers' layout",
    )
    p.add_argument(
        "--size",
        type=int,
        help="side of the image encoder's square in pixels (1024; 512 is faster)",
    )
    p.add_argument("--precision", choices=["fp32", "fp16"], default="fp32")
    p.add_argument("--out", type=Path, required=True, help="the bundle's folder")
    p.add_argument("--name", help="the bundle's name (default: from the models and the size)")
    p.add_argument(
        "--licence",
        default="Apache-2.0",
        help="for the manifest (Apache-2.0, as both published models; fine-tuned ones may differ)",
    )
    p.add_argument("--force", action="store_true", help="replace --out if it is there")
    p.add_argument("--threads", type=int, help="CPU threads")
    p.add_argument(
        "--random-init",
        type=int,
        metavar="SEED",
        help="random weights of the named architectures: a bundle that only tests",
    )
    p.add_argument(
        "--boost",
        action="store_true",
        help="with --random-init: enlarge what tells memories and pointers apart, and balance "
        "masks and object scores, so that a mistake shows in the result",
    )
    return p


def main(argv: list[str] | None = None) -> None:
    """Exits with 1 and a message where no bundle could be made."""
    argv = sys.argv[1:] if argv is None else argv
    p = parser()
    args = p.parse_args(argv)
    if args.boost and args.random_init is None:
        p.error("--boost needs --random-init: it would spoil trained weights")
    if args.sam_config and args.random_init is not None:
        p.error("--sam-config goes with a checkpoint file, not with --random-init")
    size = sizes(args.sam, args.dino, args.size)
    if size.image <= 0 or size.image % (2 * STRIDE):
        p.error(f"--size {size.image} is no multiple of {2 * STRIDE}")
    if args.out.exists() and not args.force:
        p.error(f"{args.out} is there already: remove it, or add --force")
    if args.threads:
        torch.set_num_threads(args.threads)
    try:
        export(args, size, "engram-export " + shlex.join(argv))
    except (Unusable, Inexact) as error:
        sys.exit(f"engram-export: {error}")


def export(args: argparse.Namespace, size, made_by: str) -> None:
    """Loads both models and writes the bundle."""
    print(f"loading {args.sam}", flush=True)
    sam = load_sam(args.sam, args.sam_config, size.image, args.random_init)
    if args.boost:
        from engram_export.boost import boost

        boost(sam.model, args.random_init)
        sam.source += ", boosted"
    print(f"loading {args.dino}", flush=True)
    dino = load_dino(args.dino, args.random_init)
    made = write_bundle(
        sam.model,
        dino.model,
        size.retrieval,
        args.out,
        name=args.name or bundle_name(args, size.image),
        source=f"{sam.source}; {dino.source}",
        made_by=made_by,
        licence=args.licence,
        precision=args.precision,
        force=args.force,
        say=lambda line: print(line, flush=True),
    )
    total = sum(graph.bytes for graph in made)
    print(f"wrote {args.out} ({total / 1e6:.1f} MB)")


def bundle_name(args: argparse.Namespace, size: int) -> str:
    """A name such as sam2.1-hiera-tiny-dinov2-small-512."""
    parts = [
        Path(args.sam).stem if Path(args.sam).suffix in (".pt", ".pth") else Path(args.sam).name
    ]
    parts.append("dino-tiny-test" if args.dino == TINY_TEST else Path(args.dino).name)
    parts.append(str(size))
    if args.precision != "fp32":
        parts.append(args.precision)
    if args.random_init is not None:
        parts.append(f"random{args.random_init}")
    name = "-".join(parts)
    return "".join(c if c.isascii() and (c.isalnum() or c in "-._") else "-" for c in name)
