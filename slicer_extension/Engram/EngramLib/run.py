"""A segmentation from asking to having it: everything that runs beside Slicer's event loop."""

from typing import Any, Dict, List, NamedTuple, Optional, Sequence

from . import dicom_seg, jobs, teach
from .client import Client
from .dicom_seg import Segment
from .errors import EngramError
from .jobs import Progress, Report, Stopped
from .target import Located, Target, locate


class Asked(NamedTuple):
    """What to segment. No labels: all that have exemplars of the modality. `quality` is fast, balanced or best; empty: as
    the server is configured. `prompts` are slices that the user corrected (docs/api.md)."""

    labels: Sequence[str] = ()
    quality: str = ""
    collection: str = ""
    prompts: Sequence[Dict[str, Any]] = ()


class Result(NamedTuple):
    """A segmentation on its target. `provenance` is None where the token may not see it."""

    job: Dict[str, Any]
    located: Located
    segments: List[Segment]
    provenance: Optional[List[Dict[str, Any]]]

    @property
    def sop_instance(self) -> str:
        return self.job["result"]["sop_instance"]

    @property
    def keys(self) -> Dict[int, str]:
        """The labels' keys, by segment number."""
        labels = self.job["result"]["labels"]
        return {one["segment_number"]: one["label"] for one in labels if one.get("segment_number") is not None}


class Unfinished:
    """A job that was asked for, so that it can be followed anew when the connection was lost for long."""

    def __init__(self):
        self.identity = ""
        self.located: Optional[Located] = None


def segment(client: Client, target: Target, asked: Asked, unfinished: Unfinished, report: Report, stopped: Stopped) -> Result:
    """The target's segmentation: its series is found or sent, the job asked for and followed, its result fetched."""
    unfinished.located = locate(client, target, report, stopped)
    unfinished.identity = start(client, unfinished.located, asked)
    return resume(client, unfinished, report, stopped)


def resume(client: Client, unfinished: Unfinished, report: Report, stopped: Stopped) -> Result:
    """The result of a job that was asked for before."""
    return finish(client, unfinished.identity, unfinished.located, report, stopped)


class Correction(NamedTuple):
    """What a person made of results: the segments of a node, their labels' keys, and the results as they were: study, series
    and SOP Instance UIDs."""

    segments: Sequence[Segment]
    keys: Sequence[str]
    results: Sequence[Sequence[str]]


def correct(client: Client, target: Target, correction: Correction, asked: Asked, unfinished: Unfinished,
            report: Report, stopped: Stopped) -> Result:
    """The target's segmentation anew, from the slices that a person edited."""
    located = locate(client, target, report, stopped)
    before = [segment for one in correction.results for segment in dicom_seg.read(client.instance(*one), located.grid)]
    edited = teach.edited_slices(correction.segments, before)
    if not edited:
        raise EngramError("nothing_to_teach", "No slice was edited.", "Edit one in the Segment Editor, then press again.")
    prompts = teach.prompts(correction.keys, correction.segments, edited, located.grid)
    return segment(client, target, asked._replace(labels=tuple(correction.keys), prompts=prompts), unfinished, report, stopped)


def start(client: Client, located: Located, asked: Asked) -> str:
    """Asks for the segmentation; the job's identity, by which it can be followed from anywhere."""
    # BINARY is what every other reader of the stored result knows, and holds segments that overlap.
    options = {"encoding": "BINARY"}
    if asked.quality:
        options["quality"] = asked.quality
    request = {"study": located.study, "series": located.series, "options": options}
    if asked.labels:
        request["labels"] = list(asked.labels)
    if asked.collection:
        request["collection"] = asked.collection
    if asked.prompts:
        request["prompts"] = list(asked.prompts)
    return client.segment(request)["id"]


def finish(client: Client, identity: str, located: Located, report: Report, stopped: Stopped) -> Result:
    """Follows the job to its end and fetches what came of it."""
    job = jobs.follow(client, identity, report, stopped)
    report(Progress("fetch"))
    segments = dicom_seg.read(client.result(identity), located.grid)
    return Result(job, located, segments, _provenance(client, identity))


def _provenance(client: Client, identity: str):
    try:
        return client.provenance(identity)
    except EngramError as error:
        if error.code == "forbidden":
            return None
        raise
