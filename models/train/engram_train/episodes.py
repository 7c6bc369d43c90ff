"""Draws training episodes from the cache.

An episode batch holds `groups` anatomies of six slices each. Every slice is a target in turn: its
exemplars are slices of other patients, its recent memories slices of its own patient.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from engram_train.cache import NEIGHBOURS, PATIENTS, task_mask

SLICES = 6
EXEMPLAR_TIME = 6
LEAST = 0.006
LITTLE = 0.03


class Cache:
    """The shards of a cache folder, kept in memory; of several workers each takes its part."""

    def __init__(self, folder: Path, part: int = 0, parts: int = 1):
        self.folder, self.part, self.parts = folder, part, parts
        self.shards: list[dict] = []
        self.known: set[Path] = set()
        self.refresh()

    def refresh(self) -> None:
        """Takes in shards written since."""
        paths = [p for p in sorted(self.folder.glob("shard-*.npz")) if ".tmp" not in p.name]
        for path in paths[self.part :: self.parts]:
            if path not in self.known:
                with np.load(path) as file:
                    self.shards.append({key: file[key] for key in file.files})
                self.known.add(path)

    def __len__(self) -> int:
        return sum(len(shard["tasks"]) for shard in self.shards)

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """images, regions [P,Z,S,S] and tasks [T] of a random anatomy."""
        shard = self.shards[rng.integers(len(self.shards))]
        index = rng.integers(len(shard["tasks"]))
        tasks = shard["tasks"][index]
        return shard["images"][index], shard["regions"][index], tasks[tasks > 0]


@dataclass
class Batch:
    """G groups of six slices, flattened to G*6 in `images` and `masks`."""

    images: Tensor  # float [G*6, 3, S, S], 0..1
    masks: Tensor  # float [G*6, 1, S, S], 0 or 1
    patients: np.ndarray  # int [6]: the same composition in all groups
    places: np.ndarray  # int [6]: slice number within the patient


COMPOSITIONS = [
    (np.array([0, 0, 0, 1, 2, 3]), 0.35),
    (np.array([0, 0, 1, 2, 3, 4]), 0.45),
    (np.array([0, 1, 2, 3, 4, 5]), 0.20),
]


def draw(cache: Cache, groups: int, rng: np.random.Generator, common: np.random.Generator) -> Batch:
    """Workers share `common`, which decides how much work a batch is: none waits for another."""
    patients = COMPOSITIONS[common.choice(3, p=[c[1] for c in COMPOSITIONS])][0]
    places = rng.choice(NEIGHBOURS, SLICES, p=[0.25, 0.5, 0.25])
    neighbours = int((patients == 0).sum())
    places[:neighbours] = np.sort(rng.choice(NEIGHBOURS, neighbours, replace=False))
    images, masks = [], []
    while len(images) < groups:
        image, region, tasks = cache.draw(rng)
        order = rng.permutation(PATIENTS)[patients]
        image, region = image[order, places], region[order, places]
        # Labels of a few pixels teach little: half as likely at LITTLE, never below LEAST.
        area = np.array([task_mask(region, bits).mean() for bits in tasks])
        weight = np.where(area > LEAST, area / (area + LITTLE), 0)
        weight[0] *= 1.5  # the label that a zoomed anatomy is zoomed at
        if weight.max() < rng.uniform(0, 0.7):
            continue
        bits = rng.choice(tasks, p=weight / weight.sum())
        mask = task_mask(region, bits)
        if len(tasks) > 1 and rng.random() < 0.06:
            mask = mask | task_mask(region, rng.choice(tasks))
        turns, flip = rng.integers(4), rng.random() < 0.5
        image, mask = np.rot90(image, turns, (1, 2)), np.rot90(mask, turns, (1, 2))
        if flip:
            image, mask = image[:, :, ::-1], mask[:, :, ::-1]
        image = image.astype(np.float32) / 255
        if rng.random() < 0.08:
            image = 1 - image
        images.append(disturb(image, rng))
        masks.append(mask.astype(np.float32))
    image = torch.from_numpy(np.concatenate(images))[:, None].expand(-1, 3, -1, -1)
    mask = torch.from_numpy(np.concatenate(masks))[:, None]
    return Batch(image, mask, patients, places)


def disturb(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Small changes of window, gamma and noise, each slice on its own: [n,S,S] in 0..1."""
    n = len(images)
    gain = np.exp(rng.normal(size=(n, 1, 1)) * 0.10)
    lift = rng.normal(size=(n, 1, 1)) * 0.02
    gamma = np.exp(rng.normal(size=(n, 1, 1)) * 0.10)
    out = np.clip(images * gain + lift * (images > 0), 0, 1) ** gamma
    if rng.random() < 0.3:
        out = out + rng.normal(size=out.shape) * rng.uniform(0, 0.05)
    return np.clip(out, 0, 1).astype(np.float32)


def choose_memories(
    batch: Batch, count: int, rng: np.random.Generator, targets: np.ndarray, recent: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Which of the six slices each target remembers, and at which time index.

    Returns source and time, int [targets, count]; a source of 6 + i is the recent memory of slice
    i. With `recent`, one or two memories are neighbours of the target.
    """
    source = np.empty((len(targets), count), np.int64)
    time = np.full((len(targets), count), EXEMPLAR_TIME, np.int64)
    pace = rng.choice([1, 2, 3], p=[0.7, 0.2, 0.1])
    for row, target in enumerate(targets):
        others = np.flatnonzero(batch.patients != batch.patients[target])
        used = 0
        if recent:
            near = np.flatnonzero(batch.patients == batch.patients[target])
            near = near[near != target]
            near = rng.permutation(near)[: rng.integers(1, len(near) + 1)][: count - 1]
            used = len(near)
            source[row, :used] = SLICES + near
            distance = np.abs(batch.places[near] - batch.places[target]) * pace
            time[row, :used] = np.minimum(distance, EXEMPLAR_TIME) - 1
        wanted = count - used
        source[row, used:] = rng.choice(others, wanted, replace=wanted > len(others))
    return source, time


def corrupt(masks: Tensor, rng: np.random.Generator) -> Tensor:
    """Imperfect soft masks as an earlier prediction would be: [n,1,S,S] -> the same."""
    n, _, side, _ = masks.shape
    out = []
    for index in range(n):
        mask = masks[index : index + 1]
        kernel = int(rng.choice([3, 5, 9, 15]))
        soft = F.avg_pool2d(mask, kernel, 1, kernel // 2)
        grain = int(rng.choice([4, 8, 16]))
        noise = torch.from_numpy(rng.normal(size=(1, 1, grain, grain)).astype(np.float32))
        noise = F.interpolate(noise, size=(side, side), mode="bicubic", align_corners=False)
        shift = float(rng.normal()) * 0.12
        soft = soft + noise * float(rng.uniform(0.0, 0.3)) * (soft > 0.02) + shift * (soft > 0.02)
        result = torch.sigmoid((soft - 0.5) * float(rng.uniform(6, 30)))
        chance = rng.random()
        if chance < 0.06:
            result = result * 0
        elif chance < 0.2:
            cut = torch.zeros_like(result)
            y, x = rng.integers(0, side, 2)
            width = int(rng.integers(10, 50))
            cut[..., max(0, y - width) : y + width, max(0, x - width) : x + width] = 1
            result = result * (1 - cut)
        out.append(result)
    return torch.cat(out)
