"""Shards of tasks from a real unlabelled volume: supervoxels as labels, deformations as patients.

After SSL-ALPNet (Ouyang et al., arXiv 2007.09886). The tasks have the form of `engram_train.cache`
and may lie in the same folder; the volume must be one whose licence lets the weights ship. The
default is the ICBM 2009a template, an average of 152 heads, out of the package nilearn.
"""

import argparse
import importlib.resources
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
from scipy import ndimage
from skimage.segmentation import slic

from engram_train.anatomy import MAX_REGIONS, MAX_TASKS, Rng, Waves, rotation
from engram_train.appearance import Scan, smooth_field
from engram_train.cache import NEIGHBOURS, PATIENTS, SHARD, task_mask, write
from engram_train.model import IMAGE_SIZE

Array = np.ndarray
UNIT = 100.0  # mm of a unit of the world
FINENESS = (150, 500, 1500, 4000)  # supervoxels of the volume
TEMPLATE = "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"
EMPTY = 0.08  # mean grey, of the brightest, under which a supervoxel is background


@dataclass
class Source:
    """A volume and its supervoxels; 0 is background."""

    grey: Array  # float32 [z, y, x], 0..1
    spacing: Array  # mm [3]
    labels: list[Array]  # int32, at half the resolution, one for each fineness

    @classmethod
    def read(cls, path: Path) -> "Source":
        image = nibabel.as_closest_canonical(nibabel.load(path))
        grey = np.asarray(image.dataobj, np.float32).T
        low, high = np.percentile(grey, [0.5, 99.5])
        grey = np.clip((grey - low) / (high - low), 0, 1)
        coarse = ndimage.gaussian_filter(grey, 1.0)[::2, ::2, ::2]
        labels = []
        for count in FINENESS:
            found = slic(coarse, count, compactness=0.1, channel_axis=None, start_label=1)
            mean = ndimage.mean(coarse, found, np.arange(1, found.max() + 1))
            found = np.where(np.r_[0.0, mean][found] > EMPTY, found, 0).astype(np.int32)
            labels.append(found)
        return cls(grey, np.array(image.header.get_zooms()[:3], float)[::-1], labels)


@dataclass
class Tones:
    """How grey is shown: a curve through knots; monotone at times, else another contrast."""

    knots: Array

    @classmethod
    def random(cls, rng: Rng) -> "Tones":
        knots = rng.uniform(0, 1, 7)
        return cls(np.sort(knots) if rng.random() < 0.5 else np.r_[0.0, knots[1:]])

    def disturbed(self, rng: Rng) -> "Tones":
        spread = rng.choice([0.02, 0.05, 0.10])
        return Tones(self.knots + rng.normal(size=len(self.knots)) * spread)

    def __call__(self, grey: Array) -> Array:
        return np.interp(grey, np.linspace(0, 1, len(self.knots)), self.knots)


@dataclass
class Patient:
    """The volume deformed as another body would be."""

    frame: Array  # [3, 3]: world -> world of the volume
    shift: Array
    warps: list[tuple[Waves, float]]

    @classmethod
    def random(cls, rng: Rng, s: float) -> "Patient":
        frame = np.diag(np.exp(rng.normal(size=3) * 0.08 * s))
        frame = frame @ rotation(rng.normal(size=3) * 0.12 * s)
        warps = [
            (Waves.random(rng, 3, 6, 1.5, 5.0), float(rng.uniform(0.02, 0.06)) * s),
            (Waves.random(rng, 3, 6, 6.0, 15.0), float(rng.uniform(0.0, 0.02)) * s),
        ]
        return cls(frame, rng.normal(size=3) * 0.03 * s, warps)

    def places(self, points: Array) -> Array:
        """World points [n,n,3] (x, y, z) -> world points of the volume."""
        moved = points @ self.frame.T + self.shift
        for waves, size in self.warps:
            moved = moved + size * np.moveaxis(waves(points), 0, -1)
        return moved


def plane(z: float, half: float, size: int) -> Array:
    """A square slice of the world around its origin: [size,size,3] as x, y, z."""
    axis = ((np.arange(size) + 0.5) / size * 2 - 1) * half
    points = np.empty((size, size, 3))
    points[..., 0], points[..., 1], points[..., 2] = axis[None, :], axis[:, None], z
    return points


def expose(slices: Array, tones: Tones, pixel: float, rng: Rng) -> Array:
    """Grey slices [n,S,S] of one patient as a scanner would show them: uint8."""
    size = slices.shape[-1]
    scan = Scan(size, pixel)
    bias = np.exp(rng.uniform(0, 0.4) * smooth_field(rng, scan.size))
    strength = rng.gamma(1.2, 0.010)
    blur = rng.uniform(0.0, 0.9)
    images = np.empty(slices.shape, np.float32)
    for index, grey in enumerate(slices):
        seen = ndimage.gaussian_filter(tones(grey).astype(np.float32), blur)
        seen = scan.resolve(seen) * bias
        noise = rng.normal(size=(2, *seen.shape)) * strength
        images[index] = scan.show(np.hypot(seen + noise[0], noise[1]))
    low, high = np.percentile(images, [0.5, 99.5])
    return (np.clip((images - low) / (high - low + 1e-6), 0, 1) * 255 + 0.5).astype(np.uint8)


