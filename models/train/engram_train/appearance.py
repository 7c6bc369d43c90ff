"""Paints region maps as images: tissue intensities, texture, and what scanners do to them."""

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from engram_train.anatomy import MAX_REGIONS, Anatomy, Rng, interpolation

Array = np.ndarray
CLASSES = 16


class Textures:
    """A stock of random fields of unit variance at several grain sizes, cut at random."""

    GRAINS = (0.6, 1.2, 2.5, 5.0, 10.0)

    def __init__(self, rng: Rng, size: int = 384):
        self.fields = []
        for grain in self.GRAINS:
            noise = rng.normal(size=(size, size)).astype(np.float32)
            noise = ndimage.gaussian_filter(noise, grain, mode="wrap")
            self.fields.append(noise / noise.std())

    def cut(self, rng: Rng, grain: int, size: int) -> Array:
        """A random window [size, size] of the field of that grain."""
        stock = self.fields[grain]
        y, x = rng.integers(0, stock.shape[0] - size, 2)
        window = stock[y : y + size, x : x + size]
        if rng.random() < 0.5:
            window = window.T
        return window[:: rng.choice([-1, 1]), :: rng.choice([-1, 1])]


@dataclass
class Protocol:
    """How one anatomy is imaged: shared by its instances, disturbed in each."""

    mean: Array  # [CLASSES]
    texture: Array  # [CLASSES] amplitude
    grain: Array  # int [CLASSES]
    blur: float
    noise: float
    bias: float
    modality: str  # "mr", "ct", "us"
    inverted: bool
    gamma: float
    clip: tuple[float, float]
    lines: Array  # [CLASSES] what thin lines within a tissue are made of: a class, or its own
    spots: Array  # [CLASSES] the same of small spots
    line_width: float
    spot_share: float
    edge: float  # brightness of the seams between tissues
    pixel: float  # what the scanner resolved, in pixels of the slice: more than 1 is enlarged


def make_protocol(anatomy: Anatomy, rng: Rng) -> Protocol:
    modality = rng.choice(["mr", "ct", "us"], p=[0.80, 0.12, 0.08])
    mean = rng.uniform(0.05, 1.0, CLASSES)
    if rng.random() < 0.5:  # much is dark, little is bright
        mean = 0.05 + 0.95 * rng.beta(1.2, 2.2, CLASSES)
    if rng.random() < 0.2:  # low contrast: classes drawn together
        mean = mean.mean() + (mean - mean.mean()) * rng.uniform(0.5, 0.9)
    mean[0] = 0.0 if rng.random() < 0.85 else rng.uniform(0, 1)
    if anatomy.style == "body" and rng.random() < 0.25:
        mean[anatomy.tissue[1]] = rng.uniform(0.8, 1.3)  # bright fat
    low, high = 0.0, 1.0
    if modality == "ct":
        low, high = rng.uniform(0.0, 0.35), rng.uniform(0.6, 1.0)
    return Protocol(
        mean=mean,
        texture=rng.gamma(1.2, 0.016, CLASSES) * (1.6 if modality == "us" else 1.0),
        grain=rng.integers(0, len(Textures.GRAINS), CLASSES),
        blur=float(rng.choice([rng.uniform(0.3, 0.8), rng.uniform(0.8, 1.6)], p=[0.7, 0.3])),
        noise=float(rng.gamma(1.2, 0.008)),
        bias=float(rng.uniform(0.0, 0.45)) if modality == "mr" else float(rng.uniform(0.0, 0.1)),
        modality=str(modality),
        inverted=bool(rng.random() < 0.08),
        gamma=float(np.exp(rng.normal() * 0.25)),
        clip=(float(low), float(high)),
        lines=other_class(rng, 0.35),
        spots=other_class(rng, 0.35),
        line_width=float(rng.uniform(0.03, 0.16)),
        spot_share=float(rng.uniform(1.2, 2.2)),
        edge=float(rng.normal() * 0.2) if rng.random() < 0.4 else 0.0,
        pixel=float(rng.uniform(1.2, 4.0)) if rng.random() < 0.35 else 1.0,
    )


