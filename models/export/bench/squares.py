"""Between slices and the squares that the graphs take: windows, resampling, boxes."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import ndimage

Array = np.ndarray
TRIM = np.float32(0.01)


def sigmoid(x: Array) -> Array:
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-x))


def window(voxels: Array, percentiles: list[float]) -> Array:
    """Voxels between two percentiles of the volume, as 0..1."""
    flat = voxels[np.isfinite(voxels)]
    places = [percent / 100 * (flat.size - 1) for percent in percentiles]
    ranks = [(int(place), min(int(place) + 1, flat.size - 1)) for place in places]
    flat.partition(sorted({rank for pair in ranks for rank in pair}))
    lower, upper = (
        np.float32(float(flat[a]) + (float(flat[b]) - float(flat[a])) * (place % 1))
        for place, (a, b) in zip(places, ranks, strict=True)
    )
    upper = max(upper, lower + np.finfo(np.float32).eps * max(abs(lower), np.float32(1)))
    unit = voxels - lower
    unit /= upper - lower
    return np.clip(unit, 0, 1, out=unit)


def normalised(weights: Array, inside: Array) -> Array:
    weights[~inside] = 0
    sums = weights.sum(1, keepdims=True)
    return (weights / np.where(sums > 0, sums, 1)).astype(np.float32)


def filtered(outputs: int, inputs: int, scale: float, offset: float) -> Array:
    """[outputs, inputs]: a triangle as wide as an output when reducing, linear when enlarging."""
    support = max(1 / scale, 1.0)
    edge = (np.arange(outputs) + 0.5 - offset) / scale
    away = np.abs(np.arange(inputs)[None] - (edge - 0.5)[:, None])
    return normalised(np.maximum(1 - away / support, 0), (edge >= 0) & (edge < inputs))


@dataclass
class Axis:
    """A resampling matrix without its empty rows and columns."""

    outputs: slice
    inputs: slice
    weights: Array

    @classmethod
    def of(cls, matrix: Array) -> "Axis":
        used = [np.flatnonzero(matrix.any(axis)) for axis in (1, 0)]
        outputs, inputs = (slice(u[0], u[-1] + 1) if u.size else slice(0, 0) for u in used)
        return cls(outputs, inputs, np.ascontiguousarray(matrix[outputs, inputs]))


def resample(images: Array, down: Axis, across: Axis) -> Array:
    """[n, rows, columns], what the axes reach."""
    part = images[:, down.inputs, across.inputs]
    count, rows, columns = part.shape
    lines = part.reshape(-1, columns) @ across.weights.T
    return np.matmul(down.weights, lines.reshape(count, rows, -1))


@dataclass
class Linear:
    """Linear interpolation along an axis, the ends repeated: two inputs for every output."""

    outputs: slice
    low: Array
    high: Array
    weights: tuple[Array, Array]

    @classmethod
    def of(cls, outputs: int, inputs: int, scale: float, offset: float) -> "Linear":
        """Output i reads (i + 0.5) * scale + offset; one past the ends reads nothing."""
        edge = (np.arange(outputs) + 0.5) * scale + offset
        used = np.flatnonzero((edge >= 0) & (edge < inputs))
        center = np.clip(edge[used] - 0.5, 0, inputs - 1)
        low = center.astype(int)
        weights = (low + 1 - center).astype(np.float32), (center - low).astype(np.float32)
        outputs = slice(used[0], used[-1] + 1) if used.size else slice(0, 0)
        return cls(outputs, low, np.minimum(low + 1, inputs - 1), weights)


def interpolate(maps: Array, down: Linear, across: Linear) -> Array:
    """[n, rows, columns], what the axes reach; map by map, which stay in the cache so."""
    found = np.empty((len(maps), len(down.low), len(across.low)), np.float32)
    low, high = (weights[:, None] for weights in down.weights)
    for out, map_ in zip(found, maps, strict=True):
        lines = map_[:, across.low]
        lines *= across.weights[0]
        lines += map_[:, across.high] * across.weights[1]
        np.take(lines, down.low, 0, out=out, mode="clip")
        out *= low
        lower = lines[down.high]
        lower *= high
        out += lower
    return found


@dataclass(frozen=True)
class Letterbox:
    """A square of `size` pixels over a square part of slices of `native` rows and columns."""

    native: tuple[int, int]
    size: int
    top: float
    left: float
    side: float

    @classmethod
    def whole(cls, native: tuple[int, int], size: int) -> "Letterbox":
        side = max(native)
        return cls(native, size, (native[0] - side) / 2, (native[1] - side) / 2, side)

    @cached_property
    def forward(self) -> tuple[Axis, Axis]:
        scale = self.size / self.side
        starts = (self.top, self.left)
        return tuple(
            Axis.of(filtered(self.size, length, scale, -start * scale))
            for length, start in zip(self.native, starts, strict=True)
        )

    def apply(self, slices: Array) -> Array:
        """[n, size, size]; 0 outside of the slices."""
        down, across = self.forward
        found = resample(slices, down, across)
        if found.shape[1:] == (self.size, self.size):
            return found
        squares = np.zeros((len(slices), self.size, self.size), np.float32)
        squares[:, down.outputs, across.outputs] = found
        return squares

    def restore(self, squares: Array) -> tuple[Array, slice, slice]:
        """The part of the slices that squares of any size show, and where that is."""
        inputs = squares.shape[-1]
        scale = inputs / self.side
        down, across = (
            Linear.of(length, inputs, scale, -start * scale)
            for length, start in zip(self.native, (self.top, self.left), strict=True)
        )
        return interpolate(squares, down, across), down.outputs, across.outputs


def reduce(maps: Array, side: int) -> Array:
    return Letterbox.whole(maps.shape[1:], side).apply(maps)


def enlarge(maps: Array, side: int) -> Array:
    """[n, m, m] as [n, side, side], bilinearly."""
    if maps.shape[1:] == (side, side):
        return maps
    axis = Linear.of(side, maps.shape[1], maps.shape[1] / side, 0)
    return interpolate(maps, axis, axis)


def box(mask: Array) -> tuple[slice, slice]:
    """Rows and columns of `[n, rows, columns]` that hold anything; there is something."""
    flat = mask.any(0)
    used = (np.flatnonzero(flat.any(axis)) for axis in (1, 0))
    return tuple(slice(u[0], u[-1] + 1) for u in used)


def components(mask: Array, share: float) -> Array:
    """A mask without components below a share of the largest one's voxels."""
    if not mask.any():
        return mask
    rows, columns = box(mask)
    labels, count = ndimage.label(mask[:, rows, columns])
    if count == 1:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    kept = np.zeros_like(mask)
    kept[:, rows, columns] = (sizes >= max(share * sizes.max(), 1))[labels]
    return kept


def trimmed(profile: Array) -> slice:
    """What a profile covers, without the outermost specks."""
    spare = profile.sum(dtype=np.float32) * TRIM
    first = int((np.cumsum(profile) > spare).argmax())
    return slice(first, len(profile) - int((np.cumsum(profile[::-1]) > spare).argmax()))


def square_around(
    rows: slice, columns: slice, native: tuple[int, int], size: int, memory: dict
) -> Letterbox | None:
    """A closer look at a box, where that is much smaller than the slice."""
    side = max(rows.stop - rows.start, columns.stop - columns.start)
    side *= 1 + 2 * memory["crop_margin"]
    if side > max(native) * memory["crop_max_extent"]:
        return None
    top, left = ((axis.start + axis.stop - side) / 2 for axis in (rows, columns))
    return Letterbox(native, size, top, left, side)
