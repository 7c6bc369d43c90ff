"""The forms that a server makes of its segmentations."""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pydicom
import requests
from pydicom.dataset import Dataset

from engram_api import Api
from segmented import Case


@dataclass
class Made:
    """The segmentations by name, and what the server makes of them."""

    api: Api
    cases: dict[str, Case]
    folder: Path

    def get(self, uid: str, form: str) -> requests.Response:
        return self.api.get(f"/segmentations/{uid}/{form}")

    def file(self, name: str, form: str) -> Path:
        """A form of a case, as a file."""
        answer = self.get(self.cases[name].uid, form)
        assert answer.status_code == 200, answer.text
        assert answer.headers["Content-Type"] == "application/dicom"
        path = self.folder / f"{name} {form}.dcm"
        path.write_bytes(answer.content)
        return path

    def pictures(self, name: str) -> list[bytes]:
        """The pictures of a case's slices."""
        answer = self.get(self.cases[name].uid, "secondary-capture")
        assert answer.status_code == 200, answer.text
        return parts(answer)


def parts(answer: requests.Response) -> list[bytes]:
    kind, *parameters = answer.headers["Content-Type"].split("; ")
    told = dict(one.split("=", 1) for one in parameters)
    assert (kind, told["type"]) == ("multipart/related", '"application/dicom"')
    before, *parts, after = answer.content.split(b"\r\n--" + told["boundary"].encode())
    assert (before, after) == (b"", b"--\r\n")
    head = b"\r\nContent-Type: application/dicom\r\n\r\n"
    assert all(part.startswith(head) for part in parts)
    return [part.removeprefix(head) for part in parts]


def as_read(content: bytes) -> Dataset:
    return pydicom.dcmread(BytesIO(content))
