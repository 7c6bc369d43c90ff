"""A server that knows some annotated patients, and a client of its API."""

import pytest

import patients
from engram_api import Api


@pytest.fixture
def api(engram, engram_server) -> Api:
    """A server with a fresh store."""
    return Api(engram_server)


@pytest.fixture(scope="module")
def taught(engram, server) -> Api:
    """A server, shared by the module, that knows three annotated patients and has the images of a fourth."""
    api = Api(server.base)
    for number in (1, 2, 3):
        api.store(*patients.images(number), patients.segmentation(number))
    api.store(*patients.images(4))
    api.settled()
    return api
