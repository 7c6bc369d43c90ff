"""DCMTK's dcmdump reads what is retrieved, in every transfer syntax, and complains of nothing."""

import pydicom
import pytest
import requests
from pydicom.uid import (
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

import patients
from engram_api import Api
from small_ct import make_ct

OFFERED = [ImplicitVRLittleEndian, ExplicitVRLittleEndian, JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless,
           HTJ2KLossless, RLELossless]
SEGS = {"LABELMAP": 4, "BINARY": 5}


def colour() -> pydicom.Dataset:
    """Two frames in colour, with a private element, text in another character set and a sequence."""
    image = make_ct(9, study="2.25.4001", series="2.25.4001.1", rows=24)
    image.SamplesPerPixel, image.PhotometricInterpretation, image.PlanarConfiguration = 3, "RGB", 0
    image.BitsAllocated = image.BitsStored = 8
    image.HighBit, image.PixelRepresentation, image.NumberOfFrames = 7, 0, 2
    image.PixelData = bytes(index % 251 for index in range(2 * 24 * 12 * 3))
    image["PixelData"].VR = "OB"
    image.SpecificCharacterSet, image.PatientName = "ISO_IR 192", "Müller^Jörg"
    image.private_block(0x0029, "ENGRAM TEST", create=True).add_new(1, "LO", "a private element")
    item = pydicom.Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = image.SOPClassUID, "2.25.4002"
    image.ReferencedImageSequence = [item]
    return image


@pytest.fixture(scope="module")
def objects(engram, server) -> dict[str, str]:
    """The URL of an object of each kind."""
    api = Api(server.base)
    ct, rgb, mr = make_ct(1), colour(), patients.images(1)
    api.store(ct, rgb)
    urls = {"ct": ct, "rgb": rgb, "mr": mr[0], "manual seg": patients.segmentation(1)}
    for annotated in (1, 2, 3):
        api.store(*patients.images(annotated), patients.segmentation(annotated))
    api.settled()
    urls = {name: location(server.dicomweb, one.StudyInstanceUID, one.SeriesInstanceUID, one.SOPInstanceUID)
            for name, one in urls.items()}
    for encoding, number in SEGS.items():
        api.store(*patients.images(number))
        result = api.segment(number, options={"encoding": encoding}).json()["result"]
        urls[encoding] = location(server.dicomweb, result["study"], result["series"], result["sop_instance"])
    return urls


def location(base: str, study: str, series: str, instance: str) -> str:
    return f"{base}/studies/{study}/series/{series}/instances/{instance}"


@pytest.mark.parametrize("syntax", OFFERED, ids=lambda syntax: syntax.name)
@pytest.mark.parametrize("kind", ["ct", "rgb", "mr", "manual seg", *SEGS])
def test_it_reads_every_object(objects, dcmdump, tmp_path, kind, syntax):
    accept = f"application/dicom; transfer-syntax={syntax}"
    answer = requests.get(objects[kind], headers={"Accept": accept}, timeout=60)
    if answer.status_code == 406:
        # Of these, only single bits cannot be compressed.
        assert syntax.is_compressed and kind in ("manual seg", "BINARY"), answer.text
        return
    assert answer.status_code == 200 and answer.headers["Content-Type"] == accept
    (tmp_path / "object.dcm").write_bytes(answer.content)
    assert dcmdump(tmp_path / "object.dcm") == ""


def test_it_reads_real_files_as_they_were_stored(server, shared, dcmdump, tmp_path):
    """What is wrong with a file when it comes in is not mended: dcmdump says the same of both."""
    read = 0
    for path in sorted((shared / "data" / "transfer-syntaxes").rglob("*.dcm")):
        sent = path.read_bytes()
        stored = requests.post(f"{server.dicomweb}/studies", data=sent, timeout=60,
                               headers={"Content-Type": "application/dicom"})
        if stored.status_code != 200:
            continue
        url = stored.json()["00081199"]["Value"][0]["00081190"]["Value"][0]
        answer = requests.get(url, headers={"Accept": "application/dicom; transfer-syntax=*"}, timeout=60)
        (tmp_path / "object.dcm").write_bytes(answer.content)
        said, before = (dcmdump(file).replace(str(file), "") for file in (tmp_path / "object.dcm", path))
        assert said == before, path.name
        read += 1
    assert read > 30
