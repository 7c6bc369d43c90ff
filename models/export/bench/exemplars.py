"""What annotated volumes teach, and which of their slices condition a slice of the target."""

from dataclasses import dataclass

import numpy as np
from bundle import Bundle
from squares import Letterbox, box, enlarge, reduce, square_around
from volume import SLICES_A_CALL, Memories, Volume, chunks, pick

Array = np.ndarray
GIVEN_SCORE = 10.0
CANDIDATES, STUDY_SHARE, STUDY_WEIGHT = 4, 1.5, 0.5


def half(memories: Array) -> Array:
    """Rounded as a bank stores them."""
    return memories.astype(np.float16).astype(np.float32)


@dataclass
class Study:
    """The annotated slices of a patient."""

    vectors: Array
    present: Array
    whole: Memories
    close: Memories


def remember_given(bundle: Bundle, levels: list[Array], masks: Array) -> tuple[Array, Array]:
    """Memories and pointers of drawn masks `[n, S, S]`, 0 or 1."""
    present = masks.any((1, 2))
    pointers = np.tile(bundle.no_pointer, (len(masks), 1))
    if bundle.pointers["used"] and present.any():
        rows = np.flatnonzero(present)
        embed, high_res_0, high_res_1 = (pick(level, rows) for level in levels)
        (prompt,) = bundle.run("mask_downsample", ["mask_prompt"], {}, mask=masks[rows, None])
        sparse, dense = bundle.run(
            "prompt_encoder", ["sparse", "dense"], {},
            points=np.zeros((len(rows), 1, 2), np.float32),
            labels=np.full((len(rows), 1), -1, np.int64),
            mask_input=prompt, has_mask=np.ones((len(rows), 1), np.float32),
        )  # fmt: skip
        scores, found = bundle.run(
            "mask_decoder", ["object_score", "obj_ptr"], {},
            cond_embed=embed, high_res_0=high_res_0, high_res_1=high_res_1,
            sparse=sparse, dense=dense,
        )  # fmt: skip
        there = scores[:, 0] > 0
        pointers[rows[there]] = found[there, 0]
    memory = bundle.memory
    if memory.get("given_through_mask_size"):
        kept = reduce(2 * GIVEN_SCORE * masks - GIVEN_SCORE, bundle.sizes["mask_size"])
        masks = (enlarge(kept, bundle.input["image_size"]) > 0).astype(np.float32)
    scores = np.where(present, GIVEN_SCORE, -GIVEN_SCORE).astype(np.float32)[:, None]
    (features,) = bundle.run(
        "memory_encoder", ["memory"], {},
        image_embed=levels[0], mask_for_mem=scaled(masks, memory)[:, None], object_score=scores,
    )  # fmt: skip
    return half(features), half(pointers)


def scaled(masks: Array, memory: dict) -> Array:
    scale, bias = np.float32(memory["mask_scale"]), np.float32(memory["mask_bias"])
    return masks if (scale, bias) == (1, 0) else masks * scale + bias


def encode_study(bundle: Bundle, voxels: Array, mask: Array) -> Study:
    """All slices, with the label and without."""
    volume = Volume(bundle, voxels)
    mask = (mask != 0).astype(np.float32)
    present = mask.any((1, 2))
    study = Study(
        volume.vectors(), present, *(Memories.empty(bundle, volume.count) for _ in range(2))
    )
    closer = None
    if present.any():
        size = bundle.input["image_size"]
        closer = square_around(*box(mask), volume.native, size, bundle.memory)
    whole = volume.whole()
    for slices in chunks(np.arange(volume.count), SLICES_A_CALL):
        levels = volume.encode(slices, whole)
        nothing = np.zeros((len(slices), whole.size, whole.size), np.float32)
        study.whole.put(slices, *remember_given(bundle, levels, nothing))
        shown = present[slices]
        if shown.any():
            some = [pick(level, np.flatnonzero(shown)) for level in levels]
            drawn = given_mask(bundle, whole, pick(mask, slices[shown]))
            study.whole.put(slices[shown], *remember_given(bundle, some, drawn))
        if closer:
            drawn = given_mask(bundle, closer, pick(mask, slices))
            levels = volume.encode(slices, closer)
            study.close.put(slices, *remember_given(bundle, levels, drawn))
    return study


def given_mask(bundle: Bundle, letterbox: Letterbox, mask: Array) -> Array:
    coverage = letterbox.apply(mask)
    if not bundle.memory["binarise_exemplar"]:
        return coverage
    return (coverage >= 0.5).astype(np.float32)


class Bank:
    """Studies, ready to be searched."""

    def __init__(self, studies: list[Study]):
        self.vectors = np.concatenate([study.vectors for study in studies])
        self.present = np.concatenate([study.present for study in studies])
        self.study = np.repeat(np.arange(len(studies)), [len(study.present) for study in studies])
        self.whole = Memories.joined([study.whole for study in studies])
        self.close = Memories.joined([study.close for study in studies])

    def select(self, vectors: Array, count: int) -> list[Array]:
        """The exemplars of every slice, the best first; none where none of them shows the label."""
        likeness = vectors @ self.vectors.T
        near = np.argsort(-likeness, axis=1, kind="stable")[:, : CANDIDATES * count]
        likeness = np.take_along_axis(likeness, near, 1)
        studies = self.study[near]
        ranks = likeness + np.float32(STUDY_WEIGHT) * self.leads(likeness, studies)[studies]
        order = np.argsort(-ranks, axis=1, kind="stable")
        near, studies = (np.take_along_axis(a, order, 1) for a in (near, studies))
        return [self.choose(ids, of, count) for ids, of in zip(near, studies, strict=True)]

    def leads(self, likeness: Array, studies: Array) -> Array:
        """How much more each study resembles the whole target than studies do on average."""
        best = np.full((len(likeness), self.study[-1] + 1), -np.inf, np.float32)
        np.maximum.at(best, (np.arange(len(likeness))[:, None], studies), likeness)
        seen = np.isfinite(best)
        times = seen.sum(0)
        means = np.where(seen, best, 0).sum(0) / np.maximum(times, 1)
        return (means - means[times > 0].mean()).astype(np.float32)

    def choose(self, ids: Array, studies: Array, count: int) -> Array:
        share = int(np.ceil(np.float32(STUDY_SHARE * count / len(np.unique(studies)))))
        taken = np.zeros(self.study[-1] + 1, int)
        chosen, spare = [], []
        for exemplar, study in zip(ids.tolist(), studies.tolist(), strict=True):
            if taken[study] < share and len(chosen) < count:
                taken[study] += 1
                chosen.append(exemplar)
            else:
                spare.append(exemplar)
        chosen = np.array(chosen + spare[: count - len(chosen)])
        return chosen if self.present[chosen].any() else chosen[:0]
