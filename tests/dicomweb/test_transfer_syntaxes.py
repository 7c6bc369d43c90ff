"""Real files in many transfer syntaxes: stored, retrieved untouched, and their frames as pydicom sees them."""

import numpy as np
import pydicom
import pytest
import requests
from pydicom.uid import generate_uid

from small_ct import part10

# A directory, which is no instance; and a transfer syntax that pydicom cannot write.
LEFT_OUT = {"Explicit_VR_Little_Endian-bbmri.dcmdir.dcm", "1.2.840.10008.1.2.8.1-liver_deflate.dcm"}
# Attributes written as UN are sent as UN, which pydicom's own `from_json` cannot take back.
UNREADABLE_BY_PYDICOM = {"RLE_Lossless-rtdose_rle_1frame.dcm"}
NATIVE = {"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99"}


def with_own_uids(path) -> bytes:
    """The file under UIDs of its own: several share one, or have none. Pixel data stays as it is."""
    ds = pydicom.dcmread(path)
    meta = ds.file_meta
    meta.MediaStorageSOPClassUID = ds.SOPClassUID = meta.get("MediaStorageSOPClassUID") or ds.SOPClassUID
    ds.StudyInstanceUID, ds.SeriesInstanceUID = generate_uid(entropy_srcs=["study"]), generate_uid()
    ds.SOPInstanceUID = meta.MediaStorageSOPInstanceUID = generate_uid()
    return part10(ds)


@pytest.fixture(scope="module")
def kept(server, shared):
    """What was sent of each file, and the URL under which it was stored."""
    stored = {}
    for path in sorted((shared / "data" / "transfer-syntaxes").rglob("*.dcm")):
        if path.name in LEFT_OUT:
            continue
        sent = with_own_uids(path)
        answer = requests.post(f"{server.dicomweb}/studies", data=sent, timeout=60,
                               headers={"Content-Type": "application/dicom"})
        assert answer.status_code == 200, f"{path.name}: {answer.text}"
        stored[path] = sent, answer.json()["00081199"]["Value"][0]["00081190"]["Value"][0]
    return stored


def test_all_come_back_byte_for_byte(kept):
    for path, (sent, url) in kept.items():
        answer = requests.get(url, headers={"Accept": "application/dicom; transfer-syntax=*"}, timeout=60)
        assert answer.content == sent, path.name


def test_metadata_is_read_by_pydicom(kept):
    for path, (_, url) in kept.items():
        (item,) = requests.get(f"{url}/metadata", timeout=60).json()
        assert url.endswith(item["00080018"]["Value"][0]), path.name
        if path.name not in UNREADABLE_BY_PYDICOM:
            read = pydicom.Dataset.from_json(item, bulk_data_uri_handler=lambda _uri: b"")
            assert read.get("Rows") == pydicom.dcmread(path, stop_before_pixels=True).get("Rows"), path.name


def test_native_frames_are_the_stored_bytes(kept):
    compared = 0
    for path, (_, url) in kept.items():
        ds = pydicom.dcmread(path)
        syntax = ds.file_meta.TransferSyntaxUID
        if syntax not in NATIVE or "PixelData" not in ds or ds.BitsAllocated % 8 or "_42" in ds.PhotometricInterpretation:
            continue
        length = ds.Rows * ds.Columns * ds.SamplesPerPixel * ds.BitsAllocated // 8
        answer = requests.get(f"{url}/frames/1", headers={"Accept": "application/octet-stream"}, timeout=60)
        assert answer.status_code == 200, f"{path.name}: {answer.text}"
        assert answer.content == ds.PixelData[:length], path.name
        compared += 1
    assert compared >= 5


def test_compressed_frames_are_decoded_for_octet_stream(kept):
    """Lossless grey files: exactly pydicom's pixels."""
    lossless = {"1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.80",
                "1.2.840.10008.1.2.4.90"}
    compared = 0
    for path, (_, url) in kept.items():
        ds = pydicom.dcmread(path)
        if ds.file_meta.TransferSyntaxUID not in lossless or ds.get("SamplesPerPixel") != 1:
            continue
        try:
            expected = ds.pixel_array
        except Exception:  # no decoder installed for it, or malformed on purpose
            continue
        frame = expected[0] if int(ds.get("NumberOfFrames", 1)) > 1 else expected
        answer = requests.get(f"{url}/frames/1", headers={"Accept": "application/octet-stream"}, timeout=60)
        assert answer.status_code == 200, f"{path.name}: {answer.text}"
        if ds.BitsAllocated == 1:  # PS3.5 8.1.1: eight samples a byte
            frame = np.packbits(frame, bitorder="little")
        assert answer.content == frame.astype(frame.dtype.newbyteorder("<")).tobytes(), path.name
        compared += 1
    assert compared >= 1


def test_compressed_frames_can_be_had_as_stored(kept):
    types = {"1.2.840.10008.1.2.5": "image/dicom-rle", "1.2.840.10008.1.2.4.50": "image/jpeg",
             "1.2.840.10008.1.2.4.70": "image/jpeg", "1.2.840.10008.1.2.4.80": "image/jls",
             "1.2.840.10008.1.2.4.90": "image/jp2", "1.2.840.10008.1.2.4.201": "image/jphc"}
    compared = 0
    for path, (_, url) in kept.items():
        ds = pydicom.dcmread(path)
        media_type = types.get(ds.file_meta.TransferSyntaxUID)
        if media_type is None or "PixelData" not in ds:
            continue
        answer = requests.get(f"{url}/frames/1", headers={"Accept": media_type}, timeout=60)
        if answer.status_code == 406:  # malformed on purpose: fragments that make no frames
            continue
        assert answer.status_code == 200, f"{path.name}: {answer.text}"
        frame = next(pydicom.encaps.generate_frames(ds.PixelData, number_of_frames=int(ds.get("NumberOfFrames", 1))))
        assert answer.content == frame, path.name
        compared += 1
    assert compared >= 5
