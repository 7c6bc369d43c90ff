"""Draws training episodes from the cache, on the device that trains.

An episode batch holds `groups` anatomies of twelve slices each. Every slice is a target in turn:
its exemplars are slices of other patients, its recent memories slices of its own patient.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from engram_train.anatomy import MAX_REGIONS, MAX_TASKS
from engram_train.cache import NEIGHBOURS, PATIENTS, regions_of
from engram_train.model import IMAGE_SIZE

SLICES = 12
EXEMPLAR_TIME = 6
LEAST = 0.006
LITTLE = 0.03


class Cache:
    """The anatomies of a cache folder, as tensors on the device; of several workers each takes its
    part of the shards. It holds `capacity` anatomies: when it is full, the oldest make room.
    """

    def __init__(
        self,
        folder: Path,
        capacity: int = 8000,
        device: torch.device | str = "cpu",
        part: int = 0,
        parts: int = 1,
    ):
        self.folder, self.part, self.parts, self.capacity = folder, part, parts, capacity
        place = {"device": device, "dtype": torch.uint8}
        shape = (capacity, PATIENTS, NEIGHBOURS, IMAGE_SIZE, IMAGE_SIZE)
        self.images, self.regions = torch.empty(shape, **place), torch.empty(shape, **place)
        self.tasks = torch.zeros(
            (capacity, MAX_TASKS, MAX_REGIONS), dtype=torch.bool, device=device
        )
        self.read = 0  # anatomies, those overwritten since included
        self.known: set[str] = set()
        self.refresh()

    def refresh(self) -> None:
        """Takes in shards written since."""
        shards = [path for path in self.folder.glob("shard-*.npz") if path.stem[6:].isdigit()]
        for path in sorted(shards)[self.part :: self.parts]:
            if path.name not in self.known:
                self.known.add(path.name)
                with np.load(path) as file:
                    self.add(file["images"], file["regions"], file["tasks"])

    def add(self, images: np.ndarray, regions: np.ndarray, tasks: np.ndarray) -> None:
        for image, region, labels in zip(images, regions, regions_of(tasks), strict=True):
            place = self.read % self.capacity
            self.images[place].copy_(torch.from_numpy(image))
            self.regions[place].copy_(torch.from_numpy(region))
            self.tasks[place].copy_(torch.from_numpy(labels))
            self.read += 1

    def __len__(self) -> int:
        return min(self.read, self.capacity)


@dataclass
class Batch:
    """G groups of twelve slices, flattened to G*12 in `images` and `masks`."""

    images: Tensor  # float [G*12, 3, S, S], 0..1
    masks: Tensor  # float [G*12, 1, S, S], 0 or 1
    patients: np.ndarray  # int [12]: the same composition in all groups
    places: np.ndarray  # int [12]: slice number within the patient


def compose(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Patient and place of each of the twelve slices; patient 0 comes first, with 1 to 3 slices."""
    own = np.sort(rng.choice(NEIGHBOURS, rng.integers(1, NEIGHBOURS + 1), replace=False))
    rest = rng.choice((PATIENTS - 1) * NEIGHBOURS, SLICES - len(own), replace=False) + NEIGHBOURS
    slices = np.concatenate([own, np.sort(rest)])
    return slices // NEIGHBOURS, slices % NEIGHBOURS


def draw(
    cache: Cache, groups: int, random: torch.Generator, patients: np.ndarray, places: np.ndarray
) -> Batch:
    """A batch of the composition given. Of twice as many anatomies those are left out, by chance,
    whose labels are hardly seen: labels of a few pixels teach little.
    """
    device = cache.images.device
    more = {"generator": random, "device": device}
    pick = torch.randint(len(cache), (2 * groups, 1), **more)
    order = torch.rand((2 * groups, PATIENTS), **more).argsort(1)
    patient = order[:, torch.from_numpy(patients).to(device)]
    place = torch.from_numpy(places).to(device).expand(2 * groups, -1)
    regions = cache.regions[pick, patient, place]  # [2G, 12, S, S]

    tasks = cache.tasks[pick[:, 0]]  # [2G, T, R]
    area = areas(regions, tasks)
    weight = torch.where(area > LEAST, area / (area + LITTLE), 0.0)
    weight[:, 0] *= 1.5  # the label that a zoomed anatomy is zoomed at
    dull = weight.amax(1) < torch.rand(2 * groups, **more) * 0.7
    chosen = dull.int().argsort(stable=True)[:groups]
    pick, patient, place, regions = pick[chosen], patient[chosen], place[chosen], regions[chosen]

    weight = weight[chosen] + 1e-9 * tasks[chosen].any(2)
    bits = choose_label(tasks[chosen], weight, random)
    masks = bits[:, None].expand(-1, SLICES, -1).reshape(groups * SLICES, -1)
    masks = masks.gather(1, regions.reshape(groups * SLICES, -1).long())
    masks = masks.reshape(regions.shape).float()
    images = cache.images[pick, patient, place].float() / 255
    images, masks = turn(images, masks, random)
    images = disturb(images, random)
    images = images.reshape(-1, 1, *images.shape[2:]).expand(-1, 3, -1, -1)
    return Batch(images, masks.reshape(-1, 1, *masks.shape[2:]), patients, places)


