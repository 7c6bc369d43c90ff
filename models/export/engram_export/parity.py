"""Cases for the parity check: what the official SAM 2 predictor answers, with a bundle's weights.

Writes DIR/bundle and DIR/cases/NAME/{case.json, images.f32, masks.u8, logits.f32}; README.md says
what is in them. Needs requirements-parity.txt.
"""

import argparse
import json
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from engram_export.boost import boost, sequence_seed, sequences
from engram_export.bundle import Inexact, replace, write_bundle
from engram_export.configs import SAM_NAMES, STRIDE, TINY_TEST, sizes
from engram_export.oracle import FAULTS, Oracle, faulty, oracle
from engram_export.synthetic import sequence
from engram_export.weights import Unusable, load_dino, load_sam

STABLE = 0.98  # the stability below which a single mask gives way to the best of the three


@dataclass
class Drawn:
    """The sequence a case runs on, and prompts that suit it."""

    images: np.ndarray  # [F, 3, S, S]
    masks: list[np.ndarray]  # of each object, [F, S, S]

    def inside(self, obj: int, frame: int, part: float = 0.5) -> list[float]:
        """A pixel (x, y) of the object; `part` of the way through its pixels, row by row."""
        rows, columns = np.nonzero(self.masks[obj - 1][frame])
        place = int(part * (len(rows) - 1))
        return [float(columns[place]), float(rows[place])]

    def outside(self, obj: int, frame: int, part: float = 0.5) -> list[float]:
        """A pixel (x, y) beside the object."""
        rows, columns = np.nonzero(self.masks[obj - 1][frame] == 0)
        place = int(part * (len(rows) - 1))
        return [float(columns[place]), float(rows[place])]

    def box(self, obj: int, frame: int) -> list[float]:
        """Left, top, right and bottom of the object."""
        rows, columns = np.nonzero(self.masks[obj - 1][frame])
        return [float(v) for v in (columns.min(), rows.min(), columns.max(), rows.max())]


def given(obj: int, *frames: int) -> Callable[[Drawn], list[dict]]:
    """The object's own mask on each of these slices."""
    return lambda d: [
        {"kind": "add_mask", "frame": f, "object": obj, "mask": d.masks[obj - 1][f]} for f in frames
    ]


def empty(obj: int, frame: int) -> Callable[[Drawn], list[dict]]:
    """A mask without a pixel."""
    return lambda d: [
        {
            "kind": "add_mask",
            "frame": frame,
            "object": obj,
            "mask": np.zeros_like(d.masks[obj - 1][frame]),
        }
    ]


def clicks(
    obj: int, frame: int, signs: str, *, box: bool = False, keep: bool = False, start: float = 0.3
) -> Callable[[Drawn], list[dict]]:
    """One event with a click for each of `signs` (+ inside, - beside), and a box if wanted.

    `keep`: added to the clicks that are there already.
    """

    def events(d: Drawn) -> list[dict]:
        parts = [(start + 0.17 * i) % 1 for i in range(len(signs))]
        points = [
            d.inside(obj, frame, part) if sign == "+" else d.outside(obj, frame, part)
            for sign, part in zip(signs, parts, strict=True)
        ]
        return [
            {
                "kind": "add_points",
                "frame": frame,
                "object": obj,
                "points": points,
                "labels": [int(sign == "+") for sign in signs],
                "box": d.box(obj, frame) if box else None,
                "clear_old": not keep,
            }
        ]

    return events


def propagate(start: int, reverse: bool = False) -> Callable[[Drawn], list[dict]]:
    """Tracks every object from a slice to the last one, or to the first one."""
    return lambda d: [{"kind": "propagate", "start": start, "reverse": reverse}]


@dataclass
class Case:
    """A sequence of so many slices and what happens to it."""

    name: str
    about: str
    frames: int
    events: list[Callable[[Drawn], list[dict]]]


