"""Answers in XML say what the answers in JSON say, read with Python's own tools."""

import pytest
import requests
from pydicom.dataset import Dataset

import native
from small_ct import SERIES, STUDY, make_ct, part10

XML = 'multipart/related; type="application/dicom+xml"'


def awkward(number: int) -> Dataset:
    """A slice with what XML makes difficult."""
    ds = make_ct(number)
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.PatientName = "Yamada^Tarou^^Dr=山田^太郎=やまだ^たろう"
    ds.OtherPatientNames = ["Müller^Jörg", "", "A&B<C>^\"'"]
    ds.PatientComments = " lines\r\nand\ttabs <&> ]]> "
    ds.ImageType = ["ORIGINAL", "", "AXIAL"]
    ds.ImageComments = ""
    item = Dataset()
    item.ScheduledProcedureStepID = "STEP"
    item.ScheduledProtocolCodeSequence = [Dataset()]
    ds.RequestAttributesSequence = [item, Dataset()]
    block = ds.private_block(0x0009, "ACME <1>", create=True)
    block.add_new(0x01, "LO", "private")
    block.add_new(0x02, "OB", b"\x00\x01\x02\x03")
    ds.private_block(0x0009, "OTHER", create=True).add_new(0x01, "FD", [1.5, -2.25e-300])
    ds.RedPaletteColorLookupTableData = bytes(range(256)) * 8
    return ds


@pytest.fixture(scope="module")
def kept(server):
    for number in (1, 2, 3):
        answer = requests.post(f"{server.dicomweb}/studies", data=part10(awkward(number)), timeout=60,
                               headers={"Content-Type": "application/dicom"})
        assert answer.status_code == 200, answer.text
    return server


def get(server, path, accept=None, **headers):
    headers = headers | ({"Accept": accept} if accept else {})
    return requests.get(server.dicomweb + path, headers=headers, timeout=60)


PATHS = [
    "/studies", "/series", "/instances", "/instances?includefield=all", f"/studies/{STUDY}/series",
    f"/studies/{STUDY}/series/{SERIES}/instances?includefield=00400275,OtherPatientNames",
    f"/studies/{STUDY}/metadata", f"/studies/{STUDY}/series/{SERIES}/metadata",
    f"/studies/{STUDY}/series/{SERIES}/instances/{SERIES}.2/metadata",
]


@pytest.mark.parametrize("path", PATHS)
def test_xml_and_json_are_the_same(kept, path):
    answer = get(kept, path, XML)
    assert answer.status_code == 200 and answer.headers["Content-Type"].startswith("multipart/related;")
    expected = get(kept, path).json()
    assert [native.read(part) for part in native.parts(answer)] == expected
    assert len(expected) >= 1


def test_attributes_have_keywords_and_private_ones_their_creators(kept):
    answer = get(kept, f"/studies/{STUDY}/series/{SERIES}/instances/{SERIES}.1/metadata", XML)
    (document,) = native.parts(answer)
    text = document.decode()
    assert '<DicomAttribute tag="00100010" vr="PN" keyword="PatientName">' in text
    assert '<DicomAttribute tag="00090001" vr="LO" privateCreator="ACME &lt;1&gt;">' in text
    assert '<DicomAttribute tag="00090001" vr="FD" privateCreator="OTHER">' in text
    assert "<FamilyName>山田</FamilyName><GivenName>太郎</GivenName>" in text
    assert 'xml:space="preserve"' in text


def test_a_validator_spares_the_answer(kept):
    path = f"/studies/{STUDY}/metadata"
    xml, json = get(kept, path, XML), get(kept, path)
    assert xml.headers["ETag"] != json.headers["ETag"]
    assert get(kept, path, XML, **{"If-None-Match": xml.headers["ETag"]}).status_code == 304
    assert get(kept, path, XML, **{"If-None-Match": json.headers["ETag"]}).status_code == 200


def test_nothing_acceptable_is_406(kept):
    for path in ("/studies", f"/studies/{STUDY}/metadata"):
        for accept in ("application/dicom+xml", "text/xml", 'multipart/related; type="application/dicom"'):
            answer = get(kept, path, accept)
            assert answer.status_code == 406 and answer.json()["what_to_do"], (path, accept)
    assert get(kept, "/studies?PatientID=nobody", XML).status_code == 204


def test_the_answer_of_store_in_xml(kept):
    ct = make_ct(9, study="2.25.1009", series="2.25.1009.1")
    headers = {"Content-Type": "application/dicom", "Accept": "application/dicom+xml"}
    answer = requests.post(f"{kept.dicomweb}/studies", data=part10(ct), headers=headers, timeout=60)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/dicom+xml")
    (item,) = native.read(answer.content)["00081199"]["Value"]
    assert item["00081155"]["Value"] == [ct.SOPInstanceUID]
    answer = requests.post(f"{kept.dicomweb}/studies", data=b"no DICOM", headers=headers, timeout=60)
    assert answer.status_code == 409
    (item,) = native.read(answer.content)["0008119A"]["Value"]
    assert item["00081197"]["Value"] == [0xC000]
