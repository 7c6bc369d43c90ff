"""A study as a zip, and stretches of what is sent."""

import io
import subprocess
import zipfile

import pydicom
import pytest
import requests
from dicomweb_client.api import DICOMwebClient

from small_ct import SERIES, STUDY, make_ct, part10

INSTANCE = f"/studies/{STUDY}/series/{SERIES}/instances/{SERIES}.1"


def get(server, path, status=200, **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = requests.get(server.dicomweb + path, headers=headers, timeout=120)
    assert answer.status_code == status, answer.text
    return answer


@pytest.mark.parametrize("level, count", [
    ("", 6),
    (f"/series/{SERIES}", 5),
    (f"/series/{SERIES}/instances/{SERIES}.1", 1),
], ids=["study", "series", "instance"])
def test_a_zip_holds_the_stored_files(server, stored, level, count):
    other = make_ct(1, series="2.25.1001.2", rows=700)
    DICOMwebClient(url=server.dicomweb).store_instances([other])
    answer = get(server, f"/studies/{STUDY}{level}", Accept="application/zip")
    assert answer.headers["Content-Type"] == "application/zip"
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    expected = {f"{ds.SeriesInstanceUID}/{ds.SOPInstanceUID}.dcm": ds for ds in [*stored, other]}
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert len(archive.namelist()) == count
        for entry in archive.infolist():
            assert entry.compress_type == zipfile.ZIP_STORED
            assert pydicom.dcmread(io.BytesIO(archive.read(entry))) == expected[entry.filename]
    assert get(server, "/studies/2.25.404", 404, Accept="application/zip").json()["code"] == "not_found"


def test_a_zip_can_be_read_from_its_beginning(server, stored):
    """As a reader does that never sees the directory at the end: sizes and CRC stand before each file."""
    content = get(server, f"/studies/{STUDY}/series/{SERIES}", Accept="application/zip").content
    unpacked = subprocess.run(["python3", "-c", STREAMING_READER], input=content, capture_output=True, check=True)
    assert unpacked.stdout.split() == [f"{SERIES}/{ds.SOPInstanceUID}.dcm".encode() for ds in stored]


STREAMING_READER = """
import struct, sys, zlib
stream = sys.stdin.buffer
while (signature := stream.read(4)) == b"PK\\3\\4":
    _, flags, method, _, crc, packed, size, name, extra = struct.unpack("<HHHIIIIHH", stream.read(26))
    name, _, content = stream.read(name), stream.read(extra), stream.read(packed)
    assert flags == 0 and method == 0 and zlib.crc32(content) == crc and packed == size == len(content)
    print(name.decode())
assert signature == b"PK\\1\\2"
"""


@pytest.fixture(params=["object", "frame", "bulk data", "pixel data"])
def resource(request, server, stored):
    """A path, the media type that gives it as one part, and its bytes."""
    octets, pixels = "application/octet-stream", stored[0].PixelData
    return {
        "object": (INSTANCE, "application/dicom", part10(stored[0])),
        "frame": (f"{INSTANCE}/frames/1", octets, pixels),
        "bulk data": (f"{INSTANCE}/bulkdata/7FE00010", octets, pixels),
        "pixel data": (f"{INSTANCE}/pixeldata", octets, pixels),
    }[request.param]


def test_stretches_are_sent_as_asked(server, resource):
    path, accept, whole = resource
    plain = get(server, path, Accept=accept)
    assert plain.content == whole
    assert plain.headers["Accept-Ranges"] == "bytes"
    length = len(whole)
    for text, expected in (
        ("bytes=0-99", range(100)),
        ("bytes=100-", range(100, length)),
        ("bytes=-7", range(length - 7, length)),
        (f"bytes=5-{length * 9}", range(5, length)),
    ):
        answer = get(server, path, 206, Accept=accept, Range=text)
        assert answer.content == whole[expected.start : expected.stop]
        assert answer.headers["Content-Range"] == f"bytes {expected.start}-{expected.stop - 1}/{length}"
        assert answer.headers["Content-Type"] == plain.headers["Content-Type"]
        assert int(answer.headers["Content-Length"]) == len(expected)


def test_ranges_that_are_not_met(server, resource):
    path, accept, whole = resource
    outside = get(server, path, 416, Accept=accept, Range=f"bytes={len(whole)}-")
    assert outside.headers["Content-Range"] == f"bytes */{len(whole)}"
    assert outside.json()["code"] == "range_not_satisfiable"
    # Several at once, what does not read, and a condition on a validator that we never gave: the whole.
    for headers in ({"Range": "bytes=0-1,4-5"}, {"Range": "nonsense"}, {"Range": "bytes=0-1", "If_Range": '"x"'}):
        answer = get(server, path, Accept=accept, **headers)
        assert answer.content == whole and "Content-Range" not in answer.headers


def test_parts_have_no_ranges(server, stored):
    answer = get(server, f"{INSTANCE}/frames/1", Range="bytes=0-9")
    assert answer.headers["Content-Type"].startswith("multipart/related")
    assert stored[0].PixelData in answer.content
