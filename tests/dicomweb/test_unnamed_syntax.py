"""What clients get that name no transfer syntax, and those that take any."""

import io

import pydicom
import pytest
import requests
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import ExplicitVRLittleEndian, HTJ2KLossless, JPEG2000Lossless, JPEGLSLossless

from answers import parts
from small_ct import make_ct, part10

STUDY = "2.25.2101"
JPEG_XL = "1.2.840.10008.1.2.4.110"
ANY = "transfer-syntax=*"
OCTETS = "application/octet-stream"


def get(url: str, accept: str | None, status: int = 200) -> requests.Response:
    answer = requests.get(url, headers={"Accept": accept} if accept else {}, timeout=60)
    assert answer.status_code == status, answer.text[:300]
    return answer


@pytest.fixture(scope="module")
def images(server):
    """Slices in JPEG-LS, one in Explicit VR Little Endian, and one in a syntax that nothing here decodes; and their URLs."""
    packed = [make_ct(number, study=STUDY, series=f"{STUDY}.1") for number in (1, 2)]
    for ds in packed:
        ds.compress(JPEGLSLossless, generate_instance_uid=False)
    plain = make_ct(3, study=STUDY, series=f"{STUDY}.2")
    unknown = make_ct(4, study=STUDY, series=f"{STUDY}.3")
    # pydicom does not write what it does not know.
    unknown.file_meta.TransferSyntaxUID = HTJ2KLossless
    unknown.PixelData = encapsulate([b"\xff\x0a made up"])
    unknown["PixelData"].VR, unknown["PixelData"].is_undefined_length = "OB", True
    made = {"packed": packed[0], "second": packed[1], "plain": plain, "unknown": unknown}
    for ds in made.values():
        answer = requests.post(f"{server.dicomweb}/studies", data=stored(ds), timeout=60,
                               headers={"Content-Type": "application/dicom"})
        assert answer.status_code == 200, answer.text
    place = "{0}/studies/{1.StudyInstanceUID}/series/{1.SeriesInstanceUID}/instances/{1.SOPInstanceUID}"
    return {name: (ds, place.format(server.dicomweb, ds)) for name, ds in made.items()}


def stored(ds: pydicom.Dataset) -> bytes:
    return part10(ds).replace(HTJ2KLossless.encode(), JPEG_XL.encode())


def read(content: bytes) -> pydicom.Dataset:
    return pydicom.dcmread(io.BytesIO(content))


@pytest.mark.parametrize("accept", [None, "*/*", 'multipart/related; type="application/dicom"', "application/dicom"])
def test_instances_come_in_explicit_vr_little_endian(images, accept):
    ds, url = images["packed"]
    answer = get(url, accept)
    content = answer.content if accept == "application/dicom" else parts(answer)[0][1]
    found = read(content)
    assert found.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert found.PixelData == make_ct(1).PixelData
    plain, url = images["plain"]
    answer = get(url, accept)
    content = answer.content if accept == "application/dicom" else parts(answer)[0][1]
    assert content == part10(plain)


def test_any_transfer_syntax_is_the_stored_one(images):
    for ds, url in images.values():
        assert get(url, f"application/dicom; {ANY}").content == stored(ds)


def test_what_cannot_be_decoded_comes_as_it_is_stored(images):
    ds, url = images["unknown"]
    assert get(url, "application/dicom").content == stored(ds)
    get(url, f"application/dicom; transfer-syntax={ExplicitVRLittleEndian}", status=406)
    # Among others, too.
    study = get(url.split("/series/")[0], None)
    syntaxes = [read(content).file_meta.TransferSyntaxUID for _, content in parts(study)]
    assert sorted(syntaxes) == sorted([ExplicitVRLittleEndian] * 3 + [JPEG_XL])


def test_a_wado_uri_names_its_transfer_syntax_the_same_way(server, images):
    ds, _ = images["packed"]
    url = f"{server.dicomweb}/wado?requestType=WADO&objectUID={ds.SOPInstanceUID}&contentType=application/dicom"
    assert read(get(url, None).content).file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert get(f"{url}&transferSyntax=*", None).content == stored(ds)


