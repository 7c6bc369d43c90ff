"""Clients that have an answer already: entity tags, conditional requests and resumed downloads."""

import pytest
import requests
from pydicom.uid import JPEGLSLossless

from small_ct import make_ct, part10

STUDY = "2.25.2201"


def get(url: str, status: int = 200, **headers) -> requests.Response:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = requests.get(url, headers=names, timeout=60)
    assert answer.status_code == status, answer.text[:300]
    return answer


@pytest.fixture(scope="module")
def instance(server) -> str:
    """The URL of an instance in JPEG-LS; there is another in its series."""
    for number in (1, 2):
        ds = make_ct(number, study=STUDY, series=f"{STUDY}.1", rows=200)
        ds.compress(JPEGLSLossless, generate_instance_uid=False)
        answer = requests.post(f"{server.dicomweb}/studies", data=part10(ds), timeout=60,
                               headers={"Content-Type": "application/dicom"})
        assert answer.status_code == 200, answer.text
    return f"{server.dicomweb}/studies/{STUDY}/series/{STUDY}.1/instances/{STUDY}.1.1"


FORMS = [
    ("", "application/dicom; transfer-syntax=*"),
    ("", "application/dicom"),
    ("", 'multipart/related; type="application/dicom"; transfer-syntax=*'),
    ("/frames/1", "application/octet-stream"),
    ("/frames/1", "image/jls"),
    ("/frames/1", 'multipart/related; type="image/jls"'),
    ("/bulkdata/7FE00010", "application/octet-stream"),
    ("/metadata", "application/dicom+json"),
    ("/rendered", "image/png"),
    ("/rendered?window=40,400,linear", "image/png"),
    ("/rendered", "image/jpeg"),
    ("/thumbnail", "image/jpeg"),
]


@pytest.mark.parametrize("path, accept", FORMS)
def test_what_a_client_has_is_not_sent_again(instance, path, accept):
    first = get(instance + path, Accept=accept)
    tag = first.headers["ETag"]
    assert get(instance + path, Accept=accept).headers["ETag"] == tag
    for known in (tag, f'"another", {tag}', "*", tag.removeprefix("W/")):
        unchanged = get(instance + path, status=304, Accept=accept, If_None_Match=known)
        assert unchanged.content == b"" and unchanged.headers["ETag"] == tag
    assert get(instance + path, Accept=accept, If_None_Match='"another"').content


def test_each_form_is_another_entity(instance):
    # Compressed pixels are sent as bulk data as the frame is that they are.
    forms = [(path, accept) for path, accept in FORMS if not path.startswith("/bulkdata")]
    tags = [get(instance + path, Accept=accept).headers["ETag"] for path, accept in forms]
    other = instance.removesuffix("1") + "2"
    tags += [get(other + path, Accept=accept).headers["ETag"] for path, accept in forms]
    assert len(set(tags)) == len(tags)


def test_a_series_is_not_sent_again_until_it_grows(server, instance):
    series = instance.split("/instances/")[0]
    accept = 'multipart/related; type="application/dicom"; transfer-syntax=*'
    tag = get(series, Accept=accept).headers["ETag"]
    get(series, status=304, Accept=accept, If_None_Match=tag)
    third = part10(make_ct(3, study=STUDY, series=f"{STUDY}.1"))
    assert requests.post(f"{server.dicomweb}/studies", data=third, timeout=60,
                         headers={"Content-Type": "application/dicom"}).status_code == 200
    assert get(series, Accept=accept, If_None_Match=tag).headers["ETag"] != tag


def test_a_download_is_resumed_if_it_is_the_same(instance):
    accept = "application/dicom; transfer-syntax=*"
    whole = get(instance, Accept=accept)
    tag = whole.headers["ETag"]
    assert not tag.startswith("W/")
    rest = get(instance, status=206, Accept=accept, Range="bytes=100-", If_Range=tag)
    assert rest.content == whole.content[100:]
    for other in ('"another"', f"W/{tag}", "Tue, 01 Jan 2030 00:00:00 GMT"):
        assert get(instance, Accept=accept, Range="bytes=100-", If_Range=other).content == whole.content


def test_answers_are_not_kept_for_others(instance):
    for path, accept in FORMS:
        kept = get(instance + path, Accept=accept).headers.get("Cache-Control", "")
        assert "no-cache" in kept and "private" in kept, path
