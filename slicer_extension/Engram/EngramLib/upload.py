"""Files to the server: STOW-RS (PS3.18 10.5), in requests of bounded size, each file read while it is sent."""

import os
import uuid
from typing import Callable, Iterator, List, NamedTuple, Sequence

from .client import Client
from .errors import Cancelled, EngramError
from .jobs import Progress, Report, Stopped

BYTES_PER_REQUEST = 64 * 2**20
FILES_PER_REQUEST = 200
PIECE = 2**18

FAILURES = {
    0x0110: "the server could not process it",
    0x0111: "another object is stored under its SOP Instance UID",
    0x0122: "its SOP class is not supported",
    0xA700: "the server is out of space, or it is over a limit",
    0xA900: "it does not match its own file header",
    0xC000: "the server cannot read it",
    0xC122: "its transfer syntax is not supported",
}
"""What FailureReason (0008,1197) means (docs/conformance.md, 4.2.1)."""


class Part(NamedTuple):
    """A Part 10 file: its size in bytes, and its bytes piece by piece."""

    size: int
    pieces: Callable[[], Iterator[bytes]]


def file_part(path: str) -> Part:
    def pieces() -> Iterator[bytes]:
        with open(path, "rb") as file:
            while piece := file.read(PIECE):
                yield piece

    return Part(os.path.getsize(path), pieces)


def bytes_part(content: bytes) -> Part:
    return Part(len(content), lambda: iter([content]))


def send(client: Client, parts: Sequence[Part], report: Report, stopped: Stopped, **parameters: str) -> None:
    """Stores the files; `parameters` are those of the request, such as `partial="true"`.

    Raises `EngramError` where an instance is refused, and `Cancelled`: what was acknowledged until then stays stored.
    """
    done = 0
    for batch in batches(parts):
        report(Progress("upload", done, len(parts)))
        if stopped():
            raise Cancelled()
        boundary = uuid.uuid4().hex
        _check(client.store(multipart(batch, boundary), boundary, parameters), len(batch))
        done += len(batch)
    report(Progress("upload", done, len(parts)))


def batches(parts: Sequence[Part]) -> Iterator[List[Part]]:
    """The parts in their order, as many together as one request may hold."""
    batch, size = [], 0
    for part in parts:
        if batch and (size + part.size > BYTES_PER_REQUEST or len(batch) == FILES_PER_REQUEST):
            yield batch
            batch, size = [], 0
        batch.append(part)
        size += part.size
    if batch:
        yield batch


def multipart(parts: Sequence[Part], boundary: str) -> Iterator[bytes]:
    """A body of `multipart/related` (RFC 2387)."""
    for part in parts:
        yield f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        yield from part.pieces()
        yield b"\r\n"
    yield f"--{boundary}--\r\n".encode()


def _check(answer, sent: int) -> None:
    # What has no UIDs that could be told is among the other failures (PS3.18 Table I.2.2-1).
    failed = [*answer.get("FailedSOPSequence", []), *answer.get("OtherFailuresSequence", [])]
    if not failed:
        return
    reason = int(failed[0].get("FailureReason", 0x0110))
    why = FAILURES.get(reason, f"FailureReason {reason:04X}H")
    raise EngramError(
        "refused", f"The server refused {len(failed)} of {sent} instances: {why}.",
        "The server's log says more about each.")