FULL = [
    Case("forward", "one mask, tracked forward", 8, [given(1, 0), propagate(0)]),
    Case(
        "forward-long",
        "more slices than pointers are kept; distances beyond the divisor",
        22,
        [given(1, 0), propagate(0)],
    ),
    Case(
        "reverse",
        "one mask on the last slice, tracked backward",
        9,
        [given(1, 8), propagate(8, True)],
    ),
    Case(
        "reverse-long",
        "tracked backward over more slices than pointers are kept",
        19,
        [given(1, 18), propagate(18, True)],
    ),
    Case(
        "both-ways",
        "one mask in the middle, forward, then backward past what was tracked forward",
        12,
        [given(1, 5), propagate(5), propagate(5, True)],
    ),
    Case(
        "backward-then-forward",
        "the same, the other way about",
        12,
        [given(1, 6), propagate(6, True), propagate(6)],
    ),
    Case(
        "two-objects",
        "two objects, the second one given later",
        9,
        [given(1, 0), given(2, 2), propagate(0)],
    ),
    Case(
        "three-objects",
        "three objects at once, forward and backward",
        8,
        [given(1, 3), given(2, 3), given(3, 3), propagate(3), propagate(3, True)],
    ),
    *[
        Case(
            f"conditioning-{count}",
            f"{count} given masks, before and after the tracked slices",
            20,
            [given(1, *sorted((7 * i + 2) % 20 for i in range(count))), propagate(0)],
        )
        for count in (2, 5, 9, 14)
    ],
    Case(
        "conditioning-unsorted",
        "three masks, given in another order than they lie in",
        10,
        [given(1, 6, 2, 8), propagate(2), propagate(8, True)],
    ),
    Case(
        "empty-conditioning",
        "a mask and, later, an empty one",
        10,
        [given(1, 0), empty(1, 4), propagate(0)],
    ),
    Case("empty-only", "nothing but an empty mask", 5, [empty(1, 0), propagate(0)]),
    Case(
        "no-pointers",
        "given masks lie ahead only: the first slices have no pointer in the past",
        9,
        [given(1, 5, 7), propagate(0)],
    ),
    Case(
        "no-pointers-reverse",
        "the same, backward",
        9,
        [given(1, 1), propagate(8, True)],
    ),
    Case(
        "one-slice",
        "clicks on the only slice",
        1,
        [clicks(1, 0, "+"), clicks(1, 0, "-", keep=True), clicks(2, 0, "", box=True)],
    ),
    Case("two-slices", "the divisor of distances is 1", 2, [given(1, 0), propagate(0)]),
    Case(
        "three-slices",
        "one mask in the middle, both ways",
        3,
        [given(1, 1), propagate(1), propagate(1, True)],
    ),
    Case("sixteen", "as many slices as pointers are kept", 16, [given(1, 0), propagate(0)]),
    Case("start-later", "tracking starts away from the mask", 9, [given(1, 0), propagate(4)]),
    Case("click", "one click, tracked", 7, [clicks(1, 0, "+"), propagate(0)]),
    Case("click-background", "one click beside the object", 4, [clicks(1, 0, "-"), propagate(0)]),
    Case("box", "a box, tracked", 7, [clicks(1, 0, "", box=True), propagate(0)]),
    Case(
        "box-and-clicks",
        "a box with clicks, then another click",
        6,
        [clicks(1, 1, "+-", box=True), clicks(1, 1, "-", keep=True, start=0.8), propagate(0)],
    ),
    Case(
        "clicks",
        "clicks one after another, and several at once, on two slices",
        8,
        [
            clicks(1, 0, "+"),
            clicks(1, 0, "-", keep=True, start=0.5),
            clicks(1, 0, "+", keep=True, start=0.7),
            clicks(1, 5, "++-"),
            propagate(0),
        ],
    ),
    Case(
        "clicks-anew",
        "clicks that replace earlier ones",
        5,
        [clicks(1, 0, "+-"), clicks(1, 0, "++", start=0.6), clicks(1, 0, "+"), propagate(0)],
    ),
    Case("many-clicks", "twelve clicks at once", 3, [clicks(1, 0, "++-+-+-++--+"), propagate(0)]),
    Case(
        "click-over-mask",
        "a click on a slice whose mask was given",
        5,
        [given(1, 0), clicks(1, 0, "-"), propagate(0)],
    ),
    Case(
        "mask-over-click",
        "a mask for a slice that was clicked",
        5,
        [clicks(1, 0, "+-"), given(1, 0), propagate(0)],
    ),
    Case(
        "corrected",
        "tracked, corrected by clicks on one slice, tracked again",
        10,
        [
            given(1, 0),
            propagate(0),
            clicks(1, 4, "+"),
            clicks(1, 4, "-", keep=True, start=0.6),
            propagate(0),
        ],
    ),
    Case(
        "corrected-reverse",
        "the same backward, then forward from the correction",
        10,
        [
            given(1, 9),
            propagate(9, True),
            clicks(1, 5, "-+"),
            propagate(9, True),
            propagate(5),
        ],
    ),
    Case(
        "corrected-twice",
        "two slices corrected, one of them again after it had become a memory",
        9,
        [
            given(1, 0),
            propagate(0),
            clicks(1, 3, "+-"),
            clicks(1, 6, "", box=True),
            propagate(0),
            clicks(1, 3, "-", keep=True, start=0.1),
            propagate(0),
        ],
    ),
    Case(
        "corrected-by-mask",
        "tracked, then a mask given for a tracked slice",
        8,
        [given(1, 0), propagate(0), given(1, 4), propagate(0)],
    ),
    Case(
        "corrected-one-of-two",
        "two objects, one of them corrected",
        7,
        [given(1, 0), given(2, 0), propagate(0), clicks(2, 3, "+-"), propagate(0)],
    ),
    Case(
        "corrected-long",
        "a correction with a full queue of recent memories and pointers",
        20,
        [given(1, 0, 3), propagate(0), clicks(1, 17, "+-+"), propagate(0), propagate(17, True)],
    ),
    Case(
        "everything",
        "a mask, an empty mask, a box, clicks and a correction, two objects, both ways",
        12,
        [
            given(1, 2),
            empty(1, 10),
            clicks(2, 3, "+", box=True),
            propagate(2),
            clicks(1, 7, "-+"),
            propagate(7),
            propagate(7, True),
        ],
    ),
]

