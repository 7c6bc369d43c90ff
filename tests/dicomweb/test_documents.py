"""Encapsulated documents, as octets and as what they are."""

import pytest
import requests
from dicomweb_client.api import DICOMwebClient
from pydicom.dataset import Dataset
from pydicom.uid import EncapsulatedCDAStorage, EncapsulatedPDFStorage, EncapsulatedSTLStorage

from small_ct import make_ct

STUDY = "2.25.5005"
PDF = b"%PDF-1.4\n" + b"% not much of a document\n" * 400 + b"%%EOF\n\n"


def document(number: int, sop_class: str, media_type: str, content: bytes) -> Dataset:
    ds = make_ct(number, study=STUDY, series=f"{STUDY}.{number}")
    for keyword in ("PixelData", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"):
        delattr(ds, keyword)
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = sop_class
    ds.Modality, ds.MIMETypeOfEncapsulatedDocument = "DOC", media_type
    ds.EncapsulatedDocument = content
    return ds


@pytest.mark.parametrize(("number", "sop_class", "told", "media_type"), [
    (1, EncapsulatedPDFStorage, "application/pdf", "application/pdf"),
    (2, EncapsulatedSTLStorage, "MODEL/STL", "model/stl"),
])
def test_a_document_comes_as_what_it_is(server, number, sop_class, told, media_type):
    ds = document(number, sop_class, told, PDF)
    DICOMwebClient(url=server.dicomweb).store_instances([ds])
    instance = f"{server.dicomweb}/studies/{STUDY}/series/{ds.SeriesInstanceUID}/instances/{ds.SOPInstanceUID}"
    (metadata,) = requests.get(f"{instance}/metadata", timeout=30).json()
    url = f"{instance}/{metadata['00420011']['BulkDataURI'].split('/instances/')[1].split('/', 1)[1]}"
    for accept in (media_type, "application/octet-stream"):
        answer = requests.get(url, headers={"Accept": accept}, timeout=30)
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, accept), answer.text[:200]
        assert answer.content == PDF
    parts = requests.get(url, headers={"Accept": f'multipart/related; type="{media_type}"'}, timeout=30)
    assert PDF in parts.content and f"Content-Type: {media_type}".encode() in parts.content
    assert requests.get(url, headers={"Accept": "image/png"}, timeout=30).status_code == 406


def test_what_is_no_document_has_no_other_type(server):
    ds = document(3, EncapsulatedPDFStorage, "text/html", PDF)
    DICOMwebClient(url=server.dicomweb).store_instances([ds])
    url = f"{server.dicomweb}/studies/{STUDY}/series/{ds.SeriesInstanceUID}/instances/{ds.SOPInstanceUID}/bulkdata/00420011"
    assert requests.get(url, headers={"Accept": "text/html"}, timeout=30).status_code == 406
    assert requests.get(url, headers={"Accept": "*/*"}, timeout=30).status_code == 200


def test_a_document_is_rendered_as_what_it_is_without_padding(server):
    odd = PDF + b"!"
    ds = document(4, EncapsulatedPDFStorage, "application/pdf", odd + b"\0")
    ds.EncapsulatedDocumentLength = len(odd)
    DICOMwebClient(url=server.dicomweb).store_instances([ds])
    instance = f"{server.dicomweb}/studies/{STUDY}/series/{ds.SeriesInstanceUID}/instances/{ds.SOPInstanceUID}"
    asked = {"requestType": "WADO", "objectUID": ds.SOPInstanceUID}
    for answer in (requests.get(f"{instance}/rendered", timeout=30), requests.get(f"{server.base}/wado", asked, timeout=30)):
        assert (answer.status_code, answer.headers["Content-Type"], answer.content) == (200, "application/pdf", odd)
    assert requests.get(f"{instance}/rendered", headers={"Accept": "image/png"}, timeout=30).status_code == 406
    part = requests.get(f"{instance}/rendered", headers={"Range": "bytes=0-7"}, timeout=30)
    assert (part.status_code, part.content) == (206, odd[:8])


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_a_long_text_comes_whole_and_runs_nothing(server, encoding):
    cda = b"<ClinicalDocument>" + b"words, and more words. " * 12_000 + b"</ClinicalDocument>"
    cda += b" " * (len(cda) % 2 == 0)
    ds = document(5, EncapsulatedCDAStorage, "text/xml", cda + b"\0")
    DICOMwebClient(url=server.dicomweb).store_instances([ds])
    instance = f"{server.dicomweb}/studies/{STUDY}/series/{ds.SeriesInstanceUID}/instances/{ds.SOPInstanceUID}"
    headers = {"Accept": "text/xml", "Accept-Encoding": encoding}
    for url, asked, expected in (
        (f"{instance}/rendered", {}, cda),
        (f"{server.base}/wado", {"requestType": "WADO", "objectUID": ds.SOPInstanceUID}, cda),
        (f"{instance}/bulkdata/00420011", {}, cda + b"\0"),
    ):
        answer = requests.get(url, asked, headers=headers, timeout=30)
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/xml")
        assert answer.headers.get("Content-Encoding", "identity") == encoding
        assert answer.content == expected
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
