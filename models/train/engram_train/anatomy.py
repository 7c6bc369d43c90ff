"""Random anatomies: volumes of organs that vary between patients and smoothly along z.

World coordinates are (x, y, z), x to the right and y down in the slice, each about -1..1. An
anatomy is a list of organs painted in order; an instance ("patient") is the same anatomy with
every parameter disturbed and the whole space warped. Nothing is stored as a volume: a slice is
the implicit functions evaluated on a view, a square window of the plane at one z.

A slice is a map of regions (uint8, 0 is background). Regions carry tissue classes, which are
what is painted, and tasks (labels) are sets of regions, as 64-bit masks.
"""

import functools
import operator
from dataclasses import dataclass, field, replace

import numpy as np

MAX_REGIONS = 64
MAX_TASKS = 16
Array = np.ndarray
Rng = np.random.Generator


def interpolation(outputs: int, inputs: int) -> Array:
    """Matrix [outputs, inputs] of linear interpolation between pixel centres."""
    position = (np.arange(outputs) + 0.5) * inputs / outputs - 0.5
    position = np.clip(position, 0, inputs - 1)
    low = np.minimum(position.astype(int), inputs - 2)
    weight = position - low
    matrix = np.zeros((outputs, inputs), np.float32)
    matrix[np.arange(outputs), low] = 1 - weight
    matrix[np.arange(outputs), low + 1] += weight
    return matrix


class Enlarger:
    """Enlarges smooth maps [..., n, n] to [..., size, size]."""

    def __init__(self, size: int):
        self.size = size
        self.matrices: dict[int, Array] = {}

    def __call__(self, small: Array) -> Array:
        n = small.shape[-1]
        if n not in self.matrices:
            self.matrices[n] = interpolation(self.size, n)
        matrix = self.matrices[n]
        return matrix @ small.astype(np.float32) @ matrix.T


@dataclass
class Waves:
    """Smooth random functions of space, sums of cosines: k functions of j waves each."""

    frequency: Array  # [k, j, 3] radians a unit
    phase: Array  # [k, j]
    amplitude: Array  # [k, j]

    @classmethod
    def random(cls, rng: Rng, k: int, j: int, low: float, high: float) -> "Waves":
        direction = rng.normal(size=(k, j, 3))
        direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
        length = rng.uniform(low, high, (k, j, 1))
        amplitude = rng.normal(size=(k, j)) * (low / length[..., 0]) ** 0.7
        amplitude /= np.sqrt(0.5 * (amplitude**2).sum(1, keepdims=True)) + 1e-6
        return cls(direction * length, rng.uniform(0, 2 * np.pi, (k, j)), amplitude)

    def disturbed(self, rng: Rng, strength: float) -> "Waves":
        return replace(
            self,
            phase=self.phase + rng.normal(size=self.phase.shape) * 0.35 * strength,
            amplitude=self.amplitude * (1 + rng.normal(size=self.phase.shape) * 0.2 * strength),
        )

    def __call__(self, points: Array) -> Array:
        """points [n, n, 3] -> [k, n, n]"""
        k, j, _ = self.frequency.shape
        flat = points.reshape(-1, 3) @ self.frequency.reshape(-1, 3).T + self.phase.reshape(-1)
        waves = np.cos(flat.astype(np.float32)).reshape(-1, k, j)
        out = np.einsum("pkj,kj->kp", waves, self.amplitude.astype(np.float32))
        return out.reshape(k, *points.shape[:2])


def rotation(vector: Array) -> Array:
    """Rotation matrix of a rotation vector (axis times angle)."""
    angle = float(np.linalg.norm(vector))
    if angle < 1e-9:
        return np.eye(3)
    x, y, z = vector / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


