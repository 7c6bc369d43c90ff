"""Pictures of the page for `docs/page.md`, of phantom patients: ENGRAM_PICTURES names the folder they go to."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
from PIL import Image

import patients
from engram_api import Api
from serving import start_server
from unreachable import start_copying

COLOURS = 256
MOST_BYTES = 150_000


@pytest.fixture(scope="module")
def phantoms(engram, tmp_path_factory) -> Api:
    """A server over what `engram demo` stores: annotated phantoms, and one that it segments."""
    folder = tmp_path_factory.mktemp("phantoms") / "demo"
    demo = subprocess.Popen([engram, "demo", "--exemplars", "5", "--targets", "1", "--out", folder], text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    # What it computes from there on is to compare with, and in no picture.
    assert any("computing the baselines" in line for line in demo.stdout), "it segments"
    os.killpg(demo.pid, signal.SIGTERM)
    demo.wait()
    server = start_server(folder / "data")
    yield Api(server.base)
    server.stop()


def take(page, name: str):
    """Takes a picture of what is on the screen, in few enough colours to be small."""
    page.page.wait_for_load_state("networkidle")
    path = Path(os.environ["ENGRAM_PICTURES"]) / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    page.page.screenshot(path=path)
    picture = Image.open(path).convert("RGB")
    picture.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(path, optimize=True)
    assert path.stat().st_size < MOST_BYTES, path


def test_pictures_are_taken(phantoms, visit):
    page = visit(phantoms.base, height=860).open()
    page.says("Phantom abdomen")
    take(page, "studies")
    job = phantoms.get("/segmentations").json()[0]
    page.open(f"studies/{job['request']['study']}")
    page.button("Auto-segment").click()
    page.says("5 cases")
    take(page, "segment")
    page.open(f"results/{job['id']}")
    page.slice()
    take(page, "result")
    page.page.set_viewport_size({"width": 1280, "height": 640})
    page.open("bank?label=SCT:10200004")
    page.page.get_by_role("heading", name="Exemplars").evaluate(
        "heading => scrollBy(0, heading.getBoundingClientRect().top - 60)")
    page.page.locator(".tile .layers img + img").first.wait_for()
    take(page, "bank")
    page.page.set_viewport_size({"width": 360, "height": 740})
    page.open(f"results/{job['id']}")
    page.slice()
    take(page, "small")


@pytest.fixture
def routing(engram, tmp_path) -> Api:
    """A server with a rule that sends to a node which is down."""
    server = start_copying(tmp_path, "abdomen by night")
    yield Api(server.base)
    server.stop()


def test_a_picture_of_what_a_rule_did_is_taken(routing, visit):
    routing.store(*patients.images(1))
    page = visit(routing.base, height=520).open("outgoing")
    page.says("could not reach NIGHT_PACS")
    take(page, "outgoing")
    page.open("server")
    page.says("forwarded to NIGHT_PACS")
    page.page.get_by_role("heading", name="Rules in force").evaluate(
        "heading => scrollBy(0, heading.getBoundingClientRect().top - 60)")
    take(page, "rules")