SAMPLE = [
    Case("forward", "one mask, tracked forward", 4, [given(1, 0), propagate(0)]),
    Case(
        "clicks-and-correction",
        "a box, tracked backward, corrected by clicks, tracked again",
        3,
        [
            clicks(1, 2, "", box=True),
            propagate(2, True),
            clicks(1, 1, "+-"),
            propagate(2, True),
        ],
    ),
    Case(
        "conditioning-3",
        "a mask, a click and an empty mask; no pointer in the past at first",
        4,
        [given(1, 1), clicks(1, 2, "+"), empty(1, 3), propagate(0)],
    ),
]
CASES = {"full": FULL, "sample": SAMPLE}
MISTAKEN = {"full": ("forward-long", "corrected", "empty-conditioning"), "sample": ("forward",)}


@dataclass
class Answers:
    """What the predictor answered in a case, event by event."""

    events: list[dict]
    masks: list[np.ndarray] = field(default_factory=list)  # given, [S, S]
    logits: list[np.ndarray] = field(default_factory=list)  # answered, [m, m]
    scores: list[float] = field(default_factory=list)  # for each of `logits`
    computed: list[bool] = field(default_factory=list)  # and not merely a given mask

    def keep(self, out: dict, computed: bool) -> dict:
        """Keeps a stored output and says where."""
        score = float(out["object_score_logits"])
        self.logits.append(out["pred_masks"][0, 0].float().numpy())
        self.scores.append(score)
        self.computed.append(computed)
        return {"logits": len(self.logits) - 1, "object_score": score}


def draw(case: Case, size: int, seed: int) -> Drawn:
    """One of the sequences that the weights are balanced on, as long as the case wants it."""
    number = sum(case.name.encode()) % sequences(size)
    return Drawn(*sequence(sequence_seed(seed, number), case.frames, size))


def run(predictor: Oracle, drawn: Drawn, events: list[dict]) -> Answers:
    """Drives the predictor through the events."""
    answers = Answers([])
    state = predictor.begin(torch.from_numpy(drawn.images))
    masked = set()  # (object, slice) whose last prompt was a mask
    for event in events:
        event = dict(event)
        kind = event["kind"]
        if kind == "propagate":
            event["steps"] = list(tracked(predictor, state, event, answers, masked))
        else:
            frame, obj = event["frame"], event["object"]
            if kind == "add_mask":
                mask = event.pop("mask")
                event["mask"] = len(answers.masks)
                answers.masks.append(mask)
                predictor.add_new_mask(state, frame, obj, torch.from_numpy(mask).bool())
                masked.add((obj, frame))
            else:
                predictor.add_new_points_or_box(
                    state,
                    frame,
                    obj,
                    points=event["points"] or None,
                    labels=event["labels"] or None,
                    box=event["box"],
                    clear_old_points=event["clear_old"],
                )
                masked.discard((obj, frame))
            out = predictor.output(state, obj, frame)
            event["answer"] = answers.keep(out, kind == "add_points") | looked(predictor)
        answers.events.append(event)
    return answers


