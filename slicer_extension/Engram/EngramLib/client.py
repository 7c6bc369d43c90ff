"""The server: its API (docs/api.md) and DICOMweb (PS3.18), each call one method."""

from typing import Any, Dict, Iterable, List, NamedTuple, Optional
from urllib.parse import urlsplit

import pydicom
import requests

from .errors import ConnectionLost, EngramError

OLDEST_SERVER = (0, 1)
"""The first version of the server that this extension works with."""

FIRST_TOO_NEW = (1, 0)
"""The first version that it was not made for."""

CONNECT_SECONDS = 5
READ_SECONDS = 60


class Label(NamedTuple):
    """A label of the bank. `cases` counts annotated studies, of all modalities and of each that shows it; `exemplars` the
    slices that show it."""

    key: str
    meaning: str
    cases: int
    exemplars: int
    cases_by_modality: Dict[str, int]


class Client:
    """A server at an address. Every call blocks: make it on a thread of its own.

    Each method raises `EngramError`: the server's own words where it answered with an error, `ConnectionLost` where no
    answer came.
    """

    def __init__(self, address: str, token: str = ""):
        self.address = _checked_address(address)
        self.has_token = bool(token)
        self._session = requests.Session()
        # Neither a proxy nor a .netrc of the environment may change who is spoken to, or as whom.
        self._session.trust_env = False
        if token:
            self._session.headers["Authorization"] = f"Bearer {_checked_token(token)}"

    def health(self) -> Dict[str, Any]:
        """How the server stands; raises where its version is not one that this extension was made for."""
        health = self._json("GET", "/api/v1/health")
        if not isinstance(health, dict) or "status" not in health:
            raise _not_engram(self.address, "its health is in another form")
        if "version" not in health:
            # All that a stranger learns (docs/security.md). A call that needs a role says why, in the server's words.
            self.labels()
            raise _not_engram(self.address, "its health tells no version")
        _check_version(str(health["version"]))
        return health

    def labels(self) -> List[Label]:
        """The labels of the bank."""
        return [
            Label(one["label"], one["meaning"], one["studies"], one["exemplars"], {
                modality: of["studies"] for modality, of in one["modalities"].items() if of["exemplars"]})
            for one in self._json("GET", "/api/v1/labels")
        ]

    def segment(self, request: Dict[str, Any]) -> Dict[str, Any]:
        """Asks for a segmentation; the job."""
        return self._json("POST", "/api/v1/segmentations", json=request)

    def job(self, identity: str) -> Dict[str, Any]:
        return self._json("GET", f"/api/v1/jobs/{identity}")

    def cancel(self, identity: str) -> None:
        """Cancels a job; one that has ended stays as it is."""
        try:
            self._answer("DELETE", f"/api/v1/jobs/{identity}")
        except EngramError as error:
            if error.code != "job_finished":
                raise

    def result(self, identity: str) -> bytes:
        """The SEG of a job that succeeded, as a file."""
        return self._answer("GET", f"/api/v1/jobs/{identity}/result", headers={"Accept": "application/dicom"}).content

    def provenance(self, identity: str) -> List[Dict[str, Any]]:
        return self._json("GET", f"/api/v1/jobs/{identity}/provenance")

    def exemplars(self, **filters: str) -> List[Dict[str, Any]]:
        """Exemplars by `study`, `series`, `label`, …: every page."""
        found, offset = [], 0
        while offset is not None:
            page = self._json("GET", "/api/v1/exemplars", params={**filters, "offset": offset})
            found += page["exemplars"]
            offset = page.get("next_offset")
        return found

    def ingestions(self, series: str) -> List[Dict[str, Any]]:
        """The latest jobs that made exemplars of a series, or are to, the latest first."""
        found = self._json("GET", "/api/v1/jobs", params={"kind": "ingestion"})
        return sorted((one for one in found if one["request"].get("series") == series), key=lambda one: -one["created_at"])

    def instance(self, study: str, series: str, sop_instance: str) -> bytes:
        """An instance as a file in Explicit VR Little Endian, which pydicom reads by itself."""
        path = f"/dicomweb/studies/{study}/series/{series}/instances/{sop_instance}"
        accept = 'application/dicom; transfer-syntax="1.2.840.10008.1.2.1"'
        return self._answer("GET", path, headers={"Accept": accept}).content

    def find_instance(self, sop_instance: str) -> Optional[pydicom.Dataset]:
        """Study and series of an instance, or None where the server does not have it (QIDO-RS)."""
        found = self._search("/dicomweb/instances", SOPInstanceUID=sop_instance)
        return found[0] if found else None

    def metadata(self, study: str, series: str) -> List[pydicom.Dataset]:
        """The series' instances without their bulk data (WADO-RS)."""
        return self._datasets(f"/dicomweb/studies/{study}/series/{series}/metadata")

    def thumbnail(self, study: str, series: str, sop_instance: str, frame: int) -> bytes:
        """A small picture of a frame: a JPEG."""
        path = f"/dicomweb/studies/{study}/series/{series}/instances/{sop_instance}/frames/{frame}/thumbnail"
        return self._answer("GET", path, headers={"Accept": "image/jpeg"}).content

    def store(self, body: Iterable[bytes], boundary: str, parameters: Dict[str, str]) -> pydicom.Dataset:
        """STOW-RS of a multipart body that is sent piece by piece; what the server says of each instance.

        The answer may report failures of some instances or all of them (PS3.18 10.5.3).
        """
        kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
        headers = {"Content-Type": kind, "Accept": "application/dicom+json"}
        response = self._send("POST", "/dicomweb/studies", data=body, headers=headers, params=parameters)
        kind = response.headers.get("Content-Type", "")
        if "dicom+json" not in kind:
            raise self._error_of(response)
        return _dataset(response.json())

    def _search(self, path: str, **keys: str) -> List[pydicom.Dataset]:
        return self._datasets(path, params=keys)

    def _datasets(self, path: str, **options) -> List[pydicom.Dataset]:
        response = self._answer("GET", path, headers={"Accept": "application/dicom+json"}, **options)
        if response.status_code == 204:
            return []
        return [_dataset(one) for one in _json_of(response, self.address)]

    def _json(self, method: str, path: str, **options) -> Any:
        return _json_of(self._answer(method, path, **options), self.address)

    def _answer(self, method: str, path: str, **options) -> requests.Response:
        response = self._send(method, path, **options)
        if not 200 <= response.status_code < 300:
            raise self._error_of(response)
        return response

    def _send(self, method: str, path: str, **options) -> requests.Response:
        try:
            # A redirect could carry the token elsewhere: the address is to be the server's own.
            return self._session.request(
                method, self.address + path, timeout=(CONNECT_SECONDS, READ_SECONDS), allow_redirects=False, **options)
        except requests.exceptions.SSLError as error:
            raise EngramError(
                "certificate", f"The certificate of {self.address} is not trusted: {_root_cause(error)}.",
                "Ask whoever runs the server for a certificate that this computer trusts.") from error
        except requests.exceptions.Timeout as error:
            raise ConnectionLost(
                "server_down", f"The server at {self.address} does not answer in time.",
                "See whether it is up and the network lets this computer reach it.") from error
        except requests.exceptions.RequestException as error:
            raise ConnectionLost(
                "server_down", f"No server answers at {self.address}: {_root_cause(error)}.",
                "Start Engram there (engram serve), or correct the address.") from error

    def _error_of(self, response: requests.Response) -> EngramError:
        """The server's own words, or what else answered."""
        try:
            told = response.json()
            code, message, what_to_do = told["code"], told["message"], told["what_to_do"]
        except (ValueError, KeyError, TypeError):
            return _not_engram(self.address, f"status {response.status_code}, {response.reason}")
        if code == "unauthorised" and not self.has_token:
            what_to_do = f"Enter a token above. {what_to_do}"
        return EngramError(code, message, what_to_do)