@dataclass
class Organ:
    """A star-shaped body with inner structure, in a frame of its own.

    Regions are painted in the order crescent, wall, vessels, core, core detail, split; each that is
    absent is None. The wall is the body itself; the core a smaller body inside it. Beyond its base,
    a plane, there is no wall, and core and crescent go on as something else that may look alike
    (as ventricles end at the valves and the atria begin).
    """

    centre: Array
    radii: Array
    turn: Array  # rotation vector
    outline: Waves  # one function of the direction
    roughness: float
    wall: int
    core: int | None = None
    core_scale: float = 0.6
    core_offset: Array = field(default_factory=lambda: np.zeros(3))
    vessels: int | None = None
    vessel_waves: Waves | None = None
    vessel_width: float = 0.15
    only_vessels: bool = False  # a ribbon: the wall itself is not painted
    crescent: int | None = None
    crescent_offset: Array = field(default_factory=lambda: np.zeros(3))
    crescent_scale: float = 1.0
    split: int | None = None
    split_normal: Array = field(default_factory=lambda: np.array([1.0, 0, 0]))
    split_at: float = 0.0
    rim: int | None = None
    rim_width: float = 0.1
    beat: float = 0.0  # how much core and crescent swell and shrink from patient to patient
    base: Array | None = None  # normal of the plane, away from the organ
    base_at: tuple[float, float] = (0.0, 0.0)  # how far out it lies, for the core and the crescent
    beyond: tuple[int, int] = (0, 0)  # what core and crescent are beyond it

    def disturbed(self, rng: Rng, s: float) -> "Organ":
        """The same organ in another patient; `s` is the strength of the variation."""
        size = np.exp(rng.normal() * 0.10 * s + rng.normal(size=3) * 0.07 * s)
        move = rng.normal(size=3) * np.array([0.035, 0.035, 0.06]) * s
        move += rng.normal(size=3) * 0.10 * s * self.radii
        extra = {}
        swell = self.beat * rng.uniform(-1, 1)
        if self.vessel_waves is not None:
            own = Waves.random(rng, 1, 6, 3.0, 9.0)
            extra["vessel_waves"] = (
                self.vessel_waves.disturbed(rng, s) if self.only_vessels else own
            )
        return replace(
            self,
            centre=self.centre + move,
            radii=self.radii * size,
            turn=self.turn + rng.normal(size=3) * np.array([0.08, 0.08, 0.16]) * s,
            outline=self.outline.disturbed(rng, s),
            roughness=self.roughness * float(np.exp(rng.normal() * 0.3)),
            core_scale=float(
                np.clip(self.core_scale * np.exp(rng.normal() * 0.14 * s + swell), 0.2, 0.92)
            ),
            core_offset=self.core_offset + rng.normal(size=3) * 0.04 * s,
            crescent_offset=self.crescent_offset + rng.normal(size=3) * 0.10 * s,
            crescent_scale=self.crescent_scale
            * float(np.exp(rng.normal() * 0.1 * s + 0.5 * swell)),
            split_at=self.split_at + rng.normal() * 0.10 * s,
            rim_width=self.rim_width * float(np.exp(rng.normal() * 0.2)),
            base_at=tuple(at + rng.normal() * 0.12 * s for at in self.base_at),
            **extra,
        )

    def mirrored(self, wall: int, core: int | None) -> "Organ":
        """The paired organ on the other side."""
        flip = np.array([-1.0, 1.0, 1.0])
        outline = replace(self.outline, frequency=self.outline.frequency * flip)
        return replace(
            self, centre=self.centre * flip, turn=self.turn * np.array([1.0, -1.0, -1.0]),
            outline=outline, core_offset=self.core_offset * flip, wall=wall, core=core,
        )  # fmt: skip

    def excess(self, local: Array, scale: float = 1.0) -> Array:
        """Signed implicit function in local coordinates [n,n,3]: below 0 inside."""
        radius = np.sqrt((local**2).sum(-1)) + 1e-6
        direction = local / radius[..., None]
        edge = scale * (1 + self.roughness * self.outline(direction)[0])
        return radius - np.maximum(edge, 0.2 * scale)

    def over_base(self, local: Array, which: int, enlarge: Enlarger) -> Array:
        """Which places lie beyond the base of the core (0) or of the crescent (1): [size,size]."""
        if self.base is None:
            return np.zeros((enlarge.size, enlarge.size), bool)
        return enlarge(local @ self.base) > self.base_at[which]

    def paint(self, regions: Array, points: Array, enlarge: Enlarger) -> None:
        """Paints into regions [size,size] the organ at points [n,n,3]."""
        reach = 1.5 * (1 + self.crescent_scale if self.crescent else 1.0) * self.radii.max()
        gap = np.abs(points - self.centre).min(axis=(0, 1))
        if (gap > reach).any():
            return
        local = (points - self.centre) @ rotation(self.turn) / self.radii
        if self.crescent is not None:
            beside = enlarge(self.excess(local - self.crescent_offset, self.crescent_scale)) < 0
            over = self.over_base(local, 1, enlarge)
            regions[beside & ~over] = self.crescent
            regions[beside & over] = self.beyond[1]
        over = self.over_base(local, 0, enlarge)
        excess = enlarge(self.excess(local))
        inside = (excess < 0) & ~over
        if not inside.any() and self.base is None:
            return
        if not self.only_vessels:
            regions[inside] = self.wall
        if self.rim is not None:
            regions[inside & (excess > -self.rim_width)] = self.rim
        if self.vessels is not None:
            vessel = np.abs(enlarge(self.vessel_waves(local))[0]) < self.vessel_width
            regions[inside & vessel] = self.vessels
        if self.core is not None:
            core = enlarge(self.excess(local - self.core_offset, self.core_scale)) < 0
            regions[core & inside] = self.core
            regions[core & over] = self.beyond[0]
        if self.split is not None:
            side = enlarge(local @ self.split_normal) > self.split_at
            regions[inside & side] = self.split


