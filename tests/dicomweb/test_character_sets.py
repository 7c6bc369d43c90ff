"""Text in every character set of the standard, as DICOM JSON has it."""

import pytest
import requests
from pydicom.charset import convert_encodings, encode_string

from small_ct import make_ct, part10

STUDY = "2.25.2301"

NAMES = {
    "ISO_IR 100": "Müller^Jörg",
    "ISO_IR 101": "Łukasz^Żółć",
    "ISO_IR 109": "Ĝis^Ŝanĝo",
    "ISO_IR 110": "Ķēniņš^Ģirts",
    "ISO_IR 126": "Διονυσιος^Α",
    "ISO_IR 127": "قباني^لنزار",
    "ISO_IR 138": "שרון^דבורה",
    "ISO_IR 144": "Люкceмбypг^А",
    "ISO_IR 148": "Yağmur^Şükrü İnce",
    "ISO_IR 166": "นามสกุล^ชื่อ",
    "ISO_IR 192": "Wang^XiaoDong=王^小東",
    "ISO_IR 203": "Bœuf^Š €",
    "GB18030": "Wang^XiaoDong=王^小东",
    "GBK": "Wang^XiaoDong=王^小东",
    r"\ISO 2022 IR 87": "Yamada^Tarou=山田^太郎=やまだ^たろう",
    r"\ISO 2022 IR 87\ISO 2022 IR 159": "Cho^丂=丂^山",
    r"\ISO 2022 IR 149": "Hong^Gildong=洪^吉洞=홍^길동",
    r"\ISO 2022 IR 58": "Zhang^XiaoDong=张^小东",
    r"ISO 2022 IR 100\ISO 2022 IR 126": "Müller^Διονυσιος",
    r"ISO 2022 IR 100\ISO 2022 IR 148": "Müller^Şükrü",
}


def encoded(charset: str) -> bytes:
    """A name as objects have it. pydicom does not know ISO 8859-15, and leaves out the escape sequences of GB2312."""
    name = NAMES[charset]
    if charset == "ISO_IR 203":
        return name.encode("iso8859_15")
    if charset.endswith("IR 58"):
        first, ideographic = name.split("=")
        return first.encode() + b"=" + b"^".join(b"\x1b$)A" + part.encode("gb2312") for part in ideographic.split("^"))
    encodings = convert_encodings(charset.split("\\"))
    groups = [[encode_string(part, encodings) for part in group.split("^")] for group in name.split("=")]
    return b"=".join(b"^".join(parts) for parts in groups)


@pytest.mark.parametrize("charset", NAMES)
def test_names_are_read_and_found(server, charset):
    number = list(NAMES).index(charset) + 1
    ds = make_ct(number, study=f"{STUDY}.{number}", series=f"{STUDY}.{number}.1")
    name = encoded(charset)
    ds.SpecificCharacterSet, ds.PatientName = "ISO_IR 192", "X" * len(name)
    # Both are padded to an even length.
    terms = [charset.encode(), charset.encode() + b" "][len(charset) % 2]
    content = part10(ds).replace(b"X" * len(name), name)
    content = content.replace(b"CS\x0a\0ISO_IR 192", b"CS" + len(terms).to_bytes(2, "little") + terms)
    answer = requests.post(f"{server.dicomweb}/studies", data=content, timeout=60,
                           headers={"Content-Type": "application/dicom"})
    assert answer.status_code == 200, answer.text
    found = requests.get(f"{server.dicomweb}/studies", timeout=60,
                         params={"PatientName": NAMES[charset], "StudyInstanceUID": ds.StudyInstanceUID}).json()
    assert len(found) == 1
    groups = found[0]["00100010"]["Value"][0]
    assert [groups.get(key, "") for key in ("Alphabetic", "Ideographic", "Phonetic")] == (NAMES[charset].split("=") + ["", ""])[:3]
    (metadata,) = requests.get(f"{server.dicomweb}/studies/{ds.StudyInstanceUID}/metadata", timeout=60).json()
    assert metadata["00100010"]["Value"] == [groups]
    assert metadata["00080005"]["Value"] == ["ISO_IR 192"]