def tracked(
    predictor: Oracle, state: dict, event: dict, answers: Answers, masked: set
) -> Iterator[dict]:
    """The steps of one propagation, objects in the order in which they were first prompted."""
    looks: list[dict] = []
    single = predictor._run_single_frame_inference

    def noting(*args, **options):
        result = single(*args, **options)
        looks.append(looked(predictor))
        return result

    predictor._run_single_frame_inference = noting
    try:
        for frame, _, _ in predictor.propagate_in_video(
            state, event["start"], None, event["reverse"]
        ):
            for obj in state["obj_ids"]:
                index = state["obj_id_to_idx"][obj]
                known = frame in state["output_dict_per_obj"][index]["cond_frame_outputs"]
                kept = answers.keep(predictor.output(state, obj, frame), (obj, frame) not in masked)
                seen = {} if known else looks.pop(0)
                yield {"frame": frame, "object": obj, "conditioning": known} | kept | seen
    finally:
        del predictor._run_single_frame_inference


def looked(predictor: Oracle) -> dict:
    """How many memories the last call attended to, its pointers' distances, and the stability."""
    seen = predictor.seen
    return {
        "memories": seen.memories,
        "distances": seen.distances,
        "stability": seen.stability,
    }


def write(case: Case, drawn: Drawn, answers: Answers, predictor: Oracle, folder: Path) -> None:
    """Writes one case."""
    folder.mkdir(parents=True)
    logits = np.stack(answers.logits)
    size = drawn.images.shape[-1]
    masks = np.stack(answers.masks) if answers.masks else np.zeros((0, size, size), np.uint8)
    arrays = {
        "images.f32": drawn.images.astype("<f4"),
        "masks.u8": masks.astype("u1"),
        "logits.f32": logits.astype("<f4"),
    }
    for name, values in arrays.items():
        (folder / name).write_bytes(values.tobytes())
    text = {
        "format": 1,
        "name": case.name,
        "about": case.about,
        "image_size": size,
        "mask_size": logits.shape[-1],
        "frames": case.frames,
        "images": {"file": "images.f32", "shape": list(drawn.images.shape)},
        "masks": {"file": "masks.u8", "shape": list(masks.shape)},
        "logits": {"file": "logits.f32", "shape": list(logits.shape)},
        "corrected_is_conditioning": predictor.add_all_frames_to_correct_as_cond,
        "events": answers.events,
    }
    (folder / "case.json").write_text(json.dumps(text, indent=1), encoding="utf-8")


@dataclass
class Balance:
    """What the masks and scores of some computed slices are like."""

    coverage: list[float] = field(default_factory=list)  # of slices on which the object is there
    there: list[bool] = field(default_factory=list)
    stability: list[float] = field(default_factory=list)  # of single masks

    def add(self, answers: Answers) -> None:
        for event in answers.events:
            for seen in [event.get("answer", {}), *event.get("steps", [])]:
                if seen.get("stability") is not None:
                    self.stability.append(seen["stability"])
        rows = zip(answers.logits, answers.scores, answers.computed, strict=True)
        for logits, score, computed in rows:
            if computed:
                self.there.append(score > 0)
                if score > 0:
                    self.coverage.append(float((logits > 0).mean()))

    def __str__(self) -> str:
        if not self.there:
            return "nothing computed"
        share = 100 * sum(self.there) / len(self.there)
        text = f"{len(self.there):4d} slices, object there on {share:3.0f} %"
        if self.coverage:
            good = 100 * sum(0.05 <= c <= 0.95 for c in self.coverage) / len(self.coverage)
            text += (
                f", covers {100 * min(self.coverage):3.0f} to {100 * max(self.coverage):3.0f} %"
                f" ({good:3.0f} % of them within 5 to 95 %)"
            )
        if self.stability:
            unstable = sum(score < STABLE for score in self.stability)
            text += f", {unstable} of {len(self.stability)} single masks unstable"
        return text


