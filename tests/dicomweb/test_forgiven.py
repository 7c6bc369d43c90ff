"""What some writers get wrong and other archives take: it is stored as it is, found, shown, and sent in other transfer syntaxes."""

import io
import struct

import numpy as np
import pydicom
import pytest
import requests
from pydicom.uid import JPEGLSLossless

from answers import picture
from small_ct import make_ct, part10

STUDY = "2.25.2401"
NAME = struct.pack("<HH", 0x0010, 0x0010) + b"PN"
GROUP_LENGTH = struct.pack("<HH", 0x0002, 0x0000) + b"UL\x04\x00"
SEQUENCE_END = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
ITEM_END = struct.pack("<HHI", 0xFFFE, 0xE00D, 0)


def item(content: bytes) -> bytes:
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(content)) + content


def sequence(content: bytes) -> bytes:
    return struct.pack("<HH", 0x0009, 0x1010) + b"SQ\0\0" + struct.pack("<I", len(content)) + content


def before_name(content: bytes, inserted: bytes) -> bytes:
    at = content.index(NAME)
    return content[:at] + inserted + content[at:]


def with_group_length(content: bytes, off_by: int) -> bytes:
    at = content.index(GROUP_LENGTH) + len(GROUP_LENGTH)
    length, = struct.unpack("<I", content[at:at + 4])
    return content[:at] + struct.pack("<I", length + off_by) + content[at + 4:]


def without_group_length(content: bytes) -> bytes:
    at = content.index(GROUP_LENGTH)
    return content[:at] + content[at + len(GROUP_LENGTH) + 4:]


TEXT = struct.pack("<HH", 0x0009, 0x1011) + b"LO" + struct.pack("<H", 4) + b"text"
SPOILT = {
    "zeros up to a whole block": lambda content: content + bytes(-len(content) % 512 or 512),
    "a sequence that ends twice": lambda content: before_name(content, sequence(item(TEXT) + SEQUENCE_END)),
    "an item that ends twice": lambda content: before_name(content, sequence(item(TEXT + ITEM_END))),
    "a meta group that is longer than it says": lambda content: with_group_length(content, -20),
    "a meta group that is shorter than it says": lambda content: with_group_length(content, 26),
    "a meta group without its length": without_group_length,
    "a meta element in the data set": lambda content: before_name(
        content, struct.pack("<HH", 0x0002, 0x0016) + b"AE" + struct.pack("<H", 4) + b"TEST"),
}


@pytest.mark.parametrize("fault", SPOILT)
def test_it_is_taken_and_of_use(server, fault):
    number = list(SPOILT).index(fault) + 1
    ds = make_ct(number, study=STUDY, series=f"{STUDY}.1")
    content = SPOILT[fault](part10(ds))
    answer = requests.post(f"{server.dicomweb}/studies", data=content, timeout=60,
                           headers={"Content-Type": "application/dicom"})
    assert answer.status_code == 200, answer.text
    url = f"{server.dicomweb}/studies/{STUDY}/series/{STUDY}.1/instances/{ds.SOPInstanceUID}"

    def get(path, accept):
        answer = requests.get(url + path, headers={"Accept": accept}, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer

    assert get("", "application/dicom; transfer-syntax=*").content == content
    (metadata,) = get("/metadata", "application/dicom+json").json()
    assert metadata["00100010"]["Value"] == [{"Alphabetic": "Doe^Jane"}] and "00020016" not in metadata
    assert get("/frames/1", "application/octet-stream").content == ds.PixelData
    good = make_ct(number + 100, study=STUDY, series=f"{STUDY}.2")
    good.PixelData = ds.PixelData
    assert requests.post(f"{server.dicomweb}/studies", data=part10(good), timeout=60,
                         headers={"Content-Type": "application/dicom"}).status_code == 200
    other = url.replace(f"{STUDY}.1/", f"{STUDY}.2/").replace(ds.SOPInstanceUID, good.SOPInstanceUID)
    expected = picture(requests.get(f"{other}/rendered", headers={"Accept": "image/png"}, timeout=60).content)
    assert np.array_equal(picture(get("/rendered", "image/png").content), expected)
    packed = pydicom.dcmread(io.BytesIO(get("", f"application/dicom; transfer-syntax={JPEGLSLossless}").content))
    assert np.array_equal(packed.pixel_array, ds.pixel_array)
