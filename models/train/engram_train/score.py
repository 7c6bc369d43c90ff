"""Measures a bundle on real annotated cases: what ships, through ONNX Runtime.

Stages, each measured: exemplars alone; then a second pass in which the neighbouring slices'
results are recent memories; then the same on a crop around the organ.
"""

import argparse
import json
import time
import tomllib
from pathlib import Path

import numpy as np
import onnxruntime

from engram_train.real import Case, Window, around, back, dice, protocol, view, whole

Array = np.ndarray
CHUNK = 8  # slices a call


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-np.clip(x, -30, 30)))


class Bundle:
    """The graphs of a bundle folder as functions of arrays."""

    def __init__(self, folder: Path, threads: int):
        self.manifest = tomllib.loads((folder / "bundle.toml").read_text())
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.enable_cpu_mem_arena = False
        self.sessions = {
            name: onnxruntime.InferenceSession(
                str(folder / graph["file"]), options, ["CPUExecutionProvider"]
            )
            for name, graph in self.manifest["graphs"].items()
        }
        self.size = self.manifest["input"]["image_size"]
        self.time = self.manifest["memory"]["conditioning_tpos"]
        self.kept: dict[tuple, list[Array]] = {}

    def run(self, graph: str, *inputs: Array) -> list[Array]:
        """Runs a graph over a batch, in chunks; the last input of memory_attention is shared."""
        session = self.sessions[graph]
        names = [i.name for i in session.get_inputs()]
        parts = []
        for first in range(0, len(inputs[0]), CHUNK):
            feed = {
                name: value if name == "tpos_idx" else value[first : first + CHUNK]
                for name, value in zip(names, inputs, strict=True)
            }
            parts.append(session.run(None, feed))
        return [np.concatenate(column) for column in zip(*parts, strict=True)]

    def image(self, seen: Array) -> Array:
        return np.repeat(seen[:, None].astype(np.float32), 3, axis=1)

    def encode(self, case: Case, window: Window) -> list[Array]:
        """Embedding and finer levels of a case through a window; whole slices are kept."""
        key = (case.name, window)
        if key in self.kept:
            return self.kept[key]
        seen = view(case.volume, case.spacing, window, self.size)
        levels = self.run("image_encoder", self.image(seen))
        if window == whole(case):
            self.kept[key] = levels
        return levels


