"""Structured reports as people read them: HTML, plain text, XML. What they say is held against pydicom and DCMTK."""

import html.parser
import re
import subprocess
import xml.etree.ElementTree as ElementTree

import pydicom
import pytest
import requests
from dicomweb_client.api import DICOMwebClient
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.uid import BasicTextSRStorage

from answers import parts, picture
from small_ct import make_ct

STUDY = "2.25.5010"
REPORTS = ["reportsi.dcm", "test-SR.dcm"]


class Page(html.parser.HTMLParser):
    """The text of a page, its links and the names of its places; fails where tags are not closed in order."""

    VOID = ("meta", "br", "hr", "link", "img")

    def __init__(self, content: str):
        super().__init__()
        self.text, self.links, self.places, self.open = "", [], set(), []
        self.feed(content)
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.text += " "
        self.links += [attributes["href"]] if "href" in attributes else []
        self.places |= {attributes["id"]} if "id" in attributes else set()
        self.open += [] if tag in self.VOID else [tag]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        self.text += " "

    def handle_startendtag(self, tag, attrs):
        assert tag in self.VOID

    def handle_data(self, data):
        self.text += data if "style" not in self.open else ""


def store(server, *instances: Dataset) -> list[str]:
    """The URLs of instances that were stored."""
    DICOMwebClient(url=server.dicomweb).store_instances(list(instances))
    return [f"{server.dicomweb}/studies/{ds.StudyInstanceUID}/series/{ds.SeriesInstanceUID}/instances/{ds.SOPInstanceUID}"
            for ds in instances]


def get(url: str, accept: str = "*/*", status: int = 200, **parameters) -> requests.Response:
    answer = requests.get(url, headers={"Accept": accept}, params=parameters, timeout=30)
    assert answer.status_code == status, answer.text[:300]
    return answer


def said(item: Dataset, in_line: bool = False):
    """What a report says, in its order: texts, meanings of codes, names and numbers. `in_line`: running text has no names."""
    for below in item.get("ContentSequence", []):
        if not (in_line and item.get("ContinuityOfContent") == "CONTINUOUS" and below.ValueType != "CONTAINER"):
            yield from (name.CodeMeaning for name in below.get("ConceptNameCodeSequence", []) if "CodeMeaning" in name)
        yield from (code.CodeMeaning for code in below.get("ConceptCodeSequence", []))
        yield from (str(value.NumericValue) for value in below.get("MeasuredValueSequence", []))
        yield from (str(below[keyword].value) for keyword in ("TextValue", "UID") if keyword in below)
        yield from said(below, in_line)


