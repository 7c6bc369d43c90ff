"""gzip and zstd where they help, and where they are asked for."""

import gzip

import pytest
import requests
import urllib3
from dicomweb_client.api import DICOMwebClient

from small_ct import SERIES, STUDY, make_ct


@pytest.fixture(scope="module")
def series(server) -> str:
    slices = [make_ct(number) for number in range(1, 9)]
    DICOMwebClient(url=server.dicomweb).store_instances(slices)
    return f"{server.dicomweb}/studies/{STUDY}/series/{SERIES}"


def get(url: str, encodings: str | None, **headers) -> urllib3.HTTPResponse:
    """The answer as it crosses the network."""
    if encodings is not None:
        headers["Accept-Encoding"] = encodings
    return urllib3.request("GET", url, headers=headers, decode_content=False)


def test_metadata_is_compressed_for_who_asks(series):
    plain = get(f"{series}/metadata", None)
    assert "Content-Encoding" not in plain.headers and len(plain.data) == int(plain.headers["Content-Length"])
    small = get(f"{series}/metadata", "gzip")
    assert small.headers["Content-Encoding"] == "gzip" and small.headers["Vary"].lower() == "accept-encoding"
    assert small.headers["Content-Type"] == "application/dicom+json"
    assert gzip.decompress(small.data) == plain.data and len(small.data) < len(plain.data) / 4
    assert get(f"{series}/metadata", "zstd").data[:4] == b"\x28\xb5\x2f\xfd"
    for other in ("identity", "br", "gzip;q=0", ""):
        assert get(f"{series}/metadata", other).data == plain.data, other


def test_the_entity_tag_is_weak_and_the_same_for_all_encodings(series):
    tag = get(f"{series}/metadata", None).headers["ETag"]
    assert tag.startswith('W/"') and get(f"{series}/metadata", "gzip").headers["ETag"] == tag
    unchanged = get(f"{series}/metadata", "gzip", **{"If-None-Match": tag})
    assert unchanged.status == 304 and unchanged.data == b"" and "Content-Encoding" not in unchanged.headers


def test_objects_frames_and_pictures_are_left_alone(series):
    instance = f"{series}/instances/{SERIES}.1"
    for path, accept in [
        (instance, 'multipart/related; type="application/dicom"'), (series, 'multipart/related; type="application/dicom"'),
        (f"{instance}/frames/1", 'multipart/related; type="application/octet-stream"'),
        (f"{instance}/rendered", "image/png"), (f"{instance}/bulkdata/7FE00010", "application/octet-stream"),
    ]:
        plain, asked = get(path, None, Accept=accept), get(path, "gzip, zstd", Accept=accept)
        assert plain.status == asked.status == 200
        assert "Content-Encoding" not in asked.headers and len(asked.data) == len(plain.data)


def test_searches_and_the_api_too(server, series):
    for path in ("/dicomweb/instances", "/metrics"):
        assert get(server.base + path, "gzip").headers.get("Content-Encoding") == "gzip", path
    assert requests.get(f"{server.dicomweb}/instances", timeout=10).json()
    short = get(f"{server.base}/api/v1/rules", "gzip")
    assert "Content-Encoding" not in short.headers, "it is shorter than what compressing adds"
