"""The Native DICOM Model (PS3.19 A.1) read with Python's own tools, as DICOM JSON."""

import email
import email.policy
from xml.etree import ElementTree

NAMESPACE = "{http://dicom.nema.org/PS3.19/models/NativeDICOM}"
NUMBERS = {"DS": float, "FL": float, "FD": float, "IS": int, "SL": int, "SS": int, "SV": int, "UL": int, "US": int, "UV": int}
COMPONENTS = ["FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix"]


def parts(answer) -> list[bytes]:
    """The parts of a multipart answer."""
    head = f"Content-Type: {answer.headers['Content-Type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + answer.content, policy=email.policy.HTTP)
    assert message.is_multipart()
    return [part.get_payload(decode=True) for part in message.iter_parts()]


def read(document: bytes) -> dict:
    """One document as DICOM JSON."""
    root = ElementTree.fromstring(document)
    assert root.tag == NAMESPACE + "NativeDicomModel"
    return data_set(root)


def data_set(parent) -> dict:
    return dict(attribute(element, parent) for element in parent.iterfind(NAMESPACE + "DicomAttribute"))


def attribute(element, parent) -> tuple[str, dict]:
    vr, json = element.get("vr"), {"vr": element.get("vr")}
    if (bulk := element.find(NAMESPACE + "BulkData")) is not None:
        json["BulkDataURI"] = bulk.get("uri")
    elif (binary := element.find(NAMESPACE + "InlineBinary")) is not None:
        json["InlineBinary"] = binary.text
    elif len(element):
        values = [value(child, vr) for child in element]
        assert [child.get("number") for child in element] == [str(at + 1) for at in range(len(element))]
        json["Value"] = values
    return tag_of(element, parent), json


def tag_of(element, parent) -> str:
    """A private element's tag is `gggg00ee`: its block is where its creator stands."""
    tag, creator = element.get("tag"), element.get("privateCreator")
    if creator is None:
        return tag
    creators = [one.get("tag") for one in parent if one.findtext(NAMESPACE + "Value") == creator
                and one.get("tag").startswith(tag[:4] + "00")]
    return tag[:4] + creators[0][6:] + tag[6:]


def value(child, vr):
    if vr == "SQ":
        return data_set(child)
    if vr == "PN":
        groups = {group.tag.removeprefix(NAMESPACE): name_group(group) for group in child}
        return groups or None
    if child.text is None:
        return None
    try:
        return NUMBERS.get(vr, str)(child.text)
    except ValueError:
        return child.text


def name_group(group) -> str:
    texts = [group.findtext(NAMESPACE + component) or "" for component in COMPONENTS]
    return "^".join(texts).rstrip("^")
