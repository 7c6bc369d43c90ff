"""Fits a bundle's confidence on synthetic tasks that no training has seen.

For each anatomy a bank of a few synthetic patients is made, and another patient is segmented by
the `engram` program itself. What it says of each slice and label (signals) is held against the
truth: a logistic function of the signals is fitted to the Dice of what was drawn, and another to
whether the label was absent where nothing was drawn. Both go into the manifest as [confidence].
"""

import argparse
import hashlib
import json
import os
import re
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from scipy.optimize import minimize
from scipy.stats import spearmanr

from engram_train.appearance import Textures
from engram_train.cases import write_anatomy

FIRST_SEED = 90_000_000  # beyond every seed of the training data
BANKS = [1, 2, 3, 5]  # patients
SIGNALS = ["presence", "iou", "expected_dice", "looks_agree", "beside", "similarity", "shown"]
DECAY = 3e-3  # of the weights
REVIEW_BELOW = 0.7
FOLDS = 5

Array = np.ndarray


def measure(engram: Path, bundle: Path, seed: int, textures: Textures) -> list[dict]:
    """What the program says of every slice and label of one synthetic patient."""
    exemplars = BANKS[seed % len(BANKS)]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        taught, target = write_anatomy(root / "cases", seed, exemplars, textures)
        config = root / "config.toml"
        config.write_text(f"[models]\nbundle = {json.dumps(str(bundle.resolve()))}\n")
        command = [engram, "evaluate", "--config", config, "--data", root / "cases"]
        command += ["--exemplars", ",".join(taught), "--targets", target, "--slices", "--json"]
        answer = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
    scores = json.loads(answer.stdout)["targets"][0]["slice_scores"]
    return [score | {"anatomy": seed} for score in scores]


def weights_of(bundle: Path) -> str:
    """Tells bundles apart by the digests of their files."""
    digests = re.findall(r'sha256 = "(\w+)"', (bundle / "bundle.toml").read_text())
    return hashlib.sha256("".join(digests).encode()).hexdigest()[:12]


def gather(args: argparse.Namespace) -> list[dict]:
    """Measures what is not in the bundle's file yet, and answers all that is."""
    args.work.mkdir(parents=True, exist_ok=True)
    path = args.work / f"confidence-{weights_of(args.bundle)}.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    known = {row["anatomy"] for row in rows}
    textures = Textures(np.random.default_rng(FIRST_SEED))
    for seed in range(FIRST_SEED, FIRST_SEED + args.anatomies):
        if seed in known:
            continue
        found = measure(args.engram, args.bundle, seed, textures)
        with path.open("a") as file:
            file.writelines(json.dumps(row) + "\n" for row in found)
        rows += found
        print(f"anatomy {seed}: {len(found)} slices and labels", flush=True)
    return rows


def signals(rows: list[dict]) -> Array:
    """Signals with a one in front: [n, 1 + signals]."""
    values = [[1.0] + [row["signals"][name] for name in SIGNALS] for row in rows]
    return np.array(values).reshape(-1, 1 + len(SIGNALS))


def logistic(weights: Array, x: Array) -> Array:
    return 1 / (1 + np.exp(-np.clip(x @ weights, -30, 30)))


def fit(x: Array, y: Array) -> Array:
    """Weights of the logistic function of x [n, k] nearest to y [n] in 0..1, by likelihood."""

    def loss(weights: Array) -> tuple[float, Array]:
        p = np.clip(logistic(weights, x), 1e-9, 1 - 1e-9)
        cross = -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()
        decay = np.r_[0.0, np.full(x.shape[1] - 1, DECAY)]
        return cross + (decay * weights**2).sum(), x.T @ (p - y) / len(y) + 2 * decay * weights

    return minimize(loss, np.zeros(x.shape[1]), jac=True, method="L-BFGS-B").x


def held_out(x: Array, y: Array, anatomies: Array) -> Array:
    """Predictions of each row by a fit on other anatomies."""
    predicted = np.zeros(len(y))
    for fold in range(FOLDS):
        out = anatomies % FOLDS == fold
        if out.any():
            predicted[out] = logistic(fit(x[~out], y[~out]), x[out])
    return predicted


def section(name: str, weights: Array) -> str:
    named = zip(["intercept", *SIGNALS], weights, strict=True)
    return f"\n[confidence.{name}]\n" + "".join(f"{key} = {value:.4f}\n" for key, value in named)


def write(manifest: Path, mask: Array, absence: Array) -> None:
    """Puts the section before the graphs, in place of one that is there."""
    text = manifest.read_text()
    text = re.sub(r"\[confidence\]\n(.*\n)*?(?=\[graphs)", "", text)
    new = f"[confidence]\nreview_below = {REVIEW_BELOW}\n"
    new += section("mask", mask) + section("absence", absence) + "\n"
    head, graphs = text.split("[graphs", 1)
    partial = manifest.with_suffix(".tmp")
    partial.write_text(f"{head}{new}[graphs{graphs}")
    os.replace(partial, manifest)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engram", type=Path, required=True, help="the engram program")
    parser.add_argument("--bundle", type=Path, required=True, help="folder of the bundle")
    parser.add_argument("--work", type=Path, required=True, help="where measurements are kept")
    parser.add_argument("--anatomies", type=int, default=100)
    args = parser.parse_args()
    rows = gather(args)
    fitted = {}
    for name, drawn in (("mask", True), ("absence", False)):
        part = [row for row in rows if (row["pixels"] > 0) == drawn]
        x = signals(part)
        y = np.array([row["dice"] if drawn else row["truth_pixels"] == 0 for row in part], float)
        anatomies = np.array([row["anatomy"] for row in part])
        predicted = held_out(x, y, anatomies)
        rank = spearmanr(predicted, y)[0]
        error = np.abs(predicted - y).mean()
        print(
            f"{name}: {len(y)} slices and labels, mean {y.mean():.3f}, predicted "
            f"{predicted.mean():.3f}, mean error {error:.3f}, rank correlation {rank:.3f}"
        )
        fitted[name] = fit(x, y)
    write(args.bundle / "bundle.toml", fitted["mask"], fitted["absence"])


if __name__ == "__main__":
    main()
