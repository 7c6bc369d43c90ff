"""All bulk data of an instance, a series or a study: what each BulkDataURI of the metadata leads to."""

from urllib.parse import urljoin

import pytest
import requests
from pydicom.dataset import Dataset
from pydicom.uid import JPEGLSLossless, RawDataStorage

from answers import parts
from small_ct import make_ct, part10

STUDY = "2.25.8901"
PIXELS, BARE = f"{STUDY}.1", f"{STUDY}.2"
OCTETS = 'multipart/related; type="application/octet-stream"'


def many_values() -> Dataset:
    """A slice with an overlay, a private value, and values within sequences."""
    ds = make_ct(1, STUDY, PIXELS)
    for element, vr, value in ((0x10, "US", 128), (0x11, "US", 128), (0x40, "CS", "G"), (0x50, "SS", [1, 1]), (0x100, "US", 1),
                               (0x102, "US", 0), (0x3000, "OW", bytes(range(256)) * 8)):
        ds.add_new(0x60000000 + element, vr, value)
    ds.private_block(0x0099, "TEST", create=True).add_new(1, "OB", bytes(5000))
    item, other = Dataset(), Dataset()
    item.add_new(0x00420011, "OB", b"%PDF" + bytes(4000))
    other.add_new(0x00420011, "OB", b"%PDF" + bytes(6000))
    ds.ReferencedImageBoxSequence = [item, other]
    return ds


@pytest.fixture(scope="module")
def house(server):
    """A server with two slices, of which one is compressed, and an object without bulk data in a series of its own."""
    compressed = make_ct(2, STUDY, PIXELS)
    compressed.compress(JPEGLSLossless, generate_instance_uid=False)
    bare = make_ct(3, STUDY, BARE)
    bare.SOPClassUID = bare.file_meta.MediaStorageSOPClassUID = RawDataStorage
    for keyword in ("PixelData", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit"):
        delattr(bare, keyword)
    for ds in (many_values(), compressed, bare):
        answer = requests.post(f"{server.dicomweb}/studies", data=part10(ds), headers={"Content-Type": "application/dicom"}, timeout=60)
        assert answer.status_code == 200, answer.text
    return server


def uris(value) -> list[str]:
    """BulkDataURIs in the order of the metadata."""
    if isinstance(value, list):
        return [uri for one in value for uri in uris(one)]
    if isinstance(value, dict):
        return [value["BulkDataURI"]] if "BulkDataURI" in value else uris(list(value.values()))
    return []


@pytest.mark.parametrize("place", [f"/series/{PIXELS}/instances/{PIXELS}.1", f"/series/{PIXELS}", ""])
def test_every_value_comes(house, place):
    url = f"{house.dicomweb}/studies/{STUDY}{place}"
    metadata = requests.get(f"{url}/metadata", headers={"Accept": "application/dicom+json"}, timeout=60).json()
    expected = []
    for uri in uris(metadata):
        value = requests.get(urljoin(url, uri), headers={"Accept": OCTETS}, timeout=60)
        expected += [content for _, content in parts(value)]
    assert len(expected) == (5 if "instances" in place else 6)
    came = parts(requests.get(f"{url}/bulkdata", headers={"Accept": OCTETS}, timeout=60))
    assert [content for _, content in came] == expected
    assert all(headers["content-type"].startswith("application/octet-stream; transfer-syntax=") for headers, _ in came)
    # Each says where it can be had alone.
    for headers, content in came:
        alone = requests.get(headers["content-location"], headers={"Accept": "application/octet-stream"}, timeout=60)
        assert alone.content == content, headers


def test_it_is_told_where_there_is_none(house):
    for place, accept, status in ((f"/series/{BARE}", OCTETS, 404), ("/series/1.2.3", OCTETS, 404), ("", "image/jpeg", 406)):
        url = f"{house.dicomweb}/studies/{STUDY}{place}/bulkdata"
        assert requests.get(url, headers={"Accept": accept}, timeout=60).status_code == status
    assert requests.options(f"{house.dicomweb}/studies/{STUDY}/bulkdata", timeout=60).headers["Allow"] == "GET, HEAD, OPTIONS"
