"""Bad input: each kind has a clear answer, spoils nothing, and leaves the server serving."""

import socket

import pytest
import requests

from small_ct import make_ct, part10

MULTIPART = 'multipart/related; type="application/dicom"; boundary=XX'


def body(*parts: bytes, end: bytes = b"\r\n--XX--\r\n") -> bytes:
    return b"".join(b"\r\n--XX\r\nContent-Type: application/dicom\r\n\r\n" + part for part in parts) + end


def post(server, data, content_type=MULTIPART, path="/studies"):
    return requests.post(server.dicomweb + path, data=data, headers={"Content-Type": content_type}, timeout=60)


@pytest.fixture(autouse=True)
def still_serving(server):
    yield
    assert requests.get(f"{server.dicomweb}/studies", timeout=10).status_code == 200


@pytest.mark.parametrize("bad, sequence", [
    (b"this is no DICOM", "0008119A"),
    (part10(make_ct(91))[:-20], "00081198"),
    (b"\0" * 128 + b"DICM" + b"\xff" * 500, "0008119A"),
], ids=["not DICOM", "truncated", "garbage"])
def test_one_bad_part_spoils_no_good_one(server, bad, sequence):
    good = make_ct(92)
    answer = post(server, body(bad, part10(good)))
    assert answer.status_code == 202
    (failure,) = answer.json()[sequence]["Value"]
    assert failure["00081197"]["Value"][0] == 0xC000
    assert answer.json()["00081199"]["Value"][0]["00081155"]["Value"] == [good.SOPInstanceUID]
    assert post(server, body(bad)).status_code == 409


def test_an_element_that_claims_more_than_there_is(server):
    lying = part10(make_ct(93))
    at = lying.rindex(b"\xe0\x7f\x10\x00OW\0\0") + 8
    lying = lying[:at] + (0x7FFFFFF0).to_bytes(4, "little") + lying[at + 4:]
    answer = post(server, body(lying))
    assert answer.status_code == 409
    assert answer.json()["00081198"]["Value"][0]["00081155"]["Value"] == [make_ct(93).SOPInstanceUID]


def test_a_body_without_its_end(server):
    whole = part10(make_ct(94))
    answer = post(server, body(whole, part10(make_ct(95))[:400], end=b""))
    assert answer.status_code == 202
    assert len(answer.json()["00081199"]["Value"]) == 1
    answer = post(server, body(whole, end=b""))
    assert answer.status_code == 400
    assert answer.json()["code"] == "bad_multipart" and answer.json()["what_to_do"]


def test_chunks_of_any_size(server):
    whole = body(*(part10(make_ct(number)) for number in (96, 97)))
    sizes = [1, 7, 64, 3, 1000]

    def chunks():
        at = 0
        while at < len(whole):
            size = sizes[at % len(sizes)]
            yield whole[at:at + size]
            at += size

    answer = post(server, chunks())
    assert answer.status_code == 200 and len(answer.json()["00081199"]["Value"]) == 2


def test_a_client_that_goes_away_in_the_middle(server):
    whole, cut = part10(make_ct(98)), part10(make_ct(99))
    host, port = server.base.removeprefix("http://").split(":")
    head = f"POST /dicomweb/studies HTTP/1.1\r\nHost: x\r\nContent-Type: {MULTIPART}\r\nContent-Length: 99999\r\n\r\n"
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(head.encode() + body(whole, cut[:300], end=b""))
    found = requests.get(f"{server.dicomweb}/instances?SOPInstanceUID={make_ct(99).SOPInstanceUID}", timeout=10)
    assert found.json() == []
    assert post(server, body(whole, cut)).status_code == 200


def test_every_refusal_says_what_to_do(server):
    for method, path, headers, status in [
        ("POST", "/studies", {"Content-Type": "text/plain"}, 415),
        ("POST", "/studies/not-a-uid", {"Content-Type": MULTIPART}, 400),
        ("GET", "/studies?NotAnAttribute=1", {}, 400),
        ("GET", "/studies?limit=lots", {}, 400),
        ("GET", "/studies", {"Accept": "text/csv"}, 406),
        ("GET", "/studies/1.2.3/metadata", {}, 404),
        ("GET", "/studies/1.2.3/series/4/instances/5/frames/1", {}, 404),
        ("GET", "/studies/1.2.3/series/4/instances/5/frames/0", {}, 400),
    ]:
        answer = requests.request(method, server.dicomweb + path, headers=headers, timeout=10)
        assert answer.status_code == status, path
        assert set(answer.json()) >= {"code", "message", "what_to_do"}
