"""A server with segmentations, its own and others'."""

import os
from io import BytesIO

import pydicom
import pytest

import patients
import segmented
from engram_api import Api
from forms import Made
from serving import start_server

# The picture for the documentation is taken when somebody wants it.
collect_ignore = [] if os.environ.get("ENGRAM_PICTURES") else ["test_documentation.py"]


@pytest.fixture(scope="session")
def made(engram, tmp_path_factory) -> Made:
    folder = tmp_path_factory.mktemp("report")
    server = start_server(folder / "data")
    api = Api(server.base)
    for number in (1, 2, 3):
        api.store(*patients.images(number), patients.segmentation(number))
    images = patients.images(4)
    api.store(*images)
    api.settled()
    result = api.segment(4, options={"review_below": 0.99}, accept="application/dicom")
    assert result.status_code == 200, result.text
    known = {"own": segmented.stored(pydicom.dcmread(BytesIO(result.content)), images, folder)}
    for name in segmented.PATIENTS:
        known[name] = segmented.by_highdicom(name, folder)
        api.store(*known[name].images, known[name].seg)
    yield Made(api, known, folder)
    server.stop()


@pytest.fixture(params=["own", *segmented.PATIENTS])
def name(request) -> str:
    return request.param


@pytest.fixture
def case(made, name) -> segmented.Case:
    return made.cases[name]
