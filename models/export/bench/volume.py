"""A volume as the graphs see it, and what is remembered of one."""

from collections import deque
from dataclasses import dataclass

import numpy as np
from bundle import Bundle
from squares import Letterbox, window

Array = np.ndarray
SLICES_A_CALL = 16
CACHE_BYTES = 512 << 20


def chunks(items, length: int):
    return (items[first : first + length] for first in range(0, len(items), length))


def pick(array: Array, rows: Array | list[int]) -> Array:
    """Rows of an array; those in a row without a copy."""
    rows = np.asarray(rows, int)
    if not rows.size:
        return array[:0]
    first, last = rows[0], rows[-1]
    if last - first == len(rows) - 1 and (np.diff(rows) == 1).all():
        return array[first : last + 1]
    return array[rows]


class Volume:
    """A volume as the graphs see it."""

    def __init__(self, bundle: Bundle, voxels: Array):
        self.bundle, self.count, self.native = bundle, len(voxels), voxels.shape[1:]
        self.unit = window(voxels, bundle.input["percentiles"])

    def whole(self) -> Letterbox:
        return Letterbox.whole(self.native, self.bundle.input["image_size"])

    def images(self, slices: Array, letterbox: Letterbox, spec: dict) -> Array:
        grey = letterbox.apply(pick(self.unit, slices))
        images = np.empty((len(grey), 3, letterbox.size, letterbox.size), np.float32)
        for channel, (mean, std) in enumerate(zip(spec["mean"], spec["std"], strict=True)):
            if channel and (mean, std) == (spec["mean"][0], spec["std"][0]):
                images[:, channel] = images[:, 0]
                continue
            np.subtract(grey, np.float32(mean), out=images[:, channel])
            images[:, channel] /= np.float32(std)
        return images

    def encode(self, slices: Array, letterbox: Letterbox) -> list[Array]:
        """Embedding and the two finer levels."""
        images = self.images(slices, letterbox, self.bundle.input)
        names = ["image_embed", "high_res_0", "high_res_1"]
        return self.bundle.run("image_encoder", names, {}, image=images)

    def vectors(self) -> Array:
        """Retrieval vectors at length 1."""
        spec = self.bundle.retrieval
        letterbox = Letterbox.whole(self.native, spec["image_size"])
        found = np.concatenate([
            self.bundle.run(
                "retrieval", ["cls"], {}, image=self.images(slices, letterbox, spec)
            )[0]
            for slices in chunks(np.arange(self.count), SLICES_A_CALL)
        ])  # fmt: skip
        lengths = np.linalg.norm(found, axis=1, keepdims=True)
        return found / np.where(lengths > 0, lengths, 1)


@dataclass
class Memories:
    """Memories with their pointers, `[n, M, h, h]` and `[n, dim]`, as far as they are known."""

    features: Array
    pointers: Array
    known: Array

    @classmethod
    def empty(cls, bundle: Bundle, count: int) -> "Memories":
        shape = (bundle.sizes["memory_channels"], *[bundle.sizes["memory_size"]] * 2)
        return cls(
            np.empty((count, *shape), np.float32),
            np.empty((count, bundle.pointers["dim"]), np.float32),
            np.zeros(count, bool),
        )

    def put(self, rows: Array, features: Array, pointers: Array) -> None:
        self.features[rows], self.pointers[rows], self.known[rows] = features, pointers, True

    @classmethod
    def joined(cls, parts: list["Memories"]) -> "Memories":
        fields = zip(*[(p.features, p.pointers, p.known) for p in parts], strict=True)
        return cls(*(np.concatenate(column) for column in fields))


class View:
    """A letterbox and features of slices through it: a chunk of levels and the row there."""

    def __init__(self, letterbox: Letterbox):
        self.letterbox = letterbox
        self.kept: dict[int, tuple[list[Array], int]] = {}


class Features:
    """Features of views, computed when first needed; beyond CACHE_BYTES the oldest go."""

    def __init__(self, volume: Volume):
        self.volume, self.kept = volume, deque()

    def fetch(self, view: View, slices: list[int]) -> list[Array]:
        missing = np.array(sorted(s for s in set(slices) if s not in view.kept), int)
        for some in chunks(missing, SLICES_A_CALL):
            levels = self.volume.encode(some, view.letterbox)
            view.kept |= {slice: (levels, row) for row, slice in enumerate(some.tolist())}
            self.kept.extend((view, slice) for slice in some.tolist())
        places = [view.kept[slice] for slice in slices]
        chunk, rows = places[0][0], [row for _, row in places]
        most = CACHE_BYTES // sum(level[0].nbytes for level in chunk)
        while len(self.kept) > most:
            of, oldest = self.kept.popleft()
            del of.kept[oldest]
        if all(levels is chunk for levels, _ in places):
            return [pick(level, rows) for level in chunk]
        return [np.stack([levels[i][row] for levels, row in places]) for i in range(len(chunk))]