def squeezed(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def assert_says(text: str, report: Dataset, in_line: bool):
    """Everything is there, each after what comes before it."""
    text, place, count = squeezed(text), 0, 0
    for words in map(squeezed, said(report, in_line)):
        words = words.strip()
        found = text.find(words, place)
        assert found >= 0, f"{words!r} is not behind {text[max(0, place - 40):place]!r}"
        place, count = found + len(words), count + 1
    assert count > 5


@pytest.mark.parametrize("name", REPORTS)
def test_a_report_says_everything_in_every_form(server, name):
    report = pydicom.dcmread(get_testdata_file(name))
    (url,) = store(server, report)
    answer = get(f"{url}/rendered")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    page = Page(answer.content.decode())
    assert_says(page.text, report, in_line=True)
    assert all(link.removeprefix("#") in page.places for link in page.links if link.startswith("#"))
    plain = get(f"{url}/rendered", "text/plain")
    assert plain.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert_says(plain.content.decode(), report, in_line=False)
    document = get(f"{url}/rendered", "text/xml")
    assert ElementTree.fromstring(document.content).tag.endswith("NativeDicomModel")
    ((headers, content),) = parts(get(f"{url}/rendered", 'multipart/related; type="text/html"'))
    assert (headers["content-type"], content) == ("text/html; charset=utf-8", answer.content)


@pytest.mark.parametrize("name", REPORTS)
def test_dcmtk_finds_no_more_in_a_report(server, name):
    path = get_testdata_file(name)
    (url,) = store(server, pydicom.dcmread(path))
    made = subprocess.run(["dsr2xml", "+U8", "-Ec", "-Er", "-Ee", path], capture_output=True, check=True)
    content = ElementTree.fromstring(made.stdout).find("document/content")
    found = [meaning.text for meaning in content.iter("meaning")]
    for kind in ("text", "num", "uidref", "date", "time", "datetime"):
        found += [value.text.replace("T", " ") if kind == "datetime" else value.text
                  for item in content.iter(kind) for value in item.findall("value")]
    ours = squeezed(get(f"{url}/rendered", "text/plain").content.decode())
    assert len(found) > 10
    assert [words for words in found if squeezed(words).strip() not in ours] == []


def make_report(image: Dataset) -> Dataset:
    ds = make_ct(9, study=STUDY, series=f"{STUDY}.9")
    for keyword in ("PixelData", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"):
        delattr(ds, keyword)
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = BasicTextSRStorage
    ds.Modality, ds.ValueType, ds.CompletionFlag = "SR", "CONTAINER", "PARTIAL"

    def code(meaning: str) -> list[Dataset]:
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "1", "99TEST", meaning
        return [item]

    def item(value_type: str, name: str) -> Dataset:
        item = Dataset()
        item.RelationshipType, item.ValueType, item.ConceptNameCodeSequence = "CONTAINS", value_type, code(name)
        return item

    text, here, elsewhere, itself = (item(*told) for told in (
        ("TEXT", "Finding"), ("IMAGE", "Image"), ("IMAGE", "Another"), ("COMPOSITE", "Itself")))
    text.TextValue = "<script>alert(1)</script> & more"
    for referring, uid in ((here, image.SOPInstanceUID), (elsewhere, "2.25.404"), (itself, ds.SOPInstanceUID)):
        reference = Dataset()
        reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = image.SOPClassUID, uid
        referring.ReferencedSOPSequence = [reference]
    here.ReferencedSOPSequence[0].ReferencedFrameNumber = [1, 2]
    ds.ConceptNameCodeSequence, ds.ContentSequence = code("A report"), [text, here, elsewhere, itself]
    return ds


def test_a_report_links_to_the_images_that_are_here(server):
    image = make_ct(1, study=STUDY, series=f"{STUDY}.1")
    image_url, url = store(server, image, make_report(image))
    answer = get(f"{url}/rendered", "text/html,application/xhtml+xml,*/*;q=0.8")
    page = Page(answer.text)
    assert page.text.split()[:2] == ["A", "report"] and "<script>alert(1)</script> & more" in page.text
    assert "<script" not in answer.text
    assert "Another: CT Image 2.25.404" in squeezed(page.text)
    to_image, to_itself = (requests.compat.urljoin(answer.url, link) for link in page.links)
    assert to_image.endswith("/frames/1/rendered"), "of several frames the first"
    shown = get(to_image, "image/png")
    assert picture(shown.content, "PNG").shape == (16, 12)
    assert shown.content == get(f"{image_url}/rendered", "image/png").content
    assert get(to_itself).content == answer.content


def test_a_report_by_wado_uri(server):
    image = make_ct(1, study=STUDY, series=f"{STUDY}.1")
    report = make_report(image)
    _, url = store(server, image, report)
    asked = {"requestType": "WADO", "objectUID": report.SOPInstanceUID}
    for base in (server.base, server.dicomweb):
        answer = get(f"{base}/wado", **asked)
        page = Page(answer.text)
        assert page.text == Page(get(f"{url}/rendered").text).text
        link, _ = page.links
        assert picture(get(requests.compat.urljoin(answer.url, link), "image/jpeg").content, "JPEG").shape == (16, 12)
    assert get(f"{server.base}/wado", **asked, contentType="text/plain").text.startswith("A report\n========\n")
    assert get(f"{server.base}/wado", **asked, contentType="application/dicom").content[128:132] == b"DICM"


def test_a_report_is_no_picture(server):
    image = make_ct(1, study=STUDY, series=f"{STUDY}.1")
    _, url = store(server, image, make_report(image))
    refused = get(f"{url}/rendered", "image/png", status=406).json()
    assert refused["code"] == "not_acceptable" and "text/html" in refused["message"]
