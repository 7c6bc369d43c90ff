"""Image sequences that are drawn, not decoded: the same numbers everywhere, from a seed."""

import math

import numpy as np


def sequence(
    seed: int, frames: int, size: int, objects: int = 3
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Normalised images [F, 3, S, S] float32 and, for each object, its masks [F, S, S] of 0 and 1.

    Objects are smooth blobs with a texture of their own that drift, turn and swell over another
    one.
    """
    rng = np.random.default_rng(seed)
    axis = (np.arange(size) + 0.5) / size * 2 - 1
    y, x = np.meshgrid(axis, axis, indexing="ij")
    ground = [Texture(rng, 5.0) for _ in range(3)]
    blobs = [Blob(rng, index, objects) for index in range(objects)]
    images = np.empty((frames, 3, size, size), np.float32)
    masks = [np.empty((frames, size, size), np.uint8) for _ in blobs]
    for frame in range(frames):
        canvas = np.stack([texture.at(x, y, frame) for texture in ground])
        for blob, mask in zip(blobs, masks, strict=True):
            depth = blob.depth(x, y, frame)
            mask[frame] = depth > 0
            edge = 1 / (1 + np.exp(-24 * depth))
            canvas = canvas * (1 - edge) + blob.paint(x, y, frame) * edge
        images[frame] = canvas
    return images, masks


class Texture:
    """A sum of a few plane waves, of about unit variance, that changes a little with each frame."""

    def __init__(self, rng: np.random.Generator, frequency: float):
        count = 6
        self.wave = rng.normal(0, frequency, (count, 2))
        self.phase = rng.uniform(0, 2 * math.pi, count)
        self.drift = rng.normal(0, 0.35, count)
        self.size = math.sqrt(2 / count)

    def at(self, x: np.ndarray, y: np.ndarray, frame: int) -> np.ndarray:
        waves = zip(self.wave, self.phase + frame * self.drift, strict=True)
        return self.size * sum(np.cos(a * x + b * y + phase) for (a, b), phase in waves)


class Blob:
    """An ellipse with a wavy rim."""

    def __init__(self, rng: np.random.Generator, index: int, count: int):
        angle = 2 * math.pi * (index + rng.uniform(0, 0.5)) / count
        self.centre = 0.4 * np.array([math.cos(angle), math.sin(angle)])
        self.drift = rng.normal(0, 0.025, 2)
        self.radii = rng.uniform(0.25, 0.45, 2)
        self.swell = rng.uniform(0.05, 0.15)
        self.turn = rng.uniform(-0.1, 0.1)
        self.lobes, self.rim = int(rng.integers(3, 6)), rng.uniform(0.05, 0.15)
        self.colour = rng.normal(0, 1.2, 3)
        self.textures = [Texture(rng, 11.0) for _ in range(3)]

    def depth(self, x: np.ndarray, y: np.ndarray, frame: int) -> np.ndarray:
        """Above 0 inside, 0 on the rim, below 0 outside."""
        dx = x - self.centre[0] - frame * self.drift[0]
        dy = y - self.centre[1] - frame * self.drift[1]
        cosine, sine = math.cos(frame * self.turn), math.sin(frame * self.turn)
        u, v = (cosine * dx + sine * dy) / self.radii[0], (cosine * dy - sine * dx) / self.radii[1]
        rim = 1 + self.rim * np.cos(self.lobes * np.arctan2(v, u))
        return rim * (1 + self.swell * math.sin(0.7 * frame)) - np.hypot(u, v)

    def paint(self, x: np.ndarray, y: np.ndarray, frame: int) -> np.ndarray:
        """The three channels of its inside."""
        return np.stack(
            [
                colour + 0.6 * texture.at(x, y, frame)
                for colour, texture in zip(self.colour, self.textures, strict=True)
            ]
        )