def number(found: Array) -> Array:
    """Supervoxels of all slices -> regions: the largest keep a number, the rest is background."""
    kinds, where, areas = np.unique(found, return_inverse=True, return_counts=True)
    areas[kinds == 0] = 0
    largest = [i for i in np.argsort(-areas) if areas[i] > 0][: MAX_REGIONS - 1]
    numbers = np.zeros(len(kinds), np.uint8)
    numbers[largest] = np.arange(1, len(largest) + 1)
    return numbers[where].reshape(found.shape)


def smoothed(regions: Array, sigma: float) -> Array:
    """Regions [n,S,S] without the steps of voxels: each place goes to what is most around it."""
    out = np.empty_like(regions)
    for index, slice_regions in enumerate(regions):
        kinds = np.unique(slice_regions)
        own = (slice_regions == kinds[:, None, None]).astype(np.float32)
        shares = ndimage.gaussian_filter(own, (0, sigma, sigma))
        out[index] = kinds[np.argmax(shares, axis=0)]
    return out


def choose_tasks(regions: Array, rng: Rng) -> Array:
    """Labels of one region, or of two or three that touch: uint64 [MAX_TASKS]."""
    beside = set()
    for turned in (regions, regions.swapaxes(-1, -2)):
        left, right = turned[..., :-1], turned[..., 1:]
        pairs = np.stack([left, right], -1)[left != right]
        beside |= {tuple(pair) for pair in np.unique(pairs, axis=0).tolist() if 0 not in pair}
    around: dict[int, set[int]] = {}
    for a, b in beside:
        around.setdefault(a, set()).add(b)
        around.setdefault(b, set()).add(a)
    found: list[int] = []
    for first in rng.permutation(np.arange(1, regions.max() + 1)):
        members = {int(first)}
        for _ in range(int(rng.choice([0, 1, 2], p=[0.5, 0.3, 0.2]))):
            if touching := sorted(set().union(*(around.get(m, set()) for m in members)) - members):
                members.add(int(rng.choice(touching)))
        bits = sum(1 << member for member in members)
        area = task_mask(regions, bits).mean(axis=(2, 3))
        if (area > 0.002).any(1).sum() >= PATIENTS // 2 and area.mean() < 0.6:
            found.append(bits)
    tasks = np.zeros(MAX_TASKS, np.uint64)
    found = list(dict.fromkeys(found))[:MAX_TASKS]
    tasks[: len(found)] = found
    return tasks


def one(seed: int, source: Source) -> tuple[Array, Array, Array]:
    """images, regions [P,Z,S,S] and tasks [T] of one part of the volume, seen in one way."""
    rng = np.random.default_rng([seed, 1])
    scale = UNIT / source.spacing  # voxels a unit, z y x
    middle = (np.array(source.grey.shape) - 1) / 2
    while True:
        labels = source.labels[rng.integers(len(source.labels))]
        axes = rng.permutation(3)
        turn = np.eye(3)[axes] @ rotation(rng.normal(size=3) * 0.15)
        whole = rng.random() < 0.4
        half = rng.uniform(0.9, 1.3) if whole else rng.uniform(0.2, 0.7)
        centre = rng.normal(size=3) * (0.15 if whole else 0.35)
        s, tones = rng.uniform(0.4, 1.3), Tones.random(rng)
        pixel = float(rng.uniform(1.2, 3.0)) if rng.random() < 0.3 else 1.0
        step = rng.choice([rng.uniform(0.01, 0.06), rng.uniform(0.06, 0.25)], p=[0.6, 0.4])
        images = np.empty((PATIENTS, NEIGHBOURS, IMAGE_SIZE, IMAGE_SIZE), np.uint8)
        found = np.empty(images.shape, np.int32)
        for index in range(PATIENTS):
            patient = Patient.random(rng, s)
            own = half * float(np.exp(rng.normal() * 0.08))
            z = rng.normal() * rng.choice([0.01, 0.04, 0.1])
            grey = np.empty(images.shape[1:], np.float32)
            for k in range(NEIGHBOURS):
                points = plane(z + (k - 1) * step, own, IMAGE_SIZE)
                world = patient.places(points) @ turn.T + centre
                voxels = [world[..., 2 - axis] * scale[axis] + middle[axis] for axis in range(3)]
                grey[k] = ndimage.map_coordinates(source.grey, voxels, order=1)
                halves = [place / 2 for place in voxels]
                found[index, k] = ndimage.map_coordinates(labels, halves, order=0)
            images[index] = expose(grey, tones.disturbed(rng), pixel, rng)
        regions = number(found)
        voxel = 2 * source.spacing[0] / UNIT * IMAGE_SIZE / (2 * half)  # pixels
        regions = np.stack([smoothed(own, 0.7 * voxel) for own in regions])
        tasks = choose_tasks(regions, rng)
        if tasks[0]:
            return images, regions, tasks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image", type=Path, help="NIfTI volume instead of the template")
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--first", type=int, default=5000000, help="first seed")
    parser.add_argument("--count", type=int, default=800, help="anatomies")
    args = parser.parse_args()
    args.cache.mkdir(parents=True, exist_ok=True)
    template = importlib.resources.files("nilearn.datasets.data") / TEMPLATE
    source = Source.read(args.image or Path(str(template)))
    for first in range(args.first, args.first + args.count, SHARD):
        batch = [one(seed, source) for seed in range(first, first + SHARD)]
        write(args.cache, first, batch)
        print(f"anatomies from {first}", flush=True)


if __name__ == "__main__":
    main()
