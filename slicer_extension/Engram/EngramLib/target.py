"""The series to be segmented: found on the server, or sent there."""

from typing import NamedTuple, Tuple

from . import upload
from .client import Client
from .errors import EngramError
from .geometry import Grid, grid_of
from .jobs import Report, Stopped


class Target(NamedTuple):
    """What is known of a volume: the SOP Instance UIDs of its slices, and the files of those that are at hand."""

    sop_instances: Tuple[str, ...]
    parts: Tuple[upload.Part, ...] = ()


class Located(NamedTuple):
    """A target that the server has. UIDs, and the grid of its slices."""

    study: str
    series: str
    grid: Grid


def locate(client: Client, target: Target, report: Report, stopped: Stopped) -> Located:
    """The target's series on the server, sent there first if some of it is missing."""
    located = _on_server(client, target)
    if located is not None:
        return located
    if not target.parts:
        raise EngramError(
            "no_such_series", "The server does not have the volume's series, and Slicer's DICOM database lacks its files.",
            "Import the series into Slicer's DICOM database, or store it on the server.")
    upload.send(client, target.parts, report, stopped)
    located = _on_server(client, target)
    if located is None:
        raise EngramError("no_such_series", "The server took the volume's files, but does not show all of them.",
                          "Try again; if it stays so, the server's log says more.")
    return located


def _on_server(client: Client, target: Target):
    """Where the server has every slice of the target."""
    found = client.find_instance(target.sop_instances[0])
    if found is None:
        return None
    study, series = str(found.StudyInstanceUID), str(found.SeriesInstanceUID)
    headers = client.metadata(study, series)
    if not set(target.sop_instances) <= {str(one.SOPInstanceUID) for one in headers}:
        return None
    return Located(study, series, grid_of(headers, target.sop_instances))
