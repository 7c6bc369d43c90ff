"""Fills a folder with synthetic tasks: shards of anatomies x patients x neighbouring slices.

A shard is an .npz of
  images  uint8  [A, P, Z, S, S]   grey, windowed to 0..255
  regions uint8  [A, P, Z, S, S]
  tasks   uint64 [A, T]            bit r set: region r belongs to the label; 0 = no task
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np

from engram_train.anatomy import (
    MAX_REGIONS,
    MAX_TASKS,
    Anatomy,
    Enlarger,
    Instance,
    View,
    make_anatomy,
    make_instance,
)
from engram_train.appearance import (
    Textures,
    field_of_view,
    make_protocol,
    other_patient,
    paint,
)  # fmt: skip
from engram_train.model import IMAGE_SIZE

PATIENTS = 6
NEIGHBOURS = 3
SHARD = 16


def regions_of(tasks: np.ndarray) -> np.ndarray:
    """Labels as bits [...] -> the regions that belong to them, bool [..., MAX_REGIONS]."""
    bits = np.arange(MAX_REGIONS, dtype=np.uint64)
    return (tasks[..., None] >> bits & np.uint64(1)).astype(bool)


def task_mask(regions: np.ndarray, bits: int) -> np.ndarray:
    """Region maps -> bool maps of one label."""
    return regions_of(np.asarray(bits, np.uint64))[regions]


def level_of(instance: Instance, view: View, bits: int, rng, small: Enlarger) -> float:
    """A z at which the label is seen, the likelier the larger it is there."""
    levels = rng.normal(size=6) * 0.35
    area = [task_mask(instance.regions(z, view, small.size, small), bits).sum() for z in levels]
    weight = np.sqrt(area) + 0.01
    return float(rng.choice(levels, p=weight / weight.sum()))


def zoomed(instance: Instance, z: float, view: View, bits: int, rng, small: Enlarger) -> View:
    """A square window around a label with the runtime's margin, roughly."""
    mask = task_mask(instance.regions(z, view, small.size, small), bits)
    if mask.sum() < 3:
        return View(view.x + rng.normal() * 0.1, view.y + rng.normal() * 0.1, view.half * 0.5)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    unit = 2 * view.half / small.size
    side = max(rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1) * unit
    side *= 1 + 2 * rng.uniform(0.3, 0.7)
    x = view.x - view.half + (columns[0] + columns[-1] + 1) / 2 * unit + rng.normal() * 0.04 * side
    y = view.y - view.half + (rows[0] + rows[-1] + 1) / 2 * unit + rng.normal() * 0.04 * side
    return View(x, y, max(side / 2, 0.06))


def choose_focus(anatomy: Anatomy, kind: str, rng) -> int:
    """The label, or the labels of one organ together, that the view is chosen for."""
    if kind == "zoom" and len(anatomy.groups) and rng.random() < 0.6:
        return int(rng.choice(anatomy.groups))
    return int(rng.choice(anatomy.tasks))


def one(seed: int, textures: Textures, large: Enlarger, small: Enlarger):
    """images, regions [P,Z,S,S] and tasks [T] of one random anatomy."""
    rng = np.random.default_rng(seed)
    size = large.size
    while True:
        anatomy = make_anatomy(rng)
        protocol = make_protocol(anatomy, rng)
        kind = rng.choice(["full", "field", "zoom"], p=[0.35, 0.15, 0.50])
        half = rng.uniform(0.85, 1.2)
        view = View(rng.normal() * 0.05, rng.normal() * 0.05, half)
        if kind == "field":
            half = rng.uniform(0.45, 0.8)
            view = View(rng.normal() * 0.2, rng.normal() * 0.2, half)
        focus = choose_focus(anatomy, kind, rng)
        z0 = level_of(make_instance(anatomy, rng), view, focus, rng, small)
        # At times so far apart that some patients show the slice beyond an organ's end.
        spread = rng.choice([0.005, 0.02, 0.06, 0.16, 0.3], p=[0.2, 0.25, 0.25, 0.2, 0.1])
        # Slices of a patient lie close, or so far apart that they reach beyond an organ's ends.
        step = rng.choice([rng.uniform(0.02, 0.12), rng.uniform(0.12, 0.4)], p=[0.6, 0.4])
        stature = rng.choice([0.05, 0.12, 0.25], p=[0.5, 0.3, 0.2])
        images = np.empty((PATIENTS, NEIGHBOURS, size, size), np.uint8)
        regions = np.empty_like(images)
        fan = field_of_view(size, rng, protocol.modality) if kind != "zoom" else None
        for patient in range(PATIENTS):
            instance = make_instance(anatomy, rng)
            z = z0 + rng.normal() * spread
            own = View(
                view.x + rng.normal() * 0.03, view.y + rng.normal() * 0.03,
                view.half * float(np.exp(rng.normal() * stature)),
            )  # fmt: skip
            if kind == "zoom":
                own = zoomed(instance, z, own, focus, rng, small)
            for k in range(NEIGHBOURS):
                regions[patient, k] = instance.regions(z + (k - 1) * step, own, size, large)
            mine = other_patient(protocol, rng)
            images[patient] = paint(regions[patient], anatomy, mine, rng, textures)
            if fan is not None:
                images[patient][:, ~fan] = 0
                if rng.random() < 0.8:
                    regions[patient][:, ~fan] = 0
        tasks = np.zeros(MAX_TASKS, np.uint64)
        kept = []
        for bits in anatomy.tasks:
            area = task_mask(regions, bits).mean(axis=(2, 3))
            if (area > 0.002).any(1).sum() >= PATIENTS // 2 and area.mean() < 0.6:
                kept.append(bits)
        if kind == "zoom" and focus in [int(b) for b in kept]:
            kept = [np.uint64(focus)] + [b for b in kept if int(b) != focus]
        if kept:
            tasks[: len(kept)] = kept
            return images, regions, tasks


def write(folder: Path, first: int, batch: list[tuple]) -> None:
    """A shard of the anatomies `batch`, as `one` makes them, of the seeds from `first` on."""
    path = shard(folder, first)
    images, regions, tasks = (np.stack(column) for column in zip(*batch, strict=True))
    partial = path.with_suffix(".tmp.npz")
    np.savez(partial, images=images, regions=regions, tasks=tasks)
    os.replace(partial, path)


def shard(folder: Path, first: int) -> Path:
    return folder / f"shard-{first:07d}.npz"


def fill(folder: Path, seeds: range) -> None:
    """Writes the shards whose first seeds lie in `seeds`; those already there are left."""
    folder.mkdir(parents=True, exist_ok=True)
    textures = Textures(np.random.default_rng(seeds.start))
    large, small = Enlarger(IMAGE_SIZE), Enlarger(48)
    for first in range(seeds.start, seeds.stop, SHARD):
        path = shard(folder, first)
        if path.exists():
            continue
        start = time.time()
        batch = [one(seed, textures, large, small) for seed in range(first, first + SHARD)]
        write(folder, first, batch)
        print(f"{path.name} {time.time() - start:.1f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--count", type=int, default=2400, help="anatomies")
    args = parser.parse_args()
    fill(args.cache, range(args.first, args.first + args.count))


if __name__ == "__main__":
    main()