def pixel_vectors(seen: Array) -> Array:
    """16x16 pixel descriptors whose dot product is correlation: [Z,S,S] -> [Z,256]."""
    count, size, _ = seen.shape
    small = seen.reshape(count, 16, size // 16, 16, size // 16).mean((2, 4)).reshape(count, -1)
    small = small - small.mean(1, keepdims=True)
    return small / (np.linalg.norm(small, axis=1, keepdims=True) + 1e-6)


def vectors(bundle: Bundle, case: Case, kind: str) -> Array:
    seen = view(case.volume, case.spacing, whole(case), bundle.size)
    if kind == "pixels":
        return pixel_vectors(seen)
    return bundle.run("retrieval", bundle.image(seen))[0]


class Bank:
    """Exemplar slices of one label, seen whole or through a crop around the label."""

    def __init__(
        self, bundle: Bundle, cases: list[Case], label: str, found: dict, margin: float | None
    ):
        memories, descriptors, windows = [], [], []
        for case in cases:
            if label not in case.masks:
                continue
            mask = case.masks[label]
            window = whole(case) if margin is None else around(mask, case.spacing, margin)
            if window is None:
                continue
            small = view(mask, case.spacing, window, bundle.size) >= 0.5
            embed = bundle.encode(case, window)[0]
            score = np.where(small.any((1, 2)), 10.0, -10.0).astype(np.float32)[:, None]
            memory = bundle.run("memory_encoder", embed, small[:, None].astype(np.float32), score)[
                0
            ]
            memories.append(memory)
            descriptors.append(found[case.name])
            windows.append(window)
        self.memories = np.concatenate(memories)
        self.vectors = np.concatenate(descriptors)
        self.side = float(np.median([w.side for w in windows]))

    def best(self, query: Array, count: int) -> Array:
        """Indices [Z, count] of the most similar exemplar slices, nearest first."""
        order = np.argsort(-(query @ self.vectors.T), axis=1)
        return order[:, : min(count, order.shape[1])]


class Tracker:
    """One label of one target through one window."""

    def __init__(
        self, bundle: Bundle, case: Case, window: Window, bank: Bank, query: Array, count: int
    ):
        self.bundle, self.bank = bundle, bank
        self.embed, self.fine, self.middle = bundle.encode(case, window)
        self.chosen = bank.best(query, count)

    def decode(self, rows: Array, memories: Array, times: Array) -> tuple[Array, Array, Array]:
        """Probability [R,S,S], predicted Dice [R] and object score [R] of the rows."""
        cond = self.bundle.run("memory_attention", self.embed[rows], memories, times)[0]
        logits, quality, score = self.bundle.run(
            "mask_decoder", cond, self.fine[rows], self.middle[rows]
        )
        return logits[:, 0], quality[:, 0], score[:, 0]

    def alone(self) -> tuple[Array, Array, Array]:
        """Every slice from its exemplars."""
        rows = np.arange(len(self.embed))
        times = np.full(self.chosen.shape[1], self.bundle.time, np.int64)
        parts = []
        for first in range(0, len(rows), CHUNK):
            some = rows[first : first + CHUNK]
            parts.append(self.decode(some, self.bank.memories[self.chosen[some]], times))
        return tuple(np.concatenate(column) for column in zip(*parts, strict=True))

    def remember(self, logits: Array, score: Array) -> Array:
        return self.bundle.run(
            "memory_encoder", self.embed, sigmoid(logits)[:, None].astype(np.float32),
            np.clip(score, -10, 10).astype(np.float32)[:, None],
        )[0]  # fmt: skip

    def neighbours(self, first: tuple, reach: int, gate: float) -> tuple[Array, Array, Array]:
        """Every slice again, with results of up to `reach` slices on either side as recents.

        A slice whose predicted Dice is below `gate` is not remembered.
        """
        logits, quality, score = first
        memory = self.remember(logits, score)
        good = quality >= gate
        count = len(logits)
        plans: dict[tuple, list[int]] = {}
        for z in range(count):
            near = [d for d in range(-reach, reach + 1) if d and 0 <= z + d < count and good[z + d]]
            plans.setdefault(tuple(near), []).append(z)
        out = [x.copy() for x in first]
        for near, rows in plans.items():
            if not near:
                continue
            rows = np.array(rows)
            times = [self.bundle.time] * self.chosen.shape[1] + [abs(d) - 1 for d in near]
            recent = np.stack([memory[rows + d] for d in near], axis=1)
            memories = np.concatenate([self.bank.memories[self.chosen[rows]], recent], axis=1)
            for x, new in zip(out, self.decode(rows, memories, np.array(times)), strict=True):
                x[rows] = new
        return tuple(out)

    def sweep(self, first: tuple, reach: int, gate: float) -> tuple[Array, Array, Array]:
        """From the surest slice outwards, each with up to `reach` slices behind it as recents."""
        out = [x.copy() for x in first]
        count = len(out[0])
        sure = first[1] * (first[2] > 0) * sigmoid(first[0]).mean((1, 2)) ** 0.25
        start = int(sure.argmax())
        memory = self.remember(out[0], out[2])
        for step in (1, -1):
            z = start + step
            while 0 <= z < count:
                near = [z - step * k for k in range(reach, 0, -1)]
                near = [n for n in near if (n - start) * step >= 0 and out[1][n] >= gate]
                if near:
                    rows = np.array([z])
                    times = [self.bundle.time] * self.chosen.shape[1]
                    times += [abs(z - n) - 1 for n in near]
                    memories = np.concatenate([self.bank.memories[self.chosen[z]], memory[near]])
                    for x, new in zip(
                        out, self.decode(rows, memories[None], np.array(times)), strict=True
                    ):
                        x[rows] = new
                    memory[z] = self.bundle.run(
                        "memory_encoder", self.embed[rows],
                        sigmoid(out[0][rows])[:, None].astype(np.float32),
                        np.clip(out[2][rows], -10, 10)[:, None],
                    )[0][0]  # fmt: skip
                z += step
        return tuple(out)


def volume_of(result: tuple, case: Case, window: Window, presence: bool) -> Array:
    """Probability on the native grid [Z,H,W]."""
    probability = sigmoid(result[0])
    if presence:
        probability = probability * (result[2] > 0)[:, None, None]
    return back(probability, case, window)


def labelled(volumes: dict[str, Array]) -> dict[str, Array]:
    """Probabilities -> masks; where labels overlap the more probable wins."""
    names = list(volumes)
    stack = np.stack([volumes[name] for name in names])
    winner = stack.argmax(0)
    return {name: (winner == i) & (stack[i] >= 0.5) for i, name in enumerate(names)}


def measure(bundle: Bundle, exemplars: list[Case], targets: list[Case], args) -> dict:
    """Dice of every stage: stage -> label -> one value a target."""
    labels = sorted({label for case in exemplars for label in case.masks})
    found = {case.name: vectors(bundle, case, args.retrieval) for case in exemplars}
    use = bundle.manifest["memory"]
    margin, extent = use["crop_margin"], use["crop_max_extent"]
    full = {label: Bank(bundle, exemplars, label, found, None) for label in labels}
    tight = (
        {label: Bank(bundle, exemplars, label, found, margin) for label in labels}
        if args.crop
        else {}
    )
    scores: dict[str, dict[str, list]] = {}
    for case in targets:
        query = vectors(bundle, case, args.retrieval)
        stages: dict[str, dict[str, Array]] = {}

        def keep(stage: str, label: str, volume: Array, stages=stages) -> None:
            stages.setdefault(stage, {})[label] = volume

        for label in labels:
            window = whole(case)
            tracker = Tracker(bundle, case, window, full[label], query, args.exemplars)
            alone = tracker.alone()
            keep("alone", label, volume_of(alone, case, window, args.presence))
            near = alone
            for _ in range(args.rounds):
                near = tracker.neighbours(near, args.reach, args.gate)
            coarse = volume_of(near, case, window, args.presence)
            keep("neighbours", label, coarse)
            if args.sweep:
                swept = tracker.sweep(alone, args.reach, args.gate)
                keep("sweep", label, volume_of(swept, case, window, args.presence))
            if not args.crop:
                continue
            for stage in ("crop", "crop+neighbours", "crop+both"):
                keep(stage, label, coarse)
            inner = around(coarse >= 0.5, case.spacing, margin)
            if inner is None or inner.side > extent * window.side * (1 + 2 * margin) / 2:
                continue
            tracker = Tracker(bundle, case, inner, tight[label], query, args.exemplars)
            alone = tracker.alone()
            keep("crop", label, volume_of(alone, case, inner, args.presence))
            near = tracker.neighbours(alone, args.reach, args.gate)
            fine = volume_of(near, case, inner, args.presence)
            keep("crop+neighbours", label, fine)
            keep("crop+both", label, 0.6 * fine + 0.4 * coarse)
        for stage, volumes in stages.items():
            for label, mask in labelled(volumes).items():
                value = dice(mask, case.masks.get(label, np.zeros_like(mask)))
                if value is not None:
                    scores.setdefault(stage, {}).setdefault(label, []).append(value)
    return scores


def sharing(bundle: Bundle, exemplars: list[Case], targets: list[Case], count: int) -> dict:
    """How well the best `count` exemplar slices share the target slice's set of labels.

    Per way of choosing: mean Jaccard index of the sets (two empty sets count 1), and, over slices
    with any label, the share of exemplars that have at least one of them.
    """

    def sets(case: Case) -> Array:
        return np.stack([case.masks[label].any((1, 2)) for label in labels], axis=1)

    labels = sorted({label for case in exemplars for label in case.masks})
    have = np.concatenate([sets(case) for case in exemplars])
    rng = np.random.default_rng(0)
    out = {}
    for kind in ("graph", "pixels", "random"):
        jaccard, any_shared = [], []
        if kind != "random":
            bank = np.concatenate([vectors(bundle, case, kind) for case in exemplars])
        for case in targets:
            truth = sets(case)
            if kind == "random":
                chosen = rng.integers(0, len(have), (len(truth), count))
            else:
                chosen = np.argsort(-(vectors(bundle, case, kind) @ bank.T), axis=1)[:, :count]
            both = (have[chosen] & truth[:, None]).sum(-1)
            either = (have[chosen] | truth[:, None]).sum(-1)
            jaccard.append(np.where(either == 0, 1.0, both / np.maximum(either, 1)).mean(1))
            any_shared.append((both > 0).mean(1)[truth.any(1)])
        out[kind] = {
            "jaccard": float(np.concatenate(jaccard).mean()),
            "shares_one": float(np.concatenate(any_shared).mean()),
        }
    return out


QUICK = {"chaos": 2, "acdc": 4, "hippo": 4, "hc18": 8}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder of the annotated sets")
    parser.add_argument("--protocols", default="chaos-5,acdc-5,hippo-10,hc18-10")
    parser.add_argument("--quick", action="store_true", help="the first few targets only")
    parser.add_argument("--exemplars", type=int, default=8, help="K, slices a slice")
    parser.add_argument("--retrieval", choices=["graph", "pixels"], default="graph")
    parser.add_argument("--reach", type=int, default=2, help="recent slices on either side")
    parser.add_argument("--rounds", type=int, default=1, help="passes with recent memories")
    parser.add_argument("--gate", type=float, default=0.5, help="predicted Dice to be remembered")
    parser.add_argument("--presence", action="store_true", help="blank where object score <= 0")
    parser.add_argument("--crop", action="store_true")
    parser.add_argument("--sweep", action="store_true", help="measure sequential propagation too")
    parser.add_argument("--sharing", action="store_true", help="only how well retrieval does")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    bundle = Bundle(args.bundle, args.threads)
    report = {}
    for name in args.protocols.split(","):
        start = time.time()
        exemplars, targets = protocol(args.data, name)
        if args.quick:
            targets = targets[: QUICK[name.rsplit("-", 1)[0]]]
        if args.sharing:
            report[name] = sharing(bundle, exemplars, targets, args.exemplars)
            print(name, report[name])
            continue
        scores = measure(bundle, exemplars, targets, args)
        report[name] = {}
        for stage, labels in scores.items():
            means = {label: float(np.mean(values)) for label, values in labels.items()}
            mean = float(np.mean(list(means.values())))
            report[name][stage] = {"mean": mean} | means
            if not args.json:
                text = "  ".join(f"{label} {value:.3f}" for label, value in means.items())
                print(f"{name:9s} {stage:16s} {mean:.3f}  ({text})", flush=True)
        if not args.json:
            print(f"{name:9s} {time.time() - start:.0f} s", flush=True)
    if args.json:
        print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
