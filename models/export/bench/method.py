"""What `cargo run --example series` measures, in Python over ONNX Runtime."""

import argparse
import json
import os
from pathlib import Path
from time import perf_counter

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # more would spin beside ONNX Runtime's

import numpy as np
from bundle import Bundle
from exemplars import Bank, encode_study
from segmenter import Segmenter

Array = np.ndarray


def dice(a: Array, b: Array) -> float:
    total = np.count_nonzero(a) + np.count_nonzero(b)
    return 2 * np.count_nonzero(a & b) / total if total else 1.0


def read(folder: Path, name: str, kind: str, side: int) -> Array:
    return np.fromfile(folder / name, kind).reshape(-1, side, side)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--series", type=Path, required=True, help="what `series --save` wrote")
    parser.add_argument("--patients", type=int, default=1)
    parser.add_argument("--side", type=int, default=256, help="rows and columns of a slice")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--save", type=Path, help="where the label volume goes")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    target = read(args.series, "target.f32", "<f4", args.side)
    kinds = (("f32", "<f4"), ("u8", "u1"))
    patients = [
        tuple(read(args.series, f"patient-{n}.{end}", kind, args.side) for end, kind in kinds)
        for n in range(1, args.patients + 1)
    ]
    bundle = Bundle(args.bundle, args.threads)
    start = perf_counter()
    bank = Bank([encode_study(bundle, voxels, mask) for voxels, mask in patients])
    encoding, inside = perf_counter() - start, bundle.seconds
    start = perf_counter()
    found = Segmenter(bundle, bank, target).segment()
    wall, inside = perf_counter() - start, bundle.seconds - inside
    other = read(args.series, "result.u8", "u1", args.side)
    report = {
        "encode": encoding,
        "segment": wall,
        "inside": inside,
        "overhead": 100 * (wall - inside) / wall,
        "dice": dice(found != 0, other != 0),
        "differ": int(np.count_nonzero(found != other)),
    }
    if args.json:
        print(json.dumps(report))
    else:
        print("  ".join(f"{name} {value:.5g}" for name, value in report.items()))
    if args.save:
        found.tofile(args.save)


if __name__ == "__main__":
    main()
