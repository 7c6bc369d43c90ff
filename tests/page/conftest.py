"""The page of a server, and what it should find there."""

import os

import pytest

import patients
from engram_api import Api
from visit import Visit

# Pictures for the documentation are taken when somebody wants them.
collect_ignore = [] if os.environ.get("ENGRAM_PICTURES") else ["test_pictures.py"]

ANNOTATED = (1, 2, 3)


@pytest.fixture
def visit(browser):
    """A function that opens the page of a server; with a token, as the password of Basic."""
    opened = []

    def open_page(base: str, token: str | None = None, width: int = 1280, height: int = 900) -> Visit:
        credentials = {"username": "engram", "password": token} if token else None
        context = browser.new_context(viewport={"width": width, "height": height}, http_credentials=credentials)
        opened.append(context)
        return Visit(context.new_page(), base)

    yield open_page
    for context in opened:
        context.close()


@pytest.fixture(scope="module")
def api(engram, server) -> Api:
    """A server that has learnt from a few patients."""
    api = Api(server.base)
    for number in ANNOTATED:
        api.store(*patients.images(number), patients.segmentation(number))
    api.settled()
    return api
