"""Instances stored as metadata and bulk data, retrieved as objects, and compared with pydicom."""

import io
import json
from xml.etree import ElementTree

import pydicom
import pytest
import requests
from pydicom.encaps import generate_frames
from pydicom.uid import ExplicitVRLittleEndian, JPEGLSLossless, RLELossless

from small_ct import make_ct

JSON, XML = "application/dicom+json", "application/dicom+xml"
OCTETS = "application/octet-stream"


def metadata(ds, uri) -> dict:
    """A data set as DICOM JSON, its pixel data at `uri`."""
    item = {key: element for key, element in json.loads(ds.to_json(bulk_data_threshold=1 << 30)).items()}
    item["7FE00010"] = {"vr": "OW", "BulkDataURI": uri}
    return item


def post(server, part_type, *parts, path="/studies"):
    """`parts`: content type, Content-Location or None, content."""
    body = b""
    for content_type, location, content in parts:
        location = f"Content-Location: {location}\r\n" if location else ""
        body += f"--B\r\nContent-Type: {content_type}\r\n{location}\r\n".encode() + content + b"\r\n"
    headers = {"Content-Type": f'multipart/related; type="{part_type}"; boundary=B'}
    return requests.post(server.dicomweb + path, data=body + b"--B--\r\n", headers=headers, timeout=60)


def stored(answer) -> pydicom.Dataset:
    """The one instance that was stored, as retrieved."""
    (item,) = answer.json()["00081199"]["Value"]
    headers = {"Accept": "application/dicom; transfer-syntax=*"}
    content = requests.get(item["00081190"]["Value"][0], headers=headers, timeout=60).content
    return pydicom.dcmread(io.BytesIO(content))


def plain(number: int, series: str) -> pydicom.Dataset:
    ds = make_ct(number, study="2.25.1011", series=series)
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.PatientName = "Yamada^Tarou=山田^太郎"
    ds.OtherPatientNames = ["A^B", "C^D"]
    ds.ImageComments = "back\\slash"
    item = pydicom.Dataset()
    item.ScheduledProcedureStepID = "STEP"
    ds.RequestAttributesSequence = [item, pydicom.Dataset()]
    ds.private_block(0x0009, "ACME", create=True).add_new(0x01, "OB", b"\x01\x02")
    ds.add_new(0x00189810, "FD", [0.1, -1e-300])
    return ds


def xml(json_object: dict) -> bytes:
    """DICOM JSON as the Native DICOM Model, made here with Python's own tools."""
    def fill(parent, data_set):
        for tag, element in data_set.items():
            node = ElementTree.SubElement(parent, "DicomAttribute", tag=tag, vr=element["vr"])
            if "BulkDataURI" in element:
                ElementTree.SubElement(node, "BulkData", uri=element["BulkDataURI"])
            if "InlineBinary" in element:
                ElementTree.SubElement(node, "InlineBinary").text = element["InlineBinary"]
            for number, value in enumerate(element.get("Value", []), 1):
                name = {"SQ": "Item", "PN": "PersonName"}.get(element["vr"], "Value")
                child = ElementTree.SubElement(node, name, number=str(number))
                if name == "Item":
                    fill(child, value)
                elif name == "PersonName":
                    for group, text in value.items():
                        group = ElementTree.SubElement(child, group)
                        for component, part in zip(("FamilyName", "GivenName"), text.split("^")):
                            ElementTree.SubElement(group, component).text = part
                else:
                    child.text = str(value)

    root = ElementTree.Element("NativeDicomModel", {"xml:space": "preserve"})
    fill(root, json_object)
    return ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)


@pytest.mark.parametrize("form", [JSON, XML])
def test_what_is_stored_is_what_was_sent(server, form):
    ds = plain(1, f"2.25.1011.{len(form)}")
    item = metadata(ds, "bulk/1")
    item["00083002"] = {"vr": "UI", "Value": [ExplicitVRLittleEndian]}
    document = json.dumps([item]).encode() if form == JSON else xml(item)
    answer = post(server, form, (form, None, document), (OCTETS, "bulk/1", ds.PixelData))
    assert answer.status_code == 200, answer.text
    read = stored(answer)
    assert read.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert read.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID
    assert read == ds


