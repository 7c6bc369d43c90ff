"""What leaves, on the page: a node that is down, the attempt that failed, and a person who sends again or discards."""

import pytest

import patients
from engram_api import Api
from unreachable import start_copying


@pytest.fixture(scope="module")
def api(engram, tmp_path_factory):
    """A server with a rule that sends to a node that is not there."""
    server = start_copying(tmp_path_factory.mktemp("outgoing"), "copy <b>all")
    yield Api(server.base)
    server.stop()


def test_a_delivery_that_fails_is_told_sent_again_and_discarded(api, visit):
    page = visit(api.base).open("outgoing")
    page.says("Nothing is like that.")
    api.store(*patients.images(1))
    page.says("could not reach NIGHT_PACS")
    page.says("by copy <b>all")
    page.says("attempt 2 at")
    page.button("Send now").click()
    page.says("attempt 2 at")
    page.button("Discard").click()
    page.page.locator(".state.cancelled").wait_for()
    assert [delivery["state"] for delivery in api.get("/deliveries").json()] == ["cancelled"]
    assert page.wrong == []


def test_rules_are_told_in_words(api, visit):
    page = visit(api.base).open("server")
    page.says("copy <b>all")
    page.says("Modality is MR and slices ≥ 2 and not (SeriesDescription is *SCOUT*)")
    page.says("forwards the series to NIGHT_PACS")
    page.says("0 s after the study's last instance")
    page.says("forwarded to NIGHT_PACS")
    assert page.wrong == []