def _checked_address(address: str) -> str:
    """The address without a slash at its end."""
    trimmed = address.strip().rstrip("/")
    parts = urlsplit(trimmed)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise EngramError(
            "bad_address", f'"{address}" is no address of a server.',
            "It looks like http://127.0.0.1:8080 or https://pacs.example:8443.")
    return trimmed


def _checked_token(token: str) -> str:
    trimmed = token.strip()
    if not trimmed.isascii() or any(character.isspace() for character in trimmed):
        raise EngramError("bad_token", "The token has characters that no token has.", "Copy it anew, without blanks.")
    return trimmed


def _check_version(version: str) -> None:
    try:
        numbers = tuple(int(part) for part in version.split("-")[0].split("+")[0].split(".")[:2])
    except ValueError:
        numbers = ()
    if OLDEST_SERVER <= numbers < FIRST_TOO_NEW:
        return
    oldest, too_new = (".".join(map(str, one)) for one in (OLDEST_SERVER, FIRST_TOO_NEW))
    raise EngramError(
        "wrong_version", f"The server is Engram {version}; this extension needs {oldest} or later, before {too_new}.",
        "Update the extension in the Extensions Manager, or ask whoever runs the server to update it.")


def _not_engram(address: str, why: str) -> EngramError:
    return EngramError(
        "not_engram", f"What answers at {address} is not Engram: {why}.",
        "Correct the address: it is the one that `engram serve` prints, without a path.")


def _json_of(response: requests.Response, address: str) -> Any:
    try:
        return response.json()
    except ValueError as error:
        raise _not_engram(address, "it does not answer in JSON") from error


def _dataset(json_model: Dict[str, Any]) -> pydicom.Dataset:
    # Bulk data stays where it is: only headers are read.
    return pydicom.Dataset.from_json(json_model, bulk_data_uri_handler=lambda tag, vr, uri: None)


def _root_cause(error: BaseException) -> str:
    """The system's own words, such as `Connection refused`; else the innermost reason."""
    seen = [error]
    for one in seen:
        within = (getattr(one, "reason", None), one.__cause__, one.__context__, *one.args)
        seen += [reason for reason in within if isinstance(reason, BaseException) and reason not in seen]
    told = [one.strerror for one in seen if isinstance(one, OSError) and one.strerror]
    return (told[-1] if told else str(seen[-1])).rstrip(".")
