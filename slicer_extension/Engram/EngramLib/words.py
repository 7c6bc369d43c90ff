"""What the panel says."""

from typing import Any, Dict, List, Sequence

from .client import Label
from .jobs import Progress
from .provenance import Case

STAGES = {
    "queued": "Waiting for the server's turn", "running": "Starting", "upload": "Sending images",
    "connection_lost": "Connection lost, trying again", "fetch": "Fetching the result", "remember": "The server remembers it",
    "load": "Reading the series", "prepare": "Preparing slices", "retrieve": "Looking for similar cases",
    "first_pass": "First look at each slice", "propagate": "From slice to slice", "crop_pass": "A closer look at small organs",
    "prompts": "Remembering what you corrected",
    "consolidate": "Putting slices together", "store": "Storing the result",
}
"""Stages, in words; one that is not here is shown as the server names it."""


def progress(one: Progress) -> str:
    words = STAGES.get(one.stage, one.stage.replace("_", " ").capitalize())
    if one.total:
        words += f": {one.done} of {one.total}"
    if one.seconds_left is not None and one.seconds_left >= 0.5:
        words += f", about {seconds(one.seconds_left)} left"
    return f"{words} ({one.detail})" if one.detail else words


def seconds(duration: float) -> str:
    if duration < 90:
        return f"{max(1, round(duration))} s"
    return f"{round(duration / 60)} min"


def health(told: Dict[str, Any]) -> str:
    return (f"Engram {told['version']} on {told['device']}: {told['exemplar_slices']} annotated slices, "
            f"{told['jobs_running']} jobs running, {told['jobs_waiting']} waiting")


def label(one: Label, modality: str) -> str:
    cases = cases_in(one, modality)
    return f"{one.meaning} ({cases} {'case' if cases == 1 else 'cases'})"


def cases_in(one: Label, modality: str) -> int:
    """Its cases of the modality; all, if it is not known."""
    return one.cases_by_modality.get(modality, 0) if modality else one.cases


def offered(labels: Sequence[Label], modality: str, search: str = "") -> List[Label]:
    """Labels annotated in the modality (any, if it is not known) whose words or key have what is searched for, those
    with most cases first."""
    wanted = search.strip().lower()
    found = [
        one for one in labels
        if (not modality or modality in one.cases_by_modality) and (wanted in one.meaning.lower() or wanted in one.key.lower())]
    return sorted(found, key=lambda one: (-cases_in(one, modality), one.meaning.lower()))


def no_labels(labels: Sequence[Label], modality: str) -> str:
    """Why no label is offered; empty where one is."""
    if not labels:
        return "The bank is empty: teach it a first case below."
    if not offered(labels, modality):
        return f"The bank has no {modality} case yet: teach it a first one below."
    return ""


def slice_line(index: int, count: int, confidence, review: bool) -> str:
    """A line of the list of flagged slices; slices count from 1."""
    worth = "not told" if confidence is None else f"{confidence:.2f}"
    return f"Slice {index + 1} of {count}: confidence {worth}{', look at it first' if review else ''}"


def case(one: Case, labels: Sequence[Label]) -> str:
    """A line of the list of cases: whether the label is on it, and how similar it is."""
    meaning = next((known.meaning for known in labels if known.key == one.label), one.label)
    shows = "shows" if one.present else "does not show"
    return f"{one.similarity:.2f} similar, {shows} {meaning}\nStudy {one.study}"