@dataclass
class Partition:
    """Space cut into regions by the largest of several smooth functions."""

    waves: Waves
    regions: Array  # uint8 [k]
    within: Organ | None = None

    def disturbed(self, rng: Rng, s: float) -> "Partition":
        within = self.within.disturbed(rng, s) if self.within else None
        return replace(self, waves=self.waves.disturbed(rng, 0.6 * s), within=within)

    def paint(self, regions: Array, points: Array, enlarge: Enlarger) -> None:
        winner = self.regions[enlarge(self.waves(points[::2, ::2])).argmax(0)]
        if self.within is None:
            regions[:] = winner
            return
        within = self.within
        local = (points - within.centre) @ rotation(within.turn) / within.radii
        inside = enlarge(within.excess(local)) < 0
        regions[inside] = winner[inside]


@dataclass
class Clutter:
    """Bowel-like filling inside the regions given: different in every patient."""

    over: Array  # bool [MAX_REGIONS]
    regions: Array  # uint8 [k], 0 entries leave what is there
    scale: float
    waves: Waves | None = None

    def disturbed(self, rng: Rng, s: float) -> "Clutter":
        waves = Waves.random(rng, len(self.regions), 6, self.scale, 2.5 * self.scale)
        return replace(self, waves=waves)

    def paint(self, regions: Array, points: Array, enlarge: Enlarger) -> None:
        winner = self.regions[enlarge(self.waves(points)).argmax(0)]
        cover = self.over[regions] & (winner > 0)
        regions[cover] = winner[cover]


@dataclass(frozen=True)
class View:
    """A square window of the plane: centre and half side, world units."""

    x: float
    y: float
    half: float


@dataclass
class Anatomy:
    parts: list
    tissue: Array  # uint8 [MAX_REGIONS]: class of each region
    tasks: Array  # uint64 [t]: regions of each label
    groups: Array  # uint64 [g]: regions of all labels of an organ that has several
    air: Array  # bool [MAX_REGIONS]
    variation: float
    style: str


@dataclass
class Instance:
    """One patient of an anatomy."""

    parts: list
    warp: Waves
    warp_size: float
    frame: Array  # [3, 3]: world -> anatomy
    shift: Array

    def regions(self, z: float, view: View, size: int, enlarge: Enlarger) -> Array:
        """The slice at z seen through the view: uint8 [size, size]."""
        n = size // 2
        axis = ((np.arange(n) + 0.5) / n * 2 - 1) * view.half
        points = np.empty((n, n, 3))
        points[..., 0] = view.x + axis[None, :]
        points[..., 1] = view.y + axis[:, None]
        points[..., 2] = z
        bend = Enlarger(n)(self.warp(points[::4, ::4]))
        points = points @ self.frame.T + self.shift
        points += self.warp_size * np.moveaxis(bend, 0, -1)
        out = np.zeros((size, size), np.uint8)
        for part in self.parts:
            part.paint(out, points, enlarge)
        return out


