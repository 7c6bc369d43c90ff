"""What a person corrected: back to the server as an exemplar, or as prompts for the same volume."""

import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence

import numpy as np

from . import dicom_seg, upload
from .client import Client
from .dicom_seg import Authorship, Segment
from .errors import Cancelled, EngramError
from .geometry import Grid
from .jobs import POLL_SECONDS, Progress, Report, Stopped
from .target import Located

INGESTION_SECONDS = 600


class Taught(NamedTuple):
    """A SEG that was stored, and how many slices of it the server remembers."""

    sop_instance: str
    slices: int


def edited_slices(after: Sequence[Segment], before: Sequence[Segment]) -> List[int]:
    """Slices on which a label of `after` is not where it was `before`, where it may not have been at all.

    Labels are compared by their codes. Those that `after` lacks are not looked at: who hides one says nothing of it.
    """
    now, earlier = _by_code(after), _by_code(before)
    changed = [(mask != earlier.get(code, False)).any(axis=(1, 2)) for code, mask in now.items()]
    return np.flatnonzero(np.any(changed, axis=0)).tolist() if changed else []


def prompts(keys: Sequence[str], segments: Sequence[Segment], slices: Sequence[int], grid: Grid) -> List[Dict[str, Any]]:
    """The segments on these slices as mask prompts (docs/api.md); `keys` are their labels."""
    return [
        {"label": key, "sop_instance": grid.slices[at].sop_instance_uid, "frame": grid.slices[at].frame,
         "mask_runs": runs(segment.mask[at])}
        for key, segment in zip(keys, segments) for at in slices]


def runs(mask: np.ndarray) -> List[int]:
    """Lengths of runs along the rows, outside and inside by turns, outside first."""
    flat = mask.ravel()
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    lengths = np.diff(np.concatenate([[0], changes, [flat.size]])).tolist()
    return [0, *lengths] if flat[0] else lengths


def teach(
    client: Client, located: Located, segments: Sequence[Segment], authorship: Authorship,
    before: Sequence[bytes], edited_only: bool, report: Report, stopped: Stopped,
    sleep: Callable[[float], None] = time.sleep,
) -> Taught:
    """Stores the segments as a SEG that becomes exemplars, and waits until it has.

    `before` are the SEGs that a person corrected: then the SEG is SEMIAUTOMATIC; without one it is MANUAL. `edited_only`:
    of other slices than the edited ones it says nothing (`?partial=true`).
    """
    grid = located.grid
    earlier = [segment for content in before for segment in dicom_seg.read(content, grid)]
    kind = "SEMIAUTOMATIC" if before else "MANUAL"
    only = edited_slices(segments, earlier) if edited_only else None
    if only == []:
        raise EngramError("nothing_to_teach", "No slice was edited.", "Edit one, or teach all slices.")
    sop_instance, content = dicom_seg.write(
        grid, [one._replace(algorithm_type=kind) for one in segments], authorship, only_slices=only)
    parameters = {"partial": "true"} if edited_only else {}
    upload.send(client, [upload.bytes_part(content)], report, stopped, **parameters)
    return Taught(sop_instance, _remembered(client, located, sop_instance, report, stopped, sleep))


def _remembered(client: Client, located: Located, sop_instance: str, report: Report, stopped: Stopped, sleep) -> int:
    """Slices of the SEG that are exemplars, once its ingestion has ended."""
    deadline = time.monotonic() + INGESTION_SECONDS
    report(Progress("remember"))
    while time.monotonic() < deadline:
        found = [one for one in client.exemplars(series=located.series) if one["segmentation"] == sop_instance]
        if found:
            return len(found)
        _check_ingestion(next(iter(client.ingestions(located.series)), None), sop_instance)
        if stopped():
            raise Cancelled()
        sleep(POLL_SECONDS)
    raise EngramError("not_remembered", "The segmentation is stored, but the server has not made exemplars of it yet.",
                      "Wait, and look whether its labels have more cases; the server's list of jobs says why it takes so long.")


def _check_ingestion(job: Optional[Dict[str, Any]], sop_instance: str) -> None:
    """Raises where the job has ended without making exemplars of the SEG."""
    if job is None:
        return
    if job["state"] == "failed":
        raise EngramError(job["error"]["code"], job["error"]["message"], job["error"]["what_to_do"])
    for passed_over, why in (job.get("result") or {}).get("passed_over") or []:
        if passed_over == sop_instance:
            raise EngramError("not_remembered", f"The segmentation is stored, but gives no exemplars: {why}.")


def _by_code(segments: Sequence[Segment]) -> Dict[tuple, np.ndarray]:
    """Masks by what they are of; two segments of the same are one."""
    masks: Dict[tuple, np.ndarray] = {}
    for one in segments:
        kind = one.coding.property_type
        code = (kind.scheme, kind.value, tuple(sorted((m.scheme, m.value) for m in one.coding.modifiers)))
        masks[code] = masks[code] | one.mask if code in masks else one.mask
    return masks