@pytest.mark.parametrize("syntax, media_type", [(RLELossless, "image/dicom-rle"), (JPEGLSLossless, "image/jls")])
def test_compressed_pixel_data_is_encapsulated(server, shared, syntax, media_type):
    source = next((pydicom.dcmread(path) for path in sorted((shared / "data" / "transfer-syntaxes").rglob("*.dcm"))
                   if pydicom.dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID == syntax
                   and "mosaic" not in path.name), None)
    if source is None:
        pytest.skip(f"no file in {syntax.name}")
    count = int(source.get("NumberOfFrames", 1))
    frames = list(generate_frames(source.PixelData, number_of_frames=count))
    ds = make_ct(1, study=f"2.25.1012{len(media_type)}", series=f"2.25.1012{len(media_type)}.1")
    for keyword in ("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
                    "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames"):
        if keyword in source:
            setattr(ds, keyword, source.get(keyword))
    parts = [(f"{media_type}; transfer-syntax={syntax}", "px", frame) for frame in frames]
    answer = post(server, JSON, (JSON, None, json.dumps([metadata(ds, "px")]).encode()), *parts)
    assert answer.status_code == 200, answer.text
    read = stored(answer)
    assert read.file_meta.TransferSyntaxUID == syntax
    padded = [frame + b"\0" * (len(frame) % 2) for frame in frames]
    assert list(generate_frames(read.PixelData, number_of_frames=count)) == padded


def test_single_part_bodies_hold_everything(server):
    for form, name in ((JSON, "1"), (XML, "2")):
        ds = make_ct(1, study="2.25.1013", series=f"2.25.1013.{name}")
        item = json.loads(ds.to_json(bulk_data_threshold=1 << 30))
        document = json.dumps([item]).encode() if form == JSON else xml(item)
        answer = requests.post(f"{server.dicomweb}/studies/2.25.1013", data=document, timeout=60,
                               headers={"Content-Type": form})
        assert answer.status_code == 200, answer.text
        assert stored(answer) == ds


def test_missing_bulk_data_fails_its_instance_alone(server):
    one, two = (make_ct(number, study="2.25.1014", series="2.25.1014.1") for number in (1, 2))
    document = json.dumps([metadata(one, "bulk/1"), metadata(two, "bulk/2")]).encode()
    answer = post(server, JSON, (JSON, None, document), (OCTETS, "bulk/2", two.PixelData))
    assert answer.status_code == 202
    assert stored(answer) == two
    (failure,) = answer.json()["00081198"]["Value"]
    assert failure["00081155"]["Value"] == [one.SOPInstanceUID] and failure["00081197"]["Value"] == [0xC000]


def test_a_rounded_decimal_is_a_warning(server):
    ds = make_ct(1, study="2.25.1015", series="2.25.1015.1")
    item = metadata(ds, "bulk/1")
    item["00180050"]["Value"] = [0.1 + 0.2]
    answer = post(server, JSON, (JSON, None, json.dumps([item]).encode()), (OCTETS, "bulk/1", ds.PixelData))
    assert answer.status_code == 202
    assert answer.json()["00081199"]["Value"][0]["00081196"]["Value"] == [0xB000]
    assert abs(float(stored(answer).SliceThickness) - 0.3) < 1e-12


def test_bad_requests_have_clear_answers(server):
    for content_type, body, status in [
        (JSON, b"{", 409), (JSON, b"[]", 400), (XML, b"<a/>", 409),
        (XML, b'<!DOCTYPE a [<!ENTITY b "c">]><NativeDicomModel>&b;</NativeDicomModel>', 409),
        (f'multipart/related; type="{JSON}"', b"x", 400), ("multipart/related; type=image/png; boundary=B", b"x", 415),
    ]:
        answer = requests.post(f"{server.dicomweb}/studies", data=body, headers={"Content-Type": content_type}, timeout=60)
        assert answer.status_code == status, (content_type, body, answer.text)
    for encoding, status in [("br", 415), ("gzip", 400)]:
        headers = {"Content-Type": JSON, "Content-Encoding": encoding}
        answer = requests.post(f"{server.dicomweb}/studies", data=b"x", headers=headers, timeout=60)
        assert answer.status_code == status, (encoding, answer.text)