def make_instance(anatomy: Anatomy, rng: Rng) -> Instance:
    s = anatomy.variation
    frame = np.diag(np.exp(rng.normal(size=3) * np.array([0.07, 0.07, 0.08]) * s))
    frame = frame @ rotation(rng.normal(size=3) * np.array([0.04, 0.04, 0.08]) * s)
    return Instance(
        [part.disturbed(rng, s) for part in anatomy.parts],
        Waves.random(rng, 3, 6, 1.5, 5.0),
        float(rng.uniform(0.01, 0.045)) * s,
        frame,
        rng.normal(size=3) * np.array([0.05, 0.05, 0.06]) * s,
    )


class Builder:
    """Hands out region and tissue numbers while an anatomy is put together."""

    def __init__(self, rng: Rng):
        self.rng = rng
        self.count = 1
        self.tissue = np.zeros(MAX_REGIONS, np.uint8)
        self.tasks: list[int] = []
        self.groups: list[int] = []
        self.classes = int(rng.integers(5, 12))

    def region(self, tissue: int | None = None) -> int:
        number = min(self.count, MAX_REGIONS - 1)
        self.count += 1
        if tissue is None:
            tissue = int(self.rng.integers(1, self.classes))
        self.tissue[number] = tissue
        return number

    def task(self, *regions: int | None) -> None:
        bits = 0
        for region in regions:
            if region is not None:
                bits |= 1 << region
        self.tasks.append(bits)

    def organ(self, centre: Array, radii: Array, kind: str | None = None) -> Organ:
        """An organ with its regions and tasks."""
        rng = self.rng
        before = len(self.tasks)
        if kind is None:
            kind = rng.choice(
                ["plain", "vessels", "nested", "heart", "split", "ribbon", "rim", "kidney"],
                p=[0.20, 0.14, 0.10, 0.30, 0.12, 0.04, 0.03, 0.07],
            )
        organ = Organ(
            centre, radii, rng.normal(size=3) * np.array([0.25, 0.25, 1.0]),
            Waves.random(rng, 1, 6, 1.0, rng.uniform(2.0, 5.0)),
            float(rng.uniform(0.05, 0.22)), self.region(),
        )  # fmt: skip
        if kind == "plain":
            self.task(organ.wall)
        elif kind == "vessels":
            organ.vessels = self.region()
            organ.vessel_waves = Waves.random(rng, 1, 6, 3.0, 9.0)
            organ.vessel_width = float(rng.uniform(0.05, 0.2))
            self.task(organ.wall, organ.vessels)
        elif kind in ("nested", "kidney", "heart"):
            organ.core = self.region()
            organ.core_offset = rng.normal(size=3) * 0.08
            organ.core_scale = float(rng.uniform(0.4, 0.85))
            if kind == "kidney":
                self.task(organ.wall, organ.core)
            elif kind == "nested":
                self.task(organ.wall)
                self.task(organ.core)
                if rng.random() < 0.4:
                    self.task(organ.wall, organ.core)
            else:
                tissue = self.tissue[organ.core] if rng.random() < 0.6 else None
                organ.crescent = self.region(tissue)
                angle = rng.uniform(0, 2 * np.pi)
                thickness = rng.uniform(0.2, 1.0)  # beyond the wall, in its radii
                organ.crescent_scale = float(rng.uniform(0.65, 1.15))
                reach = 1 + thickness - organ.crescent_scale
                organ.crescent_offset = reach * np.array([np.cos(angle), np.sin(angle), 0])
                organ.crescent_offset[2] = rng.normal() * 0.2
                organ.core_scale = float(rng.uniform(0.55, 0.85))
                organ.roughness *= 0.5
                organ.beat = float(rng.uniform(0.0, 0.45))
                if rng.random() < 0.6:
                    self.end_at_base(organ)
                self.task(organ.wall)
                self.task(organ.core)
                self.task(organ.crescent)
        elif kind == "split":
            same = self.tissue[organ.wall] if rng.random() < 0.75 else None
            organ.split = self.region(same)
            organ.split_normal = rng.normal(size=3) * np.array([1, 1, 0.5])
            organ.split_normal /= np.linalg.norm(organ.split_normal)
            organ.split_at = float(rng.uniform(-0.3, 0.3))
            self.task(organ.wall)
            self.task(organ.split)
        elif kind == "ribbon":
            organ.vessels = organ.wall
            organ.vessel_waves = Waves.random(rng, 1, 4, 1.5, 4.5)
            organ.vessel_width = float(rng.uniform(0.15, 0.4))
            organ.only_vessels = True
            self.task(organ.wall)
        elif kind == "rim":
            organ.rim = self.region()
            organ.rim_width = float(rng.uniform(0.04, 0.2))
            self.task(organ.wall, organ.rim)
            if rng.random() < 0.3:
                self.task(organ.rim)
        if len(self.tasks) > before + 1:
            self.groups.append(functools.reduce(operator.or_, self.tasks[before:]))
        return organ

    def end_at_base(self, organ: Organ) -> None:
        """Cuts a heart off at a plane across z; beyond it mostly looks like within."""
        rng = self.rng
        organ.base = rng.normal(size=3) * np.array([0.15, 0.15, 0.0])
        organ.base[2] = rng.choice([-1.0, 1.0])
        at = rng.uniform(0.0, 0.7)
        organ.base_at = (at, at + rng.normal() * 0.2)
        organ.beyond = tuple(
            self.region(self.tissue[part] if rng.random() < 0.8 else None)
            for part in (organ.core, organ.crescent)
        )

    def finish(self, parts: list, style: str, tissue_air: int = 0) -> Anatomy:
        rng = self.rng
        tasks = list(dict.fromkeys(self.tasks))
        rng.shuffle(tasks)
        tasks = np.array(tasks[:MAX_TASKS], np.uint64)
        air = self.tissue == tissue_air
        variation = float(rng.uniform(0.05, 0.65))
        groups = np.array(self.groups, np.uint64)
        return Anatomy(parts, self.tissue, tasks, groups, air, variation, style)


