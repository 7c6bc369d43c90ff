"""Video: a stream of frames, which comes as it was stored."""

import pytest
import requests
from dicomweb_client.api import DICOMwebClient
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import HEVCMP51, MPEG2MPHL, MPEG4HP41, MPEG4HP42STEREO, UID, VideoEndoscopicImageStorage

from answers import parts
from small_ct import make_ct

STUDY = "2.25.5011"
FRAMES = 75
VIDEO = b"\0\0\0\x20ftypisom" + bytes(number * 7919 % 251 for number in range(1_500_000))


def video(number: int, syntax: str, fragments: int = 1) -> Dataset:
    ds = make_ct(number, study=STUDY, series=f"{STUDY}.{number}")
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = VideoEndoscopicImageStorage
    ds.file_meta.TransferSyntaxUID = syntax
    ds.Modality, ds.NumberOfFrames, ds.Rows, ds.Columns = "ES", FRAMES, 480, 640
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "YBR_PARTIAL_420", 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7
    ds.PixelData = encapsulate([VIDEO], fragments_per_frame=fragments, has_bot=False)
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    return ds


def url_of(server, ds) -> str:
    place = f"studies/{STUDY}/series/{ds.SeriesInstanceUID}/instances/{ds.SOPInstanceUID}"
    return f"{server.dicomweb}/{place}"


def get(url, status=200, **headers):
    answer = requests.get(url, headers=headers, timeout=60)
    assert answer.status_code == status, answer.text[:300]
    return answer


@pytest.fixture(scope="module")
def fragmented(server) -> Dataset:
    """A video in five fragments."""
    ds = video(1, MPEG4HP41, fragments=5)
    DICOMwebClient(url=server.dicomweb).store_instances([ds])
    return ds


@pytest.mark.parametrize(("number", "syntax", "media_type"), [
    (2, MPEG4HP41, "video/mp4"),
    (3, MPEG4HP42STEREO, "video/mp4"),
    (4, MPEG2MPHL, "video/mpeg"),
    (5, HEVCMP51, "video/H265"),
    (6, UID("1.2.840.10008.1.2.4.102.1"), "video/mp4"),
])
def test_a_video_is_rendered_as_it_was_stored(server, number, syntax, media_type):
    ds = video(number, syntax)
    DICOMwebClient(url=server.dicomweb).store_instances([ds])
    for accept in ("*/*", media_type, "video/*", f"image/jpeg;q=0.9, {media_type}"):
        answer = get(f"{url_of(server, ds)}/rendered", Accept=accept)
        assert (answer.headers["Content-Type"], answer.content) == (media_type, VIDEO)
    ((headers, content),) = parts(get(
        f"{url_of(server, ds)}/rendered", Accept=f'multipart/related; type="{media_type}"'
    ))
    assert (headers["content-type"], content) == (media_type, VIDEO)


def test_a_player_can_seek(server, fragmented):
    url, size = f"{url_of(server, fragmented)}/rendered", len(VIDEO)
    whole = get(url)
    assert (whole.headers["Accept-Ranges"], whole.content) == ("bytes", VIDEO)
    for start, end in ((0, 99), (299_990, 300_010), (100_000, 1_400_000), (size - 5, size + 100)):
        answer = get(url, 206, Range=f"bytes={start}-{end}")
        assert answer.content == VIDEO[start:end + 1]
        assert answer.headers["Content-Range"] == f"bytes {start}-{min(end, size - 1)}/{size}"
    assert get(url, 416, Range=f"bytes={size}-").json()["code"] == "range_not_satisfiable"


@pytest.mark.parametrize("resource", ["bulkdata/7FE00010", "pixeldata"])
def test_pixel_data_is_the_stream(server, fragmented, resource):
    url = f"{url_of(server, fragmented)}/{resource}"
    in_syntax = f"video/mp4; transfer-syntax={MPEG4HP41}"
    for accept in ("video/mp4", in_syntax):
        answer = get(url, Accept=accept)
        assert (answer.headers["Content-Type"], answer.content) == (in_syntax, VIDEO)
    for accept in ("*/*", 'multipart/related; type="video/*"'):
        ((headers, content),) = parts(get(url, Accept=accept))
        assert (headers["content-type"], content) == (in_syntax, VIDEO)


def test_metadata_says_where_the_stream_is(server, fragmented):
    (metadata,) = get(f"{url_of(server, fragmented)}/metadata").json()
    path = metadata["7FE00010"]["BulkDataURI"].split("/instances/")[1].split("/", 1)[1]
    assert get(f"{url_of(server, fragmented)}/{path}", Accept="video/mp4").content == VIDEO


def test_what_a_video_is_not_is_told(server, fragmented):
    for resource, accept in (("rendered", "image/png"), ("bulkdata/7FE00010", "image/jpeg"), ("rendered", "video/mpeg")):
        answer = get(f"{url_of(server, fragmented)}/{resource}", 406, Accept=accept)
        assert "video/mp4" in answer.json()["message"]
    get(f"{url_of(server, fragmented)}/frames/1", 406)


def test_wado_uri_has_videos(server, fragmented):
    query = {"requestType": "WADO", "studyUID": STUDY, "seriesUID": fragmented.SeriesInstanceUID}
    url = requests.Request("GET", f"{server.dicomweb}/wado", params=query | {"objectUID": fragmented.SOPInstanceUID})
    url = url.prepare().url
    answer = get(f"{url}&contentType=video/mp4")
    assert (answer.headers["Content-Type"], answer.content) == ("video/mp4", VIDEO)
    assert get(f"{url}&contentType=video/mp4", 206, Range="bytes=8-11").content == VIDEO[8:12]
    assert get(url).headers["Content-Type"].startswith("application/dicom")
    get(f"{url}&contentType=image/jpeg", 406)
