"""From predictions to voxels."""

from dataclasses import dataclass

import numpy as np
from bundle import Bundle
from squares import Letterbox, box, components, sigmoid, square_around, trimmed
from volume import pick

Array = np.ndarray
FIRST_WEIGHT, CLOSE_WEIGHT = 3.0, 0.6
AGREEMENT, AGREEMENT_SPREAD, LOUDEST = 1.0, 0.05, 6.0
PRESENCE = 0.5
SURE, STEPS, UNSEEN = 12.0, 10.0, -12.0


@dataclass
class Predictions:
    """Of slices, as far as they are known."""

    logits: Array
    iou: Array
    score: Array
    pointers: Array
    known: Array

    @classmethod
    def empty(cls, bundle: Bundle, count: int) -> "Predictions":
        side = bundle.sizes["mask_size"]
        return cls(
            np.empty((count, side, side), np.float32),
            np.zeros(count, np.float32),
            np.zeros(count, np.float32),
            np.empty((count, bundle.pointers["dim"]), np.float32),
            np.zeros(count, bool),
        )


@dataclass
class Belief:
    """What is believed of the slices in one view, as far as they were looked at."""

    letterbox: Letterbox
    logits: Array
    presence: Array
    known: Array

    @classmethod
    def fused(cls, letterbox: Letterbox, first: Predictions, visits: list[Predictions]) -> "Belief":
        """Each voice counts by its own guess of its IoU, as far as it believes in the object."""
        known = np.logical_or.reduce([voice.known for voice in [first, *visits]])
        logits = np.zeros(first.logits.shape, np.float32)
        voices, presence, weights = np.zeros((3, len(known)), np.float32)
        part = np.empty(logits.shape[1:], np.float32)
        for voice, share in [(first, FIRST_WEIGHT), *((visit, 1.0) for visit in visits)]:
            there = sigmoid(voice.score)
            weight = np.float32(share) * (there * np.clip(voice.iou, 0, 1) + np.float32(1e-3))
            for s in np.flatnonzero(voice.known):
                np.clip(voice.logits[s], -SURE, SURE, out=part)
                part *= weight[s]
                logits[s] += part
            voices += np.where(voice.known, np.float32(share), 0)
            presence += np.where(voice.known, np.float32(share) * there, 0)
            weights += np.where(voice.known, weight, 0)
        # In tenths; a half goes away from 0.
        logits *= (np.float32(STEPS) / np.where(known, weights, 1))[:, None, None]
        logits += np.copysign(np.float32(0.5), logits)
        np.trunc(logits, out=logits)
        logits /= np.float32(STEPS)
        return cls(letterbox, logits, presence / np.where(known, voices, 1), known)


class Found:
    """All looks at the label."""

    def __init__(self, whole: Belief, native: tuple[int, int]):
        self.whole, self.close, self.native = whole, [], native
        self.settle()

    def add(self, close: Belief) -> None:
        self.close.append(close)
        self.settle()

    def settle(self) -> None:
        """On which slices it is."""
        presence = np.where(self.whole.known, self.whole.presence, 0)
        if self.close:
            known = np.stack([close.known for close in self.close])
            sums = np.where(known, [close.presence for close in self.close], 0).sum(0)
            looks = known.sum(0)
            both = CLOSE_WEIGHT * sums / np.maximum(looks, 1) + (1 - CLOSE_WEIGHT) * presence
            presence = np.where(looks > 0, both, presence)
        sums, weights = 2 * presence, np.full(len(presence), 2.0)
        sums[1:] += presence[:-1]
        sums[:-1] += presence[1:]
        weights[1:] += 1
        weights[:-1] += 1
        self.present = self.whole.known & (sums >= PRESENCE * weights)

    def logits(self) -> Array:
        """Of the slices where it is, on the native grid."""
        slices = np.flatnonzero(self.present)
        part, rows, columns = self.whole.letterbox.restore(pick(self.whole.logits, slices))
        logits = part
        if part.shape[1:] != self.native:
            logits = np.full((len(slices), *self.native), UNSEEN, np.float32)
            logits[:, rows, columns] = part
        closer = [self.parts(close, slices) for close in self.close]
        if not any(closer):
            return logits
        top = min(rows.start for look in closer for _, rows, _ in look.values())
        bottom = max(rows.stop for look in closer for _, rows, _ in look.values())
        left = min(columns.start for look in closer for _, _, columns in look.values())
        right = max(columns.stop for look in closer for _, _, columns in look.values())
        sums, looks = np.zeros((2, bottom - top, right - left), np.float32)
        for row in range(len(slices)):
            sums[...], looks[...] = 0, 0
            for look in closer:
                if row in look:
                    part, rows, columns = look[row]
                    at = (
                        slice(rows.start - top, rows.stop - top),
                        slice(columns.start - left, columns.stop - left),
                    )
                    sums[at] += part
                    looks[at] += 1
            here = logits[row, top:bottom, left:right]
            mean = sums / np.maximum(looks, 1)
            mixed = np.float32(CLOSE_WEIGHT) * mean + np.float32(1 - CLOSE_WEIGHT) * here
            np.copyto(here, mixed, where=looks > 0)
        return logits

    @staticmethod
    def parts(close: Belief, slices: Array) -> dict:
        """By row of `slices`, what a closer look shows and where."""
        looked = np.flatnonzero(close.known[slices])
        if not looked.size:
            return {}
        found, rows, columns = close.letterbox.restore(pick(close.logits, slices[looked]))
        return {int(row): (part, rows, columns) for row, part in zip(looked, found, strict=True)}

    def closer(self, bundle: Bundle) -> Letterbox | None:
        """The square around where it was found, if that is small."""
        if not self.present.any():
            return None
        mask = np.zeros((len(self.present), *self.native), bool)
        mask[self.present] = self.logits() > 0
        if not mask.any():
            return None
        counts = np.count_nonzero(components(mask, 1.0), 0)
        rows, columns = (trimmed(counts.sum(axis).astype(np.float32)) for axis in (1, 0))
        size = bundle.input["image_size"]
        return square_around(rows, columns, self.native, size, bundle.memory)


