"""A server that knows some made-up patients, the extension's library, and MRML scenes."""

import os
import sys
from pathlib import Path

import pytest

from engram_api import Api
from serving import ROOT

# Qt draws into memory: no window system is needed.
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(ROOT / "slicer_extension" / "Engram"))

import cases  # noqa: E402
import standins  # noqa: E402
from EngramLib.client import Client  # noqa: E402


@pytest.fixture
def scene():
    return cases.new_scene()


@pytest.fixture(scope="module")
def taught(engram, server, tmp_path_factory) -> Api:
    """A server, shared by the module, that knows three annotated patients."""
    api = Api(server.base)
    for number in (1, 2, 3):
        case = cases.make(number, "axial", tmp_path_factory.mktemp("case") / "images")
        api.store(*case.images, case.segmentation())
    api.settled()
    return api


@pytest.fixture
def client(taught) -> Client:
    return Client(taught.base)


@pytest.fixture
def running(tmp_path):
    """A Slicer without a window."""
    return standins.Slicer(tmp_path)


@pytest.fixture
def open_panel(running):
    """A function that opens the panel on a server."""
    opened = []

    def open_(address: str, token: str = ""):
        running.settings.setValue("Engram/address", address)
        running.settings.setValue("Engram/token", token)
        opened.append(running.panel())
        return opened[-1]

    yield open_
    for panel in opened:
        panel.cleanup()
