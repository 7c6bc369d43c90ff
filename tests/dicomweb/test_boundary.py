"""The boundary between the parts of an answer: it stays, which spares clients work, until an instance is added."""

import pytest
import requests

from answers import parts
from small_ct import make_ct, part10

STUDY = "2.25.4713"
SERIES = f"{STUDY}.1"


@pytest.fixture(scope="module")
def store(server):
    """Stores an instance of that number, with a comment, and gives its bytes."""
    def store(number: int, comment: str = "") -> bytes:
        instance = make_ct(number, study=STUDY, series=SERIES)
        instance.ImageComments = comment
        answer = requests.post(f"{server.dicomweb}/studies", data=part10(instance), timeout=10,
                               headers={"Content-Type": "application/dicom"})
        assert answer.status_code == 200
        return part10(instance)
    return store


def retrieve(server, path: str = "", kind: str = "application/dicom") -> requests.Response:
    answer = requests.get(f"{server.dicomweb}/studies/{STUDY}{path}", timeout=10,
                          headers={"Accept": f'multipart/related; type="{kind}"'})
    assert answer.status_code == 200
    return answer


def boundary(answer: requests.Response) -> str:
    return answer.headers["Content-Type"].split("boundary=")[1]


def test_the_boundary_stays_until_an_instance_is_added(server, store):
    store(1)
    first = boundary(retrieve(server))
    assert {boundary(retrieve(server)), boundary(retrieve(server, f"/series/{SERIES}"))} == {first}
    assert boundary(retrieve(server, f"/series/{SERIES}/instances/{SERIES}.1/frames/1", "application/octet-stream")) == first
    store(1)
    assert boundary(retrieve(server)) == first, "it was there already"
    store(2)
    assert boundary(retrieve(server)) != first


def test_an_instance_that_holds_a_boundary_comes_back_whole(server, store):
    store(3)
    read = boundary(retrieve(server))
    sent = store(4, f"\r\n--{read}\r\nContent-Type: application/dicom\r\n\r\nnothing\r\n--{read}--\r\n")
    assert sent in [content for _, content in parts(retrieve(server))]