def spot(rng: Rng, reach: float) -> Array:
    """A random place within an ellipse of the plane, any z near the middle."""
    angle, radius = rng.uniform(0, 2 * np.pi), reach * np.sqrt(rng.uniform(0, 1))
    return np.array([radius * np.cos(angle), 0.8 * radius * np.sin(angle), rng.normal() * 0.25])


def random_radii(rng: Rng) -> Array:
    size = rng.choice([rng.uniform(0.28, 0.5), rng.uniform(0.12, 0.28), rng.uniform(0.05, 0.13)],
                      p=[0.3, 0.45, 0.25])  # fmt: skip
    radii = size * np.exp(rng.normal(size=3) * 0.25)
    radii[2] = max(radii[2], 0.15) * rng.uniform(1.0, 2.5)
    return radii


def body(rng: Rng) -> Anatomy:
    """A trunk-like cross-section: fat, muscle, spine, filling, and organs."""
    b = Builder(rng)
    parts: list = []
    size = np.array([rng.uniform(0.8, 1.05), rng.uniform(0.6, 0.95), 4.0])
    outline = Waves.random(rng, 1, 5, 1.0, 3.0)
    rough = float(rng.uniform(0.02, 0.06))
    skin = Organ(np.zeros(3), size, np.zeros(3), outline, rough, b.region())
    parts.append(skin)
    inner = size * np.array([rng.uniform(0.8, 0.95), rng.uniform(0.75, 0.93), 1.0])
    muscle = Organ(np.zeros(3), inner, np.zeros(3), outline, rough, b.region())
    parts.append(muscle)
    cavity_size = inner * np.array([rng.uniform(0.82, 0.95), rng.uniform(0.75, 0.93), 1.0])
    cavity = Organ(np.zeros(3), cavity_size, np.zeros(3), outline, rough, b.region())
    parts.append(cavity)
    over = np.zeros(MAX_REGIONS, bool)
    over[cavity.wall] = True
    if rng.random() < 0.8:
        filling = np.array([b.region() for _ in range(int(rng.integers(2, 5)))] + [0], np.uint8)
        parts.append(Clutter(over, filling, float(rng.uniform(3.0, 14.0))))
    if rng.random() < 0.7:
        spine = np.array([0, rng.uniform(0.3, 0.6) * size[1], 0])
        parts.append(b.organ(spine, np.array([0.12, 0.12, 3.0]) * rng.uniform(0.7, 1.3), "nested"))
    for _ in range(int(rng.integers(3, 9))):
        centre = spot(rng, 0.75) * np.array([size[0], size[1], 1.0])
        organ = b.organ(centre, random_radii(rng))
        parts.append(organ)
        simple = organ.crescent is None and organ.split is None and organ.rim is None
        aside = abs(organ.centre[0]) > 0.25 and organ.radii[0] < 0.35
        if simple and aside and rng.random() < 0.45:
            wall = b.region(b.tissue[organ.wall])
            core = b.region(b.tissue[organ.core]) if organ.core is not None else None
            twin = organ.mirrored(wall, core)
            if twin.vessels is not None:
                twin = replace(twin, vessels=wall if organ.only_vessels else organ.vessels)
            b.task(wall, core)
            parts.append(twin)
    return b.finish(parts, "body")


