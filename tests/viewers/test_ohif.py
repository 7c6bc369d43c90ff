"""OHIF, as the server serves it, in a headless Chromium: lists, opens, and draws what Engram made."""

import os
from pathlib import Path

import numpy as np
import pydicom
import pytest
import requests
from PIL import Image
from pydicom.uid import CTImageStorage, JPEG2000Lossless, JPEGLSLossless, RLELossless
from scipy.ndimage import binary_erosion

import patients
from engram_api import Api, masks_of
from ohif import coloured, has_colour, has_content, placed, rendered
from serving import shared_folder

# Slices of a real series that are looked at, from its middle: enough to be one, few enough to load soon.
SLICES = 12
REAL = {"CT": "chaos-ct/01/images", "MR": "chaos-mr/01/images"}


@pytest.fixture(scope="module")
def api(engram, server) -> Api:
    return Api(server.base)


def series(modality: str) -> list[pydicom.Dataset]:
    """Slices of a real series, or of a made-up one where there is no real data."""
    real = sorted((shared_folder() / "data" / REAL[modality]).glob("*.dcm"))
    if real:
        middle = len(real) // 2
        return [pydicom.dcmread(path) for path in real[middle - SLICES // 2:middle + SLICES // 2]]
    made = patients.images(9, modality)
    for slice in made if modality == "CT" else []:
        slice.SOPClassUID = slice.file_meta.MediaStorageSOPClassUID = CTImageStorage
        slice.RescaleIntercept, slice.RescaleSlope, slice.WindowCenter, slice.WindowWidth = -1024, 1, -650, 900
    return made


def test_it_lists_the_patients(api, ohif):
    api.store(*patients.images(1), *patients.images(2))
    page = ohif(api.base)
    listed = page.open_list().split()
    for number in (1, 2):
        # Name, date, modality, description, number of instances.
        row = ["Test,", f"Patient{number}", "01-Jan-2024", "MR", "No", "Description", str(patients.SLICES)]
        assert any(listed[at:at + len(row)] == row for at in range(len(listed))), listed
    assert page.wrong == []


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_it_draws_a_series(api, ohif, modality):
    slices = series(modality)
    api.store(*slices)
    page = ohif(api.base)
    page.open_study(slices[0].StudyInstanceUID)
    shows_one_of(page, slices)
    assert page.wrong == []


def shows_one_of(page, slices: list[pydicom.Dataset]):
    """Draws a slice as the server renders it."""
    picture = page.drawn(has_content).mean(axis=2)
    shown = next(one for one in slices if one.InstanceNumber == page.instance_number())
    url = (f"{page.base}/dicomweb/studies/{shown.StudyInstanceUID}/series/{shown.SeriesInstanceUID}"
           f"/instances/{shown.SOPInstanceUID}")
    expected = placed(rendered(url), *picture.shape, Image.Resampling.BILINEAR)
    # Two renderings of the same slice: what differs is how they interpolate, and the ends of the window.
    assert np.corrcoef(picture.ravel(), expected.ravel())[0, 1] > 0.97


@pytest.mark.parametrize("number, syntax", [(6, JPEGLSLossless), (7, JPEG2000Lossless), (8, RLELossless)])
def test_it_decodes_compressed_series_itself(api, ohif, number, syntax):
    slices = patients.images(number)
    for one in slices:
        one.compress(syntax, generate_instance_uid=False)
    api.store(*slices)
    page = ohif(api.base)
    types = set()
    page.page.on("response", lambda answer: "/frames/" in answer.url and types.add(frame_type(answer)))
    page.open_study(slices[0].StudyInstanceUID)
    shows_one_of(page, slices)
    assert types == {f"application/octet-stream; transfer-syntax={syntax}"}
    assert page.wrong == []


def frame_type(answer) -> str:
    """What the part of an answer says that it is."""
    head = answer.body().split(b"\r\n\r\n", 1)[0].decode()
    return next(line.split(": ", 1)[1] for line in head.split("\r\n") if line.startswith("Content-Type"))


@pytest.mark.parametrize("number, encoding, sop_class", [
    (4, "LABELMAP", "1.2.840.10008.5.1.4.1.1.66.7"), (5, "BINARY", "1.2.840.10008.5.1.4.1.1.66.4")])
def test_it_draws_a_segmentation_of_engram(api, ohif, number, encoding, sop_class):
    for annotated in (1, 2, 3):
        api.store(*patients.images(annotated), patients.segmentation(annotated))
    images = patients.images(number)
    api.store(*images)
    api.settled()
    result = api.segment(number, options={"encoding": encoding}).json()["result"]
    assert result["sop_class"] == sop_class
    seg = api.dicom.retrieve_instance(result["study"], result["series"], result["sop_instance"])

    page = ohif(api.base)
    page.open_study(result["study"])
    assert not has_colour(page.drawn(has_content)), "the images alone are grey"
    page.open_series(seg.SeriesDescription)
    picture = page.drawn(has_colour)
    at = next(i for i, one in enumerate(images) if one.InstanceNumber == page.instance_number())
    masks = {label: placed(mask[at], *picture.shape[:2], Image.Resampling.NEAREST) > 0
             for label, mask in masks_of(seg, images).items()}
    # Coloured where the mask is; outlines reach over its edge by a pixel of the screen or two.
    assert patients.dice(coloured(picture), np.any(list(masks.values()), axis=0)) > 0.95
    liver, spleen = (np.median(picture[binary_erosion(masks[label], iterations=9)], axis=0)
                     for label in ("Liver", "Spleen"))
    hues = [np.argmax(colour) for colour in (liver, spleen)]
    assert hues[0] != hues[1], "each segment in a colour of its own"

    # Taken over for good, its segments stand in the panel under their labels.
    page.page.get_by_text("Yes", exact=True).click()
    page.page.locator('[data-cy="panelSegmentation-btn"]').click()
    for label in ("Liver", "Spleen"):
        page.page.get_by_text(label, exact=True).first.wait_for()
    assert page.wrong == []


def test_it_asks_for_a_token_and_takes_it_along(guarded, ohif):
    base = guarded.server.base
    images = patients.images(1)
    writer = Api(base)
    writer.dicom._session.headers["Authorization"] = f"Bearer {guarded.tokens['write']}"
    writer.store(*images)
    stranger = requests.get(f"{base}/viewer/", timeout=10)
    assert stranger.status_code == 401 and "Basic" in stranger.headers["WWW-Authenticate"]
    page = ohif(base, guarded.tokens["read"])
    assert "Test, Patient1" in page.open_list()
    page.open_study(images[0].StudyInstanceUID)
    page.drawn(has_content)
    assert page.wrong == []


class TestFiles:
    """What lies below `/viewer/`, and what does not."""

    def get(self, server, path: str, **options) -> requests.Response:
        prepared = requests.Request("GET", server.base, **options).prepare()
        prepared.url = server.base + path  # as it stands, without the client tidying it up
        with requests.Session() as session:
            return session.send(prepared, timeout=10, allow_redirects=False)

    @pytest.fixture
    def server(self, start_engram, tmp_path):
        viewer = tmp_path / "viewer"
        viewer.mkdir()
        (viewer / "index.html").write_text("<title>a page</title>")
        (viewer / "a.js").write_text("// a script")
        (viewer / ".hidden.js").write_text("hidden")
        (tmp_path / "secret.js").write_text("secret")
        config = tmp_path / "c.toml"
        config.write_text('[viewer]\nfolder = "viewer"')
        return start_engram(config=config)

    def test_files_and_pages_come_with_the_headers_they_need(self, server):
        assert self.get(server, "/viewer").headers["Location"] == "/viewer/"
        for path in ("/viewer/", "/viewer/viewer?StudyInstanceUIDs=1.2", "/viewer/segmentation"):
            answer = self.get(server, path)
            assert answer.status_code == 200 and "a page" in answer.text, path
            assert answer.headers["Content-Type"].startswith("text/html")
        script = self.get(server, "/viewer/a.js")
        assert script.text == "// a script" and "javascript" in script.headers["Content-Type"]
        assert script.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
        assert script.headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert "connect-src 'self'" in script.headers["Content-Security-Policy"]
        unchanged = self.get(server, "/viewer/a.js", headers={"If-None-Match": script.headers["ETag"]})
        assert unchanged.status_code == 304
        configuration = self.get(server, "/viewer/app-config.js").text
        assert "window.config" in configuration and "http" not in configuration.replace("https://", "http")

    @pytest.mark.parametrize("path", [
        "/viewer/../secret.js", "/viewer/%2e%2e/secret.js", "/viewer/..%2fsecret.js", "/viewer/a/../../secret.js",
        "/viewer//../secret.js", "/viewer/%252e%252e/secret.js", "/viewer/.hidden.js", "/viewer/none.js",
        "/viewer/..%5csecret.js", "/viewer/%00.js"])
    def test_nothing_else_does(self, server, path):
        answer = self.get(server, path)
        assert answer.status_code in (400, 404) and "secret" not in answer.text, answer.text
        if path.startswith("/viewer/") and answer.headers.get("Content-Type") == "application/json":
            assert set(answer.json()) == {"code", "message", "what_to_do"}

    def test_a_server_without_viewer_says_how_to_get_one(self, start_engram, tmp_path, monkeypatch):
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        (tmp_path / "engram").mkdir()
        (tmp_path / "engram" / "onnxruntime").symlink_to(cache / "engram" / "onnxruntime")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        answer = requests.get(f"{start_engram().base}/viewer/", timeout=10)
        assert answer.status_code == 404 and "cargo xtask viewer" in answer.json()["what_to_do"]
