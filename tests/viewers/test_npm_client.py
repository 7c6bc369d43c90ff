"""npm's dicomweb-client in Node, with tokens."""

import io
import json

import pydicom
import pytest
from PIL import Image

from small_ct import SERIES, STUDY, make_ct, part10

IMAGE = make_ct(1)


@pytest.fixture(scope="module")
def token(guarded) -> str:
    """One that may both read and write."""
    return guarded.tokens["admin"]


@pytest.fixture(scope="module")
def done(guarded, token, node_client, tmp_path_factory):
    """A function that gives what was answered to a call: bytes, or what the JSON says."""
    out = tmp_path_factory.mktemp("answers")
    (out / "image.dcm").write_bytes(part10(IMAGE))
    ran = node_client(guarded.server.base, token, str(out / "image.dcm"), str(out))
    assert ran.returncode == 0 and ran.stdout == "", ran.stdout + ran.stderr

    def answer(call: str, form=json.loads):
        return form((out / call).read_bytes())

    return answer


def test_it_stores(done):
    (stored,) = done("storeInstances")["00081199"]["Value"]
    assert stored["00081155"]["Value"] == [IMAGE.SOPInstanceUID]


@pytest.mark.parametrize("call, tag, uid", [
    ("searchForStudies", "0020000D", STUDY), ("searchForSeries", "0020000E", SERIES),
    ("searchForInstances", "00080018", IMAGE.SOPInstanceUID)])
def test_it_searches(done, call, tag, uid):
    assert [found[tag]["Value"] for found in done(call)] == [[uid]]


@pytest.mark.parametrize("level", ["Study", "Series", "Instance"])
def test_it_reads_metadata(done, level):
    (item,) = done(f"retrieve{level}Metadata")
    assert item["00080018"]["Value"] == [IMAGE.SOPInstanceUID] and "BulkDataURI" in item["7FE00010"]


@pytest.mark.parametrize("level", ["Study", "Series", "Instance"])
def test_it_retrieves(done, level):
    assert done(f"retrieve{level}", lambda content: pydicom.dcmread(io.BytesIO(content))) == IMAGE


@pytest.mark.parametrize("call", ["retrieveInstanceFrames", "retrieveBulkData"])
def test_it_gets_pixels(done, call):
    assert done(call, bytes) == IMAGE.PixelData


@pytest.mark.parametrize("call, is_small", [
    ("retrieveInstanceRendered", False), ("retrieveInstanceFramesRendered", False), ("retrieveInstanceThumbnail", True)])
def test_it_gets_pictures(done, call, is_small):
    picture = done(call, lambda content: Image.open(io.BytesIO(content)))
    assert picture.format == "PNG"
    assert max(picture.size) <= 128 if is_small else picture.size == (IMAGE.Columns, IMAGE.Rows)


def test_a_wrong_token_is_refused(guarded, node_client, tmp_path):
    (tmp_path / "image.dcm").write_bytes(part10(IMAGE))
    for token, status in (("wrong", "401"), (guarded.tokens["read"], "403")):
        ran = node_client(guarded.server.base, token, str(tmp_path / "image.dcm"), str(tmp_path))
        assert ran.stdout.strip() == status, ran.stdout + ran.stderr
        assert not (tmp_path / "storeInstances").exists()
