"""What a result is worth, slice by slice (docs/api.md, "Confidence")."""

from typing import Any, Dict, List, NamedTuple, Optional, Sequence

import numpy as np

from .geometry import Grid

# Dark blue over green to yellow: lightness alone tells them apart, in a dark room and with any colour vision.
LOW, MIDDLE, HIGH = np.array([68, 1, 84]), np.array([33, 145, 140]), np.array([253, 231, 37])
FLAG = (255, 96, 0)
UNKNOWN = (64, 64, 64)


class SliceConfidence(NamedTuple):
    """A slice's confidence, 0 to 1; None where the server told none. `review`: look at it first."""

    confidence: Optional[float]
    review: bool


def of_result(job: Dict[str, Any], provenance: Optional[Sequence[Dict[str, Any]]], grid: Grid,
              label: Optional[str] = None) -> List[SliceConfidence]:
    """For each slice of the grid the lowest confidence among its labels, or that of one label.

    Without provenance the slices for review are known all the same: they stand in the job.
    """
    index_of = grid.index_of()
    lowest: List[Optional[float]] = [None] * len(grid.slices)
    review = [False] * len(grid.slices)

    def tell(one: Dict[str, Any], for_review: bool) -> None:
        at = index_of.get((one["sop_instance"], one["frame"]))
        if at is None:
            return
        before = lowest[at]
        lowest[at] = one["confidence"] if before is None else min(before, one["confidence"])
        review[at] = review[at] or for_review

    for one in provenance or []:
        if label in (None, one["label"]):
            tell(one, bool(one.get("review")))
    for of_label in job["result"]["labels"]:
        if label in (None, of_label["label"]):
            for one in of_label.get("review") or []:
                tell(one, True)
    return [SliceConfidence(*one) for one in zip(lowest, review)]


def flagged(slices: Sequence[SliceConfidence]) -> List[int]:
    """Indices of the slices for review, the least certain first."""
    found = [index for index, one in enumerate(slices) if one.review]
    return sorted(found, key=lambda index: slices[index].confidence or 0.0)


def strip(slices: Sequence[SliceConfidence], width: int, height: int, shown: Optional[int] = None) -> np.ndarray:
    """A picture `[row, column, RGB]` of `height` x `width` pixels, slices from left to right: colour is confidence, a mark
    at the lower edge is for review, a white column is the slice on show."""
    picture = np.zeros((height, width, 3), np.uint8)
    columns = np.minimum(np.arange(width) * len(slices) // max(width, 1), len(slices) - 1)
    picture[:] = np.array([colour(one.confidence) for one in slices], np.uint8)[columns]
    marks = np.array([one.review for one in slices])[columns]
    picture[-max(2, height // 4):, marks] = FLAG
    if shown is not None:
        picture[:, np.flatnonzero(columns == shown)[:2]] = 255
    return picture


def ppm(picture: np.ndarray) -> bytes:
    """The picture as a file that Qt reads (PPM, binary)."""
    height, width, _ = picture.shape
    return f"P6 {width} {height} 255\n".encode() + picture.astype(np.uint8).tobytes()


def slice_at(x: float, width: int, count: int) -> int:
    """The slice at a place of the strip."""
    return int(np.clip(x * count // max(width, 1), 0, count - 1))


def colour(confidence: Optional[float]) -> tuple:
    if confidence is None:
        return UNKNOWN
    value = float(np.clip(confidence, 0, 1)) * 2
    low, high = (LOW, MIDDLE) if value < 1 else (MIDDLE, HIGH)
    return tuple(int(one) for one in np.rint(low + (high - low) * (value if value < 1 else value - 1)))
