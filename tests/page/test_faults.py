"""What the page does when something is wrong: the server gone, a token without a role, text that would be markup."""

import time

import pytest
import requests

import patients
from engram_api import Api
from serving import Server

MARKUP = '<img src=x onerror="document.title=1">'
# A person's name holds no `=`.
NAME = "<script>alert(1)</script>^<b>"


@pytest.fixture
def server(engram, start_engram) -> Server:
    return start_engram()


@pytest.fixture
def api(server) -> Api:
    return Api(server.base)


def test_a_server_that_is_gone_is_told_of_and_asked_again(server, api, visit):
    api.store(*patients.images(1))
    page = visit(api.base).open()
    server.stop()
    page.says("The server does not answer.")
    page.page.evaluate("location.hash = '/server'")
    page.says("server_down")
    server.start_again()
    page.there("Server")
    page.page.locator("#connection .problem").wait_for(state="detached")
    page.page.evaluate("location.hash = '/studies'")
    page.says("Test, Patient1")


def test_a_job_goes_on_after_the_server_was_restarted(server, api, visit):
    for number in (1, 2):
        api.store(*patients.images(number), patients.segmentation(number))
    api.settled()
    api.store(*patients.images(3))
    job = api.segment(3, wait=False, options={"quality": "fast"}).json()
    page = visit(api.base).open(f"results/{job['id']}")
    server.kill()
    page.says("The server does not answer.")
    server.start_again()
    page.slice()
    assert api.get(f"/jobs/{job['id']}").json()["state"] == "succeeded"


def test_a_token_is_asked_for_and_one_that_may_not_is_told_which_role_it_lacks(guarded, visit, tmp_path):
    base = guarded.server.base
    stranger = requests.get(f"{base}/", timeout=10)
    assert stranger.status_code == 401 and "Basic" in stranger.headers["WWW-Authenticate"]
    images = patients.images(1)
    writer = Api(base)
    writer.dicom._session.headers["Authorization"] = f"Bearer {guarded.tokens['write']}"
    writer.store(*images, patients.segmentation(1), *patients.images(2))
    deadline = time.monotonic() + 60
    while not guarded.request("GET", "/api/v1/labels", "read").json():
        assert time.monotonic() < deadline
        time.sleep(0.2)

    page = visit(base, guarded.tokens["read"]).open()
    page.says("Test, Patient2")
    (tmp_path / "image.dcm").write_bytes(patients.part10(patients.images(3)[0]))
    page.page.locator("#files").set_input_files(tmp_path / "image.dcm")
    page.says("this needs write")
    page.button("Close").click()
    page.link("Test, Patient2").click()
    page.button("Auto-segment").click()
    page.button("Start").click()
    page.says("Not allowed")
    page.says("this needs segment")
    page.button("Cancel").click()
    page.open("bank")
    page.button("Remove …").click()
    page.page.locator("dialog").get_by_role("button", name="Remove").click()
    page.says("this needs write")
    page.open("server")
    page.button("Use").first.click()
    page.button("Use it").click()
    page.says("this needs admin")


def test_text_from_files_never_becomes_markup(api, visit):
    images = patients.images(1)
    for image in images:
        image.PatientName, image.PatientID = NAME, MARKUP
        image.StudyDescription = image.SeriesDescription = MARKUP
    seg = patients.segmentation(1, sources=images)
    seg.SeriesDescription = MARKUP
    for segment in seg.SegmentSequence:
        segment.SegmentLabel = MARKUP
    api.store(*images, seg)
    api.settled()
    study, series = images[0].StudyInstanceUID, images[0].SeriesInstanceUID
    page = visit(api.base)
    for view in ("studies", f"studies/{study}", f"series/{study}/{series}", f"series/{study}/{seg.SeriesInstanceUID}",
                 "bank"):
        page.open(view)
        page.says(MARKUP)
        if view in ("studies", f"studies/{study}"):
            page.says("<script>alert(1)</script>, <b>")
        page.page.wait_for_timeout(300)
        assert page.page.title() != "1" and page.page.locator("img[src=x]").count() == 0, view
    assert page.wrong == []
