"""A worklist, and the same server once it has learnt from some annotated patients."""

import pytest

from engram_api import Api
from teaching import teach
from worklist_client import Worklist


@pytest.fixture(scope="module")
def worklist(engram, server) -> Worklist:
    """A worklist, shared by the module."""
    return Worklist(server.dicomweb)


@pytest.fixture(scope="module")
def taught(engram, server) -> Api:
    """The API of the same server, which knows three annotated patients and has the images of a fourth."""
    api = Api(server.base)
    teach(api)
    return api
