"""Real files in many transfer syntaxes: stored, retrieved untouched, and their frames as pydicom sees them."""

import csv
import io

import pydicom
import pytest
import requests
from dicomweb_client.api import DICOMwebClient
from pydicom.uid import UID


def real_files(shared):
    folder = shared / "data" / "transfer-syntaxes"
    for path in sorted(folder.rglob("*.dcm")):
        yield path


@pytest.fixture(scope="module")
def kept(engram, shared):
    """The files that were taken, by path; the others were refused with a reason."""
    taken = {}
    for path in real_files(shared):
        answer = requests.post(f"{engram.dicomweb}/studies", data=path.read_bytes(), timeout=60,
                               headers={"Content-Type": "application/dicom"})
        assert answer.status_code in (200, 409), f"{path.name}: {answer.status_code} {answer.text}"
        if answer.status_code == 200:
            item = answer.json()["00081199"]["Value"][0]
            taken[path] = item["00081190"]["Value"][0]
    return taken


def test_most_are_taken_and_come_back_byte_for_byte(kept):
    assert len(kept) >= 30
    for path, url in kept.items():
        answer = requests.get(url, headers={"Accept": "application/dicom; transfer-syntax=*"}, timeout=60)
        assert answer.content == path.read_bytes(), path.name


def test_metadata_is_read_by_pydicom(kept):
    for path, url in kept.items():
        (item,) = requests.get(f"{url}/metadata", timeout=60).json()
        read = pydicom.Dataset.from_json(item, bulk_data_uri_handler=lambda _uri: b"")
        assert read.SOPInstanceUID == pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID, path.name


def test_native_frames_are_the_stored_bytes(kept):
    compared = 0
    for path, url in kept.items():
        ds = pydicom.dcmread(path)
        syntax = ds.file_meta.TransferSyntaxUID
        native = not syntax.is_compressed and syntax.is_little_endian
        if not native or "PixelData" not in ds or ds.BitsAllocated % 8 or "_42" in ds.PhotometricInterpretation:
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
    for path, url in kept.items():
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
        assert answer.content == frame.astype(frame.dtype.newbyteorder("<")).tobytes(), path.name
        compared += 1
    assert compared >= 1


def test_compressed_frames_can_be_had_as_stored(kept):
    types = {"1.2.840.10008.1.2.5": "image/dicom-rle", "1.2.840.10008.1.2.4.50": "image/jpeg",
             "1.2.840.10008.1.2.4.70": "image/jpeg", "1.2.840.10008.1.2.4.80": "image/jls",
             "1.2.840.10008.1.2.4.90": "image/jp2", "1.2.840.10008.1.2.4.201": "image/jphc"}
    compared = 0
    for path, url in kept.items():
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
