"""WADO-URI at the server's root and below `/dicomweb`."""

import io

import numpy as np
import pydicom
import pytest
import requests
from dicomweb_client.api import DICOMwebClient

from answers import gif_frames, picture
from small_ct import part10
from test_rendered import make_blank, make_multi_frame, near, shown


@pytest.fixture(scope="module")
def house(server, stored):
    DICOMwebClient(url=server.dicomweb).store_instances([make_multi_frame()[0], make_blank()])
    return server


def wado(server, instance=None, status=200, base=None, **parameters):
    if instance is not None:
        parameters = {
            "requestType": "WADO",
            "studyUID": instance.StudyInstanceUID,
            "seriesUID": instance.SeriesInstanceUID,
            "objectUID": instance.SOPInstanceUID,
        } | parameters
    answer = requests.get(f"{base or server.base}/wado", params=parameters, timeout=60)
    assert answer.status_code == status, answer.text
    return answer


def test_a_single_frame_is_a_jpeg_unless_asked_otherwise(house, stored):
    for base in (house.base, house.dicomweb):
        answer = wado(house, stored[0], base=base)
        assert answer.headers["Content-Type"] == "image/jpeg"
        near(picture(answer.content, "JPEG"), shown(stored[0]), 12)
    near(picture(wado(house, stored[0], imageQuality=100).content, "JPEG"), shown(stored[0]), 4)
    near(picture(wado(house, stored[0], contentType="image/png").content, "PNG"), shown(stored[0]))
    assert len(gif_frames(wado(house, stored[0], contentType="image/gif").content)) == 1
    # The first in the list that there is.
    listed = wado(house, stored[0], contentType="video/mpeg,image/png,image/jpeg")
    assert listed.headers["Content-Type"] == "image/png"


def test_the_object_itself(house, stored):
    answer = wado(house, stored[0], contentType="application/dicom")
    assert answer.headers["Content-Type"] == "application/dicom; transfer-syntax=1.2.840.10008.1.2.1"
    assert answer.content == part10(stored[0])
    assert pydicom.dcmread(io.BytesIO(answer.content)) == stored[0]
    for syntax in ("1.2.840.10008.1.2.1", "*"):
        assert wado(house, stored[0], contentType="application/dicom", transferSyntax=syntax).content == answer.content
    for syntax in ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.5"):
        answer = wado(house, stored[0], contentType="application/dicom", transferSyntax=syntax)
        assert answer.headers["Content-Type"] == f"application/dicom; transfer-syntax={syntax}"
        transcoded = pydicom.dcmread(io.BytesIO(answer.content))
        assert transcoded.file_meta.TransferSyntaxUID == syntax
        assert np.array_equal(transcoded.pixel_array, stored[0].pixel_array)
    for syntax in ("1.2.840.10008.1.2.4.100", "1.2.3"):
        refused = wado(house, stored[0], 406, contentType="application/dicom", transferSyntax=syntax)
        assert refused.json()["code"] == "not_acceptable"
    assert pydicom.dcmread(io.BytesIO(wado(house, make_blank()).content)).Modality == "OT", "what has no pixels"


def test_several_frames(house):
    multi, pixels = make_multi_frame()
    assert wado(house, multi).headers["Content-Type"].startswith("application/dicom")
    third = wado(house, multi, frameNumber=3)
    assert third.headers["Content-Type"] == "image/jpeg"
    assert np.array_equal(picture(wado(house, multi, frameNumber=3, contentType="image/png").content), pixels[2])
    assert np.array_equal(picture(wado(house, multi, contentType="image/png").content), pixels[0])
    assert len(gif_frames(wado(house, multi, contentType="image/gif").content)) == 5
    assert wado(house, multi, 404, frameNumber=9).json()["code"] == "no_such_frame"


def test_windows_regions_and_sizes(house, stored):
    def png(**parameters):
        return picture(wado(house, stored[0], contentType="image/png", **parameters).content, "PNG")

    near(png(windowCenter=500, windowWidth=1500), shown(stored[0], 500, 1500))
    near(png(region="0.25,0.5,0.75,1.0"), shown(stored[0])[8:, 3:9])
    assert png(rows=32).shape == (32, 24)
    assert png(columns=6).shape == (8, 6)
    assert png(rows=160, columns=60).shape == (80, 60)


def test_study_and_series_may_be_left_out_but_not_be_wrong(house, stored):
    uid = stored[0].SOPInstanceUID
    assert wado(house, requestType="WADO", objectUID=uid).content == wado(house, stored[0]).content
    assert wado(house, stored[0], 404, studyUID="2.25.1").json()["code"] == "not_found"
    assert wado(house, stored[0], 404, objectUID="2.25.1").json()["code"] == "not_found"


@pytest.mark.parametrize("parameters", [
    {"requestType": "WADO-RS"},
    {"objectUID": ""},
    {"studyUID": "../.."},
    {"anonymize": "yes"},
    {"presentationSeriesUID": "1.2"},
    {"frameNumber": "0"},
    {"windowCenter": "40"},
    {"region": "0,0,0,0"},
    {"rows": "-1"},
    {"imageQuality": "0"},
    {"contentType": "application/dicom", "frameNumber": "1"},
], ids=str)
def test_what_cannot_be_met_is_refused(house, stored, parameters):
    answer = wado(house, stored[0], 400, **parameters)
    assert {"code", "message", "what_to_do"} == answer.json().keys()


def test_media_types_there_are_none_of(house, stored):
    assert wado(house, stored[0], 406, contentType="video/mpeg").json()["code"] == "not_acceptable"
    assert wado(house, make_blank(), 406, contentType="image/jpeg").json()["code"] == "no_picture"
    warned = wado(house, stored[0], annotation="patient")
    assert "annotation values are not supported: patient" in warned.headers["Warning"]
    assert requests.post(f"{house.base}/wado", timeout=60).status_code == 405