def sensitivity(predictor: Oracle, case: Case, size: int, seed: int, faults: list[str]) -> None:
    """Prints what each mistake would do to a case's logits, as a share of a slice's largest one."""
    drawn = draw(case, size, seed)
    events = [event for make in case.events for event in make(drawn)]
    want = run(predictor, drawn, events)
    for fault in faults:
        changed = Drawn(drawn.images, drawn.masks)
        if fault == "noise":
            noise = np.random.default_rng(seed).normal(0, 1e-6, drawn.images.shape)
            changed = Drawn((drawn.images + noise).astype(np.float32), drawn.masks)
        with faulty(predictor, fault):
            got = run(predictor, changed, events)
        shares, flipped = [], 0
        rows = zip(want.logits, got.logits, want.scores, got.scores, want.computed, strict=True)
        for one, other, score, other_score, computed in rows:
            if not computed:
                continue
            if (score > 0) != (other_score > 0):
                flipped += 1
            elif score > 0:
                shares.append(float(np.abs(one - other).max() / np.abs(one).max()))
        touched = [s for s in shares if s > 0]
        print(
            f"  {fault:18s} {np.median(shares) if shares else 0:.1e} median, "
            f"{max(shares, default=0):.1e} most, {len(touched)} of {len(shares)} slices changed, "
            f"presence flipped on {flipped}   ({FAULTS[fault]})",
            flush=True,
        )


@contextmanager
def whole(out: Path, force: bool) -> Iterator[Path]:
    """A scratch folder that becomes `out` if all goes well."""
    if out.exists() and not force:
        raise Unusable(f"{out} is there already: remove it, or add --force")
    out.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        yield scratch
        scratch.chmod(0o755)
        replace(scratch, out)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise


def write_all(args: argparse.Namespace, command: str) -> None:
    """The bundle, the cases, and what they are like."""
    size = sizes(args.config, TINY_TEST, args.size)
    sam = load_sam(args.config, None, size.image, args.seed)
    print("weights", flush=True)
    boost(sam.model, args.seed)
    dino = load_dino(TINY_TEST, args.seed)
    with whole(args.out, args.force) as scratch:
        print("bundle", flush=True)
        write_bundle(
            sam.model,
            dino.model,
            size.retrieval,
            scratch / "bundle",
            name=f"parity-{args.config.split('/')[-1]}-{size.image}",
            source=f"{sam.source}, boosted; {dino.source}",
            made_by=command,
            say=lambda line: print("  " + line, flush=True),
        )
        predictor = oracle(sam.model)
        total = Balance()
        print("cases", flush=True)
        for case in CASES[args.cases]:
            if args.only and case.name not in args.only:
                continue
            drawn = draw(case, size.image, args.seed)
            events = [event for make in case.events for event in make(drawn)]
            answers = run(predictor, drawn, events)
            write(case, drawn, answers, predictor, scratch / "cases" / case.name)
            here = Balance()
            here.add(answers)
            total.add(answers)
            print(f"  {case.name:22s} {here}", flush=True)
        print(f"  {'all':22s} {total}", flush=True)
        if args.mistakes or (args.mistakes is None and args.cases == "full"):
            for case in CASES[args.cases]:
                if case.name in MISTAKEN[args.cases]:
                    print(f"mistakes, in {case.name}", flush=True)
                    sensitivity(predictor, case, size.image, args.seed, list(FAULTS))


def main(argv: list[str] | None = None) -> None:
    argv = sys.argv[1:] if argv is None else argv
    p = argparse.ArgumentParser(prog="python -m engram_export.parity", description=__doc__)
    p.add_argument("--config", choices=SAM_NAMES, default=TINY_TEST)
    p.add_argument("--size", type=int, help="side of the image in pixels (128 or 1024)")
    p.add_argument("--seed", type=int, default=7)
    p.add_argument("--cases", choices=CASES, default="full")
    p.add_argument("--only", nargs="+", metavar="NAME", help="only these cases")
    p.add_argument(
        "--mistakes",
        action=argparse.BooleanOptionalAction,
        help="show what mistakes would do to some cases (with --cases full, unless refused)",
    )
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--force", action="store_true", help="replace --out if it is there")
    p.add_argument("--threads", type=int, help="CPU threads")
    args = p.parse_args(argv)
    if args.size and args.size % (2 * STRIDE):
        p.error(f"--size {args.size} is no multiple of {2 * STRIDE}")
    if args.threads:
        torch.set_num_threads(args.threads)
    try:
        write_all(args, "python -m engram_export.parity " + shlex.join(argv))
    except (Unusable, Inexact) as error:
        sys.exit(f"engram_export.parity: {error}")


if __name__ == "__main__":
    main()