def areas(regions: Tensor, tasks: Tensor) -> Tensor:
    """Share of the slices [g,12,S,S] that each label [g,T,R] covers, by every second pixel."""
    seen = regions[..., ::2, ::2].flatten(1).long()
    share = torch.zeros(len(regions), MAX_REGIONS, device=regions.device)
    share.scatter_add_(1, seen, torch.full_like(seen, 1, dtype=torch.float32))
    return (tasks * (share / seen.shape[1])[:, None]).sum(2)


def choose_label(tasks: Tensor, weight: Tensor, random: torch.Generator) -> Tensor:
    """Regions of one label of each group, now and then of two together: bool [g,R]."""
    one, other = (
        torch.multinomial(w, 1, generator=random)[:, 0] for w in (weight, tasks.any(2).float())
    )
    groups = torch.arange(len(tasks), device=tasks.device)
    both = torch.rand((len(tasks), 1), generator=random, device=tasks.device) < 0.06
    return tasks[groups, one] | (tasks[groups, other] & both)


def turn(images: Tensor, masks: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Each group [g,n,S,S] turned and mirrored in one of the eight ways."""
    flips = torch.rand((3, len(images), 1, 1, 1), generator=random, device=images.device) < 0.5
    for flip, moved in zip(flips, ((-1,), (-2,), None), strict=True):
        for_each = [
            x.transpose(-1, -2) if moved is None else x.flip(moved) for x in (images, masks)
        ]
        images, masks = (
            torch.where(flip, new, old) for new, old in zip(for_each, (images, masks), strict=True)
        )
    return images, masks


def disturb(images: Tensor, random: torch.Generator) -> Tensor:
    """Small changes of window, gamma and noise, each slice on its own: [g,n,S,S] in 0..1."""
    more = {"generator": random, "device": images.device}
    groups, n = images.shape[:2]
    inverted = torch.rand((groups, 1, 1, 1), **more) < 0.08
    images = torch.where(inverted, 1 - images, images)
    gain = torch.exp(torch.randn((groups, n, 1, 1), **more) * 0.10)
    lift = torch.randn((groups, n, 1, 1), **more) * 0.02
    gamma = torch.exp(torch.randn((groups, n, 1, 1), **more) * 0.10)
    out = (images * gain + lift * (images > 0)).clamp(0, 1) ** gamma
    noisy = torch.rand((groups, 1, 1, 1), **more) < 0.3
    strength = torch.rand((groups, 1, 1, 1), **more) * 0.05 * noisy
    return (out + torch.randn(out.shape, **more) * strength).clamp(0, 1)


def choose_memories(
    batch: Batch, count: int, rng: np.random.Generator, targets: np.ndarray, recent: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Which of the twelve slices each target remembers, and at which time index.

    Returns source and time, int [targets, count]; a source of 12 + i is the recent memory of slice
    i. With `recent`, one or two memories are neighbours of the target. At times exemplars are
    mostly slices of the target's own level, as retrieval would choose them.
    """
    source = np.empty((len(targets), count), np.int64)
    time = np.full((len(targets), count), EXEMPLAR_TIME, np.int64)
    pace = rng.choice([1, 2, 3], p=[0.7, 0.2, 0.1])
    level = rng.choice([0.0, 1.5], p=[0.5, 0.5])
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
        alike = np.exp(-level * np.abs(batch.places[others] - batch.places[target]))
        source[row, used:] = rng.choice(
            others, wanted, replace=wanted > len(others), p=alike / alike.sum()
        )
    return source, time


def corrupt(masks: Tensor, random: torch.Generator) -> Tensor:
    """Imperfect soft masks as an earlier prediction would be: [n,1,S,S] -> the same."""
    more = {"generator": random, "device": masks.device}
    n, _, side, _ = masks.shape
    order = torch.randperm(n, **more)
    soft, noise = torch.empty_like(masks), torch.empty_like(masks)
    for kernel, part in zip((3, 5, 9, 15), order.chunk(4), strict=False):
        soft[part] = F.avg_pool2d(masks[part], kernel, 1, kernel // 2)
    for grain, part in zip((4, 8, 16), order.roll(1).chunk(3), strict=False):
        grains = torch.randn((len(part), 1, grain, grain), **more)
        noise[part] = F.interpolate(grains, size=(side, side), mode="bicubic", align_corners=False)
    one = (n, 1, 1, 1)
    shift = torch.randn(one, **more) * 0.12 + noise * torch.rand(one, **more) * 0.3
    steepness = 6 + 24 * torch.rand(one, **more)
    result = torch.sigmoid((soft + shift * (soft > 0.02) - 0.5) * steepness)
    chance = torch.rand(one, **more)
    axis = torch.arange(side, device=masks.device)
    middle = torch.randint(side, (2, n, 1, 1, 1), **more)
    width = torch.randint(10, 50, one, **more)
    cut = ((axis[:, None] - middle[0]).abs() < width) & ((axis - middle[1]).abs() < width)
    lost = (chance < 0.06) | ((chance < 0.2) & cut)
    return torch.where(lost, 0.0, result)