def partition(rng: Rng) -> Anatomy:
    """Space cut into random smooth regions, sometimes with organs on top."""
    b = Builder(rng)
    k = int(rng.integers(5, 18))
    numbers = np.array([b.region() for _ in range(k)], np.uint8)
    low = float(np.exp(rng.uniform(0.0, np.log(4.0))))
    waves = Waves.random(rng, k, 6, low, low * 2.2)
    parts: list = [Partition(waves, numbers)]
    if rng.random() < 0.5:  # some regions are filled with small things, other ones in each patient
        over = np.zeros(MAX_REGIONS, bool)
        over[rng.choice(numbers, min(k, int(rng.integers(1, 5))), replace=False)] = True
        filling = np.array([b.region() for _ in range(int(rng.integers(2, 5)))] + [0], np.uint8)
        parts.append(Clutter(over, filling, float(rng.uniform(5.0, 14.0))))
    for number in numbers[:10]:
        b.task(int(number))
    for _ in range(2):
        b.task(*[int(n) for n in rng.choice(numbers, 2, replace=False)])
    for _ in range(int(rng.integers(0, 4))):
        parts.append(b.organ(spot(rng, 0.8), random_radii(rng)))
    return b.finish(parts, "partition")


def head(rng: Rng) -> Anatomy:
    """One large rimmed body, divided inside, with a few structures."""
    b = Builder(rng)
    size = np.array([rng.uniform(0.45, 0.9), rng.uniform(0.45, 0.9), rng.uniform(1.0, 2.0)])
    outer = Organ(
        rng.normal(size=3) * 0.1, size, rng.normal(size=3) * np.array([0.1, 0.1, 1.0]),
        Waves.random(rng, 1, 5, 1.0, 2.5), float(rng.uniform(0.02, 0.08)), b.region(),
    )  # fmt: skip
    outer.rim, outer.rim_width = b.region(), float(rng.uniform(0.03, 0.15))
    parts: list = []
    if rng.random() < 0.7:
        k = int(rng.integers(3, 7))
        numbers = np.array([b.region() for _ in range(k)] + [0], np.uint8)
        scale = rng.uniform(1.5, 4.0)
        everywhere = np.ones(MAX_REGIONS, bool)
        parts.append(Clutter(everywhere, numbers, float(scale)))
    parts.append(outer)
    inside = [outer.wall, outer.rim]
    if rng.random() < 0.6:
        k = int(rng.integers(3, 8))
        numbers = np.array([b.region() for _ in range(k)], np.uint8)
        within = replace(outer, radii=outer.radii * (1 - 1.3 * outer.rim_width))
        parts.append(Partition(Waves.random(rng, k, 6, 1.5, 5.0), numbers, within))
        inside += [int(n) for n in numbers]
        for number in numbers[:3]:
            b.task(int(number))
    for _ in range(int(rng.integers(1, 4))):
        before = b.count
        radii = random_radii(rng) * 0.5
        parts.append(b.organ(outer.centre + spot(rng, 0.5) * size, radii))
        inside += list(range(before, b.count))
    for _ in range(3):  # the commonest task of such images: the whole
        b.tasks.insert(0, 0)
    whole = 0
    for region in inside:
        whole |= 1 << min(region, MAX_REGIONS - 1)
    b.tasks = [whole if bits == 0 else bits for bits in b.tasks]
    return b.finish(parts, "head")


def make_anatomy(rng: Rng) -> Anatomy:
    kind = rng.choice([body, partition, head], p=[0.54, 0.33, 0.13])
    return kind(rng)
