"""From a volume and exemplars to a label volume."""

from dataclasses import dataclass, field

import numpy as np
from beliefs import Belief, Found, Predictions, agreed
from bundle import MOST_ROWS, Bundle
from exemplars import GIVEN_SCORE, Bank, scaled
from squares import components, enlarge, sigmoid
from volume import SLICES_A_CALL, Features, Memories, View, Volume, chunks, pick

Array = np.ndarray
NEAREST_GIVEN = 4
REMEMBERED_IOU, REMEMBERED_SHARE = 0.5, 0.7
RECENT, ROUNDS, CLOSE_LOOKS = 3, 1, 2
KEEP_COMPONENT = 0.2


@dataclass
class Job:
    """A slice with its exemplars, and slices of its own volume: those whose memories count with
    their temporal indices, those whose pointers count with their distances."""

    slice: int
    exemplars: Array
    recent: list[tuple[int, int]] = field(default_factory=list)
    pointed: list[tuple[int, int]] = field(default_factory=list)


class Segmenter:
    def __init__(self, bundle: Bundle, bank: Bank, voxels: Array):
        self.bundle, self.bank = bundle, bank
        self.volume = Volume(bundle, voxels)
        self.features = Features(self.volume)
        self.count = self.volume.count
        memory = bundle.memory
        room = bundle.most_memories() - NEAREST_GIVEN - memory["recent_memories"]
        exemplars = max(min(memory["exemplars_per_slice"], room), 1)
        self.selection = bank.select(self.volume.vectors(), exemplars)
        self.recent = min(RECENT, memory["recent_memories"])
        used = bundle.pointers["used"]
        self.recent_pointers = bundle.pointers["most"] - 1 if used else 0
        self.trail = Memories.empty(bundle, self.count)
        self.scratch = np.empty(0, np.float32)
        self.no_prompts: dict[str, Array] | None = None

    def segment(self) -> Array:
        """1 where the label is, 0 elsewhere."""
        view = View(self.volume.whole())
        everywhere = np.ones(self.count, bool)
        first = self.first_pass(view, self.bank.whole, everywhere)
        visits = self.propagate(view, first)
        whole = Belief.fused(view.letterbox, first, visits)
        found = Found(whole, self.volume.native)
        for _ in range(CLOSE_LOOKS):
            letterbox = found.closer(self.bundle)
            if letterbox is None:
                break
            view = View(letterbox)
            first = self.first_pass(view, self.bank.close, found.present)
            found.add(Belief.fused(letterbox, first, []))
        return components(agreed(found, self.volume.unit), KEEP_COMPONENT).astype(np.uint8)

    # Predictions

    def job(self, slice: int, memories: Memories) -> Job | None:
        exemplars = self.selection[slice]
        exemplars = exemplars[memories.known[exemplars]]
        return Job(slice, exemplars) if len(exemplars) else None

    def first_pass(self, view: View, memories: Memories, wanted: Array) -> Predictions:
        found = Predictions.empty(self.bundle, self.count)
        for slices in chunks(np.arange(self.count), SLICES_A_CALL):
            jobs = [self.job(slice, memories) for slice in slices[wanted[slices]].tolist()]
            self.predict(view, memories, [job for job in jobs if job], found)
        return found

    def predict(self, view: View, memories: Memories, jobs: list[Job], found: Predictions):
        """Jobs with the same temporal indices and distances share calls."""
        bundle = self.bundle
        time = bundle.memory["conditioning_tpos"]
        distance = bundle.pointers.get("exemplar_distance", 1)
        groups: dict[tuple, list[Job]] = {}
        for job in jobs:
            times = [time] * len(job.exemplars) + [t for _, t in job.recent]
            distances = [distance] * len(job.exemplars) + [d for _, d in job.pointed]
            groups.setdefault((tuple(times), tuple(distances)), []).append(job)
        for (times, distances), members in sorted(groups.items(), key=lambda group: group[0]):
            for some in chunks(members, bundle.rows_at_once(len(times))):
                self.call(view, memories, some, times, distances, found)

    def call(self, view, memories, jobs: list[Job], times, distances, found: Predictions) -> None:
        bundle, slices = self.bundle, [job.slice for job in jobs]
        embed, high_res_0, high_res_1 = self.features.fetch(view, slices)
        shared = {"tpos_idx": np.array(times, np.int64)}
        rows = {"image_embed": embed, "memories": self.gather(memories, jobs, len(times))}
        names = ["masks", "iou", "object_score"]
        if bundle.pointers["used"]:
            divisor = max(min(self.count, bundle.pointers["most"]) - 1, 1)
            shared["ptr_tdiff"] = np.array(distances, np.float32) / np.float32(divisor)
            rows["obj_ptrs"] = np.stack([
                np.concatenate([
                    memories.pointers[job.exemplars],
                    self.trail.pointers[[slice for slice, _ in job.pointed]],
                ])
                for job in jobs
            ])  # fmt: skip
            names.append("obj_ptr")
        (cond,) = bundle.run("memory_attention", ["cond_embed"], shared, **rows)
        masks, iou, score, *pointers = bundle.run(
            "mask_decoder", names, {},
            cond_embed=cond, high_res_0=high_res_0, high_res_1=high_res_1,
            **self.prompts(len(jobs)),
        )  # fmt: skip
        tokens = 1 + iou[:, 1:].argmax(1) if iou.shape[1] > 1 else np.zeros(len(jobs), int)
        each, score = np.arange(len(jobs)), score[:, 0]
        found.logits[slices] = masks[each, tokens]
        found.iou[slices], found.score[slices], found.known[slices] = iou[each, tokens], score, True
        absent = np.array(slices)[score <= 0]
        if (logit := bundle.memory.get("absent_logit")) is not None:
            found.logits[absent] = logit
        if pointers:
            found.pointers[slices] = pointers[0][each, tokens]
            found.pointers[absent] = bundle.no_pointer

    def gather(self, memories: Memories, jobs: list[Job], count: int) -> Array:
        """[jobs, count, M, h, h], in a buffer that is used again."""
        shape = (len(jobs), count, *memories.features.shape[1:])
        size = int(np.prod(shape))
        if self.scratch.size < size:
            self.scratch = np.empty(size, np.float32)
        gathered = self.scratch[:size].reshape(shape)
        for row, job in zip(gathered, jobs, strict=True):
            exemplars = len(job.exemplars)
            np.take(memories.features, job.exemplars, 0, out=row[:exemplars], mode="clip")
            for slot, (slice, _) in zip(row[exemplars:], job.recent, strict=True):
                slot[...] = self.trail.features[slice]
        return gathered

    def prompts(self, rows: int) -> dict[str, Array]:
        """What the prompt encoder says where nobody pointed."""
        if not self.bundle.prompts["used"]:
            return {}
        if self.no_prompts is None:
            side = self.bundle.sizes["mask_size"]
            sparse, dense = self.bundle.run(
                "prompt_encoder", ["sparse", "dense"], {},
                points=np.zeros((1, 1, 2), np.float32), labels=np.full((1, 1), -1, np.int64),
                mask_input=np.zeros((1, 1, side, side), np.float32),
                has_mask=np.zeros((1, 1), np.float32),
            )  # fmt: skip
            self.no_prompts = {
                "sparse": np.tile(sparse, (MOST_ROWS, 1, 1)),
                "dense": np.tile(dense, (MOST_ROWS, 1, 1, 1)),
            }
        return {name: prompt[:rows] for name, prompt in self.no_prompts.items()}

    # Propagation

    def propagate(self, view: View, first: Predictions) -> list[Predictions]:
        """Outwards from the surest slice, then every slice with both its sides."""
        there = first.known & (first.score > 0)
        best = first.iou[there].max(initial=0)
        gate = min(REMEMBERED_IOU, REMEMBERED_SHARE * best)
        outwards = Predictions.empty(self.bundle, self.count)
        areas = np.array([
            np.count_nonzero(logits > 0) if known else 0
            for logits, known in zip(first.logits, first.known, strict=True)
        ], np.float32)  # fmt: skip
        surety = np.where(first.known, sigmoid(first.score) * first.iou * areas**0.25, 0)
        start = self.count - 1 - int(surety[::-1].argmax())
        if first.known[start]:
            self.remember(view, first, [start], gate)
        for away in range(1, max(start, self.count - 1 - start) + 1):
            sides = [(start - away, "after"), (start + away, "before")]
            places = [(slice, side) for slice, side in sides if 0 <= slice < self.count]
            self.visit(view, places, outwards, gate)
        visits = [outwards]
        for left in reversed(range(ROUNDS)):
            again = Predictions.empty(self.bundle, self.count)
            for slices in chunks(range(self.count), SLICES_A_CALL):
                jobs = self.jobs_of([(slice, "both") for slice in slices])
                self.predict(view, self.bank.whole, jobs, again)
            if left:
                self.remember(view, again, np.flatnonzero(again.known).tolist(), gate)
            visits.append(again)
        return visits

    def visit(self, view: View, places: list, found: Predictions, gate: float) -> None:
        jobs = self.jobs_of(places)
        self.predict(view, self.bank.whole, jobs, found)
        self.remember(view, found, [job.slice for job in jobs], gate)

    def jobs_of(self, places: list[tuple[int, str]]) -> list[Job]:
        """Of slices that have anything near to remember."""
        jobs = []
        for slice, side in places:
            near = self.near(slice, side)
            recent = [place for place in near if place[1] <= self.recent][: self.recent]
            job = self.job(slice, self.bank.whole)
            if job and recent:
                # The farthest first; a slice next to this one has temporal index 0.
                job.recent = [(other, steps - 1) for other, steps in reversed(recent)]
                job.pointed = near[: self.recent_pointers]
                jobs.append(job)
        return jobs

    def near(self, slice: int, side: str) -> list[tuple[int, int]]:
        """Remembered slices and how far away they are, the nearest first."""
        most = max(self.recent, self.recent_pointers)
        signs = {"before": (-1,), "after": (1,), "both": (-1, 1)}[side]
        around = [(slice + sign * steps, steps) for steps in range(1, most + 1) for sign in signs]
        known = self.trail.known
        return [(s, steps) for s, steps in around if 0 <= s < self.count and known[s]][:most]

    def remember(self, view: View, found: Predictions, slices: list[int], gate: float) -> None:
        """What is surely there."""
        bundle = self.bundle
        worthy = [
            s for s in slices
            if found.score[s] > 0 and found.iou[s] >= gate and found.logits[s].max() > 0
        ]  # fmt: skip
        for some in chunks(worthy, MOST_ROWS):
            embed = self.features.fetch(view, some)[0]
            masks = enlarge(pick(found.logits, some), bundle.input["image_size"])
            if bundle.memory["binarise_predicted"]:
                masks = (masks > 0).astype(np.float32)
            else:
                masks = sigmoid(masks)
            scores = np.clip(found.score[some], -GIVEN_SCORE, GIVEN_SCORE)[:, None]
            (features,) = bundle.run(
                "memory_encoder", ["memory"], {},
                image_embed=embed, mask_for_mem=scaled(masks, bundle.memory)[:, None],
                object_score=scores,
            )  # fmt: skip
            self.trail.put(some, features, found.pointers[some])