def other_class(rng: Rng, chance: float) -> Array:
    """For each class with that chance another one, else itself; air stays air."""
    own = np.arange(CLASSES)
    other = np.where(rng.random(CLASSES) < chance, rng.integers(0, CLASSES, CLASSES), own)
    other[0] = 0
    return other


def decorate(tissue: Array, p: Protocol, rng: Rng, textures: Textures) -> Array:
    """Thin lines and small spots of other tissue, as vessels and folds are: classes [size,size]."""
    size = tissue.shape[-1]
    line = np.abs(textures.cut(rng, int(rng.integers(3, 5)), size)) < p.line_width
    spot = textures.cut(rng, int(rng.integers(2, 4)), size) > p.spot_share
    tissue = np.where(line, p.lines[tissue], tissue)
    return np.where(spot, p.spots[tissue], tissue)


def seams(tissue: Array) -> Array:
    """Where tissues meet: bool [size,size]."""
    out = np.zeros(tissue.shape, bool)
    out[1:] |= tissue[1:] != tissue[:-1]
    out[:, 1:] |= tissue[:, 1:] != tissue[:, :-1]
    return out


def other_patient(p: Protocol, rng: Rng) -> Protocol:
    """The same protocol on another day: small shifts mostly, now and then large ones, or a few
    tissues that look like nobody else's (iron, fat, contrast)."""
    spread = rng.choice([0.02, 0.05, 0.10, 0.20], p=[0.45, 0.32, 0.18, 0.05])
    air = p.mean[0]
    mean = (
        p.mean * np.exp(rng.normal(size=CLASSES) * spread) + rng.normal(size=CLASSES) * spread / 2
    )
    if rng.random() < 0.02:
        mean = rng.uniform(0.05, 1.0, CLASSES)
    if rng.random() < 0.15:
        odd = rng.random(CLASSES) < 0.2
        mean = np.where(odd, mean * np.exp(rng.normal(size=CLASSES) * 0.5), mean)
    mean[0] = air
    wobble = float(np.exp(rng.normal() * 0.3))
    return replace(
        p,
        mean=mean,
        texture=p.texture * wobble,
        blur=p.blur * float(np.exp(rng.normal() * 0.2)),
        noise=p.noise * float(np.exp(rng.normal() * 0.3)),
        gamma=p.gamma * float(np.exp(rng.normal() * 0.10)),
    )


def smooth_field(rng: Rng, size: int) -> Array:
    """A very smooth field of about unit size: [size, size]."""
    axis = np.linspace(-1, 1, size)
    y, x = np.meshgrid(axis, axis, indexing="ij")
    a = rng.normal(size=6) * np.array([1.0, 1.0, 0.6, 0.6, 0.6, 0.0])
    return a[0] * x + a[1] * y + a[2] * (x * x - 0.3) + a[3] * (y * y - 0.3) + a[4] * x * y


class Scan:
    """The pixels a scanner resolved, and how the slice is made from them."""

    def __init__(self, size: int, pixel: float):
        self.size = round(size / pixel)
        self.enlarge = interpolation(size, self.size) if self.size < size else None
        if self.enlarge is not None:
            self.reduce = self.enlarge.T / self.enlarge.sum(0)[:, None]

    def resolve(self, image: Array) -> Array:
        """[size, size] -> [self.size, self.size]"""
        return image if self.enlarge is None else self.reduce @ image @ self.reduce.T

    def show(self, image: Array) -> Array:
        """[self.size, self.size] -> [size, size]"""
        return image if self.enlarge is None else self.enlarge @ image @ self.enlarge.T