@pytest.mark.parametrize("accept", [OCTETS, f'multipart/related; type="{OCTETS}"', "*/*", None])
def test_frames_come_uncompressed(images, accept):
    answer = get(f"{images['packed'][1]}/frames/1", accept)
    content = answer.content if accept == OCTETS else parts(answer)[0][1]
    assert content == make_ct(1).PixelData


@pytest.mark.parametrize("accept", [
    f"multipart/related; type={OCTETS}; {ANY}",  # as cornerstone and OHIF send it
    f'multipart/related; type="{OCTETS}"; transfer-syntax={JPEGLSLossless}',
])
def test_octets_in_any_transfer_syntax_are_the_stored_frame(images, accept):
    ds, url = images["packed"]
    (headers, content), = parts(get(f"{url}/frames/1", accept))
    assert content == next(generate_frames(ds.PixelData, number_of_frames=1))
    assert headers["content-type"] == f"{OCTETS}; transfer-syntax={JPEGLSLossless}"
    plain, url = images["plain"]
    (headers, content), = parts(get(f"{url}/frames/1", f"multipart/related; type={OCTETS}; {ANY}"))
    assert content == plain.PixelData and headers["content-type"].endswith(ExplicitVRLittleEndian)


@pytest.mark.parametrize("accept", [None, "*/*", f"multipart/related; type={OCTETS}; {ANY}"])
def test_a_frame_that_cannot_be_decoded_comes_as_it_is_stored(images, accept):
    ds, url = images["unknown"]
    (headers, content), = parts(get(f"{url}/frames/1", accept))
    assert content == next(generate_frames(ds.PixelData, number_of_frames=1))
    assert headers["content-type"].endswith(f"transfer-syntax={JPEG_XL}")
    assert JPEG_XL in get(f"{url}/frames/1", f'multipart/related; type="{OCTETS}"', status=406).json()["message"]


def test_a_zip_is_not_transcoded(images):
    _, url = images["packed"]
    series = url.split("/instances/")[0]
    get(series, f"application/zip; transfer-syntax={JPEGLSLossless}")
    get(series, f"application/zip; transfer-syntax={JPEG2000Lossless}", status=406)


def test_files_have_names(images):
    ds, url = images["packed"]
    series = url.split("/instances/")[0]
    for path, accept, name in [(url, "application/dicom", f"{ds.SOPInstanceUID}.dcm"),
                               (url, f"application/dicom; {ANY}", f"{ds.SOPInstanceUID}.dcm"),
                               (series, "application/zip", f"{ds.SeriesInstanceUID}.zip")]:
        assert get(path, accept).headers["Content-Disposition"] == f'attachment; filename="{name}"'
    assert "Content-Disposition" not in get(series, None).headers


def test_parts_say_which_resource_they_are(images):
    ds, url = images["packed"]
    series = url.split("/instances/")[0]
    located = [headers["content-location"] for headers, _ in parts(get(series, None))]
    assert located == [url, images["second"][1]]
    assert located == [headers["content-location"] for headers, _ in
                       parts(get(series, f'multipart/related; type="application/dicom"; {ANY}'))]
    for accept in (None, f"multipart/related; type={OCTETS}; {ANY}"):
        (headers, _), = parts(get(f"{url}/frames/1", accept))
        assert headers["content-location"] == f"{url}/frames/1"
    _, plain = images["plain"]
    (headers, _), = parts(get(f"{plain}/bulkdata/7FE00010", None))
    assert headers["content-location"] == f"{plain}/bulkdata/7FE00010"


@pytest.mark.parametrize("accept", ["application/dicom+xml", "application/dicom%2Bxml"])
def test_a_media_type_in_the_query_may_be_written_as_it_is(images, accept):
    _, url = images["plain"]
    answer = get(f"{url}/metadata?accept=multipart/related;type={accept}", None)
    assert answer.headers["Content-Type"].startswith('multipart/related; type="application/dicom+xml"')
    assert get(f"{url}/metadata?accept=nothing", None, status=400).json()["what_to_do"]
