"""A job from its start to its end, whatever happens to the connection in between."""

import time
from typing import Any, Callable, Dict, NamedTuple, Optional

from .client import Client
from .errors import Cancelled, ConnectionLost, EngramError

POLL_SECONDS = 0.4
PATIENCE_SECONDS = 600
"""How long an answer is waited for before the job is left to itself."""

ENDED = ("succeeded", "failed", "cancelled")


class Progress(NamedTuple):
    """How far it is. `stage` is the server's word, or one of `upload` and `connection_lost`."""

    stage: str
    done: int = 0
    total: int = 0
    seconds_left: Optional[float] = None
    detail: str = ""


Report = Callable[[Progress], None]
Stopped = Callable[[], bool]


def follow(
    client: Client, identity: str, report: Report, stopped: Stopped,
    patience: float = PATIENCE_SECONDS, sleep: Callable[[float], None] = time.sleep,
) -> Dict[str, Any]:
    """The job, once it has succeeded.

    Jobs survive a restart of the server, so a lost connection is waited out for `patience` seconds and the same job is
    asked after. When `stopped` says so, the job is cancelled.

    Raises `Cancelled`; `EngramError` in the words of a job that failed; `ConnectionLost` when patience has ended: the job
    then goes on at the server, and can be followed anew.
    """
    cancelling, lost_since = False, None
    while True:
        try:
            if stopped() and not cancelling:
                client.cancel(identity)
                cancelling = True
            job = client.job(identity)
        except ConnectionLost as error:
            now = time.monotonic()
            lost_since = now if lost_since is None else lost_since
            if stopped() or now - lost_since >= patience:
                raise
            report(Progress("connection_lost", detail=error.message))
            sleep(POLL_SECONDS)
            continue
        lost_since = None
        if job["state"] in ENDED:
            return _succeeded(job)
        report(progress_of(job))
        sleep(POLL_SECONDS)


def progress_of(job: Dict[str, Any]) -> Progress:
    """What a job says of itself."""
    stage = job.get("stage") or job["state"]
    return Progress(stage, job["slices_done"], job["slices_total"], job.get("estimated_seconds_left"))


def _succeeded(job: Dict[str, Any]) -> Dict[str, Any]:
    if job["state"] == "succeeded":
        return job
    if job["state"] == "cancelled":
        raise Cancelled()
    error = job.get("error") or {}
    raise EngramError(error.get("code", "internal"), error.get("message", "The job failed without saying why."),
                      error.get("what_to_do", ""))