def paint(slices: Array, anatomy: Anatomy, p: Protocol, rng: Rng, textures: Textures) -> Array:
    """Region maps [n,size,size] of one patient -> uint8 images, scaled by common percentiles."""
    count, size, _ = slices.shape
    scan = Scan(size, p.pixel if p.modality != "us" else 1.0)
    resolved = (scan.size, scan.size)
    bias = np.exp(p.bias * smooth_field(rng, scan.size))
    phase_gain = np.exp(rng.normal(size=MAX_REGIONS) * 0.03)
    gradient = smooth_field(rng, size) * rng.uniform(0, 0.06)
    shadow, speckle_size, speckle_gain, compressed = None, (0.5, 1.0), 0.3, False
    if p.modality == "us":
        speckle_size = (rng.uniform(0.3, 0.9), rng.uniform(0.5, 1.1))
        speckle_gain, compressed = rng.uniform(0.15, 0.45), rng.random() < 0.5
        shadow = np.clip(1 + 0.5 * np.cumsum(smooth_field(rng, size), axis=0) / size, 0.2, 1.5)
    images = np.empty((count, size, size), np.float32)
    for index, regions in enumerate(slices):
        own = anatomy.tissue[regions]
        tissue = decorate(own, p, rng, textures)
        mean = p.mean[tissue] * phase_gain[regions]
        if p.edge:
            mean = mean + p.edge * seams(own)
        grain = np.stack([textures.cut(rng, g, size) for g in range(len(textures.GRAINS))])
        texture = np.take_along_axis(grain, p.grain[tissue][None].astype(int), 0)[0]
        solid = tissue > 0
        image = mean + (texture * p.texture[tissue] + gradient) * solid
        image = ndimage.gaussian_filter(image.astype(np.float32), p.blur)
        image = scan.resolve(image)
        if p.modality == "mr":
            image = image * bias
            noise = rng.normal(size=(2, *resolved)).astype(np.float32) * p.noise
            if rng.random() < 0.4:
                noise = ndimage.gaussian_filter(noise, (0, 0.6, 0.6)) * 2.0
            image = np.hypot(image + noise[0], noise[1])
        elif p.modality == "us":
            speckle = rng.rayleigh(0.8, (size, size)).astype(np.float32)
            speckle = ndimage.gaussian_filter(speckle, speckle_size)
            speckle = 1 + (speckle - speckle.mean()) / speckle.std() * speckle_gain
            image = np.maximum(image, 0) * speckle * shadow
            if compressed:
                image = np.log1p(np.maximum(image, 0) * 6)
        else:
            noise = rng.normal(size=resolved).astype(np.float32)
            image = image + ndimage.gaussian_filter(noise, 0.7) * 2 * p.noise
            image = np.clip(image, *p.clip)
        images[index] = scan.show(image)
    low, high = np.percentile(images, [0.5, 99.5])
    images = np.clip((images - low) / (high - low + 1e-6), 0, 1)
    if p.inverted:
        images = 1 - images
    images = images**p.gamma
    return (images * 255 + 0.5).astype(np.uint8)


def field_of_view(size: int, rng: Rng, modality: str) -> Array | None:
    """Which pixels the scanner filled, bool [size,size]: letterbox bars or an ultrasound fan."""
    y, x = np.meshgrid(np.linspace(-1, 1, size), np.linspace(-1, 1, size), indexing="ij")
    if modality == "us" and rng.random() < 0.5:
        apex = rng.uniform(1.1, 2.0)
        radius, angle = np.hypot(x, y + apex), np.arctan2(x, y + apex)
        far = apex + rng.uniform(0.6, 1.0)
        return (np.abs(angle) < rng.uniform(0.45, 0.9)) & (radius < far) & (radius > apex - 1.0)
    if rng.random() < 0.4:
        keep = rng.uniform(0.62, 1.0)
        return (np.abs(x) if rng.random() < 0.5 else np.abs(y)) <= keep
    return None
