"""From these cases: the exemplars that a slice was drawn from."""

from typing import Any, Dict, List, NamedTuple, Optional, Sequence

from .client import Client
from .geometry import Slice

AT_MOST = 12
"""Cases that are shown of one slice."""


class Case(NamedTuple):
    """An exemplar behind a slice. `similarity` is the cosine of both slices' features. `thumbnail` is a JPEG, or None where the
    server has the exemplar's image no more."""

    label: str
    similarity: float
    present: bool
    study: str
    series: str
    sop_instance: str
    frame: int
    thumbnail: Optional[bytes]


def cases_behind(
    client: Client, provenance: Sequence[Dict[str, Any]], bundle: str, where: Slice, label: Optional[str] = None,
) -> List[Case]:
    """The exemplars behind a slice, for a label or all of them, the most similar first. `bundle` computed the result."""
    told = [
        (entry["label"], exemplar)
        for entry in provenance
        if (entry["sop_instance"], entry["frame"]) == (where.sop_instance_uid, where.frame)
        and label in (None, entry["label"])
        for exemplar in entry["exemplars"]]
    told.sort(key=lambda one: -one[1]["similarity"])
    known: Dict[str, Dict[str, Dict[str, Any]]] = {}
    cases = []
    for key, exemplar in told[:AT_MOST]:
        study = exemplar["study"]
        if study not in known:
            known[study] = {str(one["id"]): one for one in client.exemplars(study=study, bundle=bundle)}
        # An exemplar is a label on an annotated slice: SLICE-ENTRY.
        annotated_slice = exemplar["exemplar"].split("-")[0]
        cases.append(_case(client, key, exemplar, known[study].get(annotated_slice)))
    return cases


def _case(client: Client, label: str, exemplar: Dict[str, Any], view: Optional[Dict[str, Any]]) -> Case:
    thumbnail = None
    if view is not None:
        thumbnail = client.thumbnail(view["study"], view["series"], view["sop_instance"], view["frame"])
    view = view or {"series": "", "sop_instance": "", "frame": 1}
    return Case(label, exemplar["similarity"], exemplar["present"], exemplar["study"], view["series"],
                view["sop_instance"], view["frame"], thumbnail)