def agreed(found: Found, unit: Array) -> Array:
    """Where the label is, after every pixel has heard the same pixel of the slices beside it, the
    more the more alike they look."""
    voxels = np.zeros(unit.shape, bool)
    present = np.flatnonzero(found.present)
    own = found.logits()
    if not (own > 0).any():
        return voxels
    # Where no slice has it, none can hear of it.
    rows, columns = box(own > 0)
    own = np.clip(own[:, rows, columns], -LOUDEST, LOUDEST)
    place = {slice: row for row, slice in enumerate(present.tolist())}
    silent = np.full(own.shape[1:], max(UNSEEN, -LOUDEST), np.float32)
    loudness: dict[int, Array] = {}  # between a slice and the next
    for slice, row in place.items():
        total, heard = np.zeros((2, *own.shape[1:]), np.float32)
        for other in (slice - 1, slice + 1):
            if not 0 <= other < len(unit):
                continue
            pair = min(slice, other)
            if pair not in loudness:
                loudness[pair] = alike(unit[pair], unit[pair + 1], rows, columns)
            total += loudness[pair]
            heard += loudness[pair] * (own[place[other]] if other in place else silent)
        loudness.pop(slice - 1, None)
        # own + weight * min(total, 1) * heard / total, of which the sign counts.
        heard *= np.float32(AGREEMENT) * np.minimum(total, 1)
        heard /= np.maximum(total, np.finfo(np.float32).tiny)
        heard[total <= np.finfo(np.float32).eps] = 0
        heard += own[row]
        voxels[slice, rows, columns] = heard > 0
    return voxels


def alike(one: Array, other: Array, rows: slice, columns: slice) -> Array:
    """How alike the 3x3 patches around pixels are, 0..1; at the rim those pixels that there are."""
    around = tuple(slice(max(part.start - 1, 0), part.stop + 1) for part in (rows, columns))
    squares = other[around] - one[around]
    squares *= squares
    for axis, part, length in zip((0, 1), (rows, columns), one.shape, strict=True):
        squares = mean_of_three(squares.swapaxes(0, axis), part, length).swapaxes(0, axis)
    squares *= np.float32(-0.5 / AGREEMENT_SPREAD**2)
    return np.exp(squares, out=squares)


def mean_of_three(map_: Array, part: slice, length: int) -> Array:
    """Of each row in `part` and those beside it; `map_` holds them all."""
    sums = map_.copy()
    sums[1:] += map_[:-1]
    sums[:-1] += map_[1:]
    counts = np.full(length, 3, np.float32)
    counts[[0, -1]] = min(length, 2)
    first = min(part.start, 1)
    sums = sums[first : first + part.stop - part.start]
    sums /= counts[part, None]
    return sums
