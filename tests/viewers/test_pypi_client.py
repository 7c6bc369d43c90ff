"""PyPI's dicomweb-client: each of its methods, with a token as Bearer and as Basic."""

import warnings

import pytest
import requests
from dicomweb_client.api import DICOMwebClient
from pydicom import Dataset

from small_ct import make_ct

# The transfer syntaxes that this client asks for by name, beside Explicit VR Little Endian.
COMPRESSED = {"JPEG Lossless": "1.2.840.10008.1.2.4.70", "JPEG-LS": "1.2.840.10008.1.2.4.80",
              "JPEG 2000": "1.2.840.10008.1.2.4.90", "RLE": "1.2.840.10008.1.2.5"}
HTJ2K = "1.2.840.10008.1.2.4.201"
STUDY, SERIES = "2.25.3001", "2.25.3001.1"
SLICES = [make_ct(number, study=STUDY, series=SERIES, patient="P3001") for number in (1, 2, 3)]
INSTANCE = (STUDY, SERIES, SLICES[0].SOPInstanceUID)


def session_of(scheme: str, token: str) -> requests.Session:
    session = requests.Session()
    if scheme == "Bearer":
        session.headers["Authorization"] = f"Bearer {token}"
    else:
        session.auth = ("engram", token)
    return session


@pytest.fixture(scope="module", params=["Bearer", "Basic"])
def client(request, guarded) -> DICOMwebClient:
    """With a reader's token; the slices are stored with a writer's."""
    def with_token(role: str) -> DICOMwebClient:
        return DICOMwebClient(guarded.server.dicomweb, session=session_of(request.param, guarded.tokens[role]))

    with_token("write").store_instances(SLICES, study_instance_uid=STUDY)
    return with_token("read")


@pytest.fixture(autouse=True)
def no_warnings():
    """The client warns of answers that are not as the standard has them."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def uids(found: list[dict], tag: str) -> list[str]:
    return sorted(item[tag]["Value"][0] for item in found)


def test_it_searches(client):
    for filters in ({"PatientID": "P3001"}, {"PatientName": "doe*", "StudyInstanceUID": STUDY}):
        assert uids(client.search_for_studies(search_filters=filters), "0020000D") == [STUDY]
    assert client.search_for_studies(search_filters={"PatientName": "jan"}, fuzzymatching=True)
    (study,) = client.search_for_studies(fields=["StudyDescription"], limit=1)
    assert study["00081030"]["Value"] == ["A test"]
    assert client.search_for_studies(offset=1) == []
    assert uids(client.search_for_series(STUDY), "0020000E") == [SERIES]
    assert client.search_for_series(search_filters={"Modality": "SEG"}) == []
    all_of_it = [slice.SOPInstanceUID for slice in SLICES]
    assert uids(client.search_for_instances(STUDY, SERIES), "00080018") == all_of_it
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert uids(client.search_for_instances(STUDY, limit=2, get_remaining=True), "00080018") == all_of_it


def test_it_retrieves_objects(client):
    assert client.retrieve_instance(*INSTANCE) == SLICES[0]
    for retrieved in (client.retrieve_series(STUDY, SERIES), client.retrieve_study(STUDY),
                      list(client.iter_series(STUDY, SERIES)), list(client.iter_study(STUDY))):
        assert sorted(retrieved, key=lambda one: one.InstanceNumber) == SLICES


@pytest.mark.parametrize("name", COMPRESSED)
def test_it_retrieves_other_transfer_syntaxes(client, name):
    wanted = (("application/dicom", COMPRESSED[name]),)
    retrieved = client.retrieve_instance(*INSTANCE, media_types=wanted)
    assert retrieved.file_meta.TransferSyntaxUID == COMPRESSED[name]
    assert (retrieved.pixel_array == SLICES[0].pixel_array).all()


def test_it_does_not_ask_for_htj2k(client, guarded):
    """The client refuses by itself: its list of transfer syntaxes ends before HTJ2K. The server has it."""
    wanted = (("application/dicom", HTJ2K),)
    asked = []
    client._session.hooks["response"].append(lambda answer, **_: asked.append(answer))
    with pytest.raises(ValueError, match=f'"{HTJ2K}" is not supported'):
        client.retrieve_instance(*INSTANCE, media_types=wanted)
    client._session.hooks["response"].clear()
    assert asked == []
    accept = f'multipart/related; type="application/dicom"; transfer-syntax={HTJ2K}'
    study, series, instance = INSTANCE
    answer = guarded.request("GET", f"/dicomweb/studies/{study}/series/{series}/instances/{instance}", "read",
                             headers={"Accept": accept})
    assert answer.status_code == 200 and HTJ2K.encode() in answer.content


def test_it_retrieves_metadata_and_bulk_data(client):
    for items in (client.retrieve_study_metadata(STUDY), client.retrieve_series_metadata(STUDY, SERIES)):
        assert uids(items, "00080018") == [slice.SOPInstanceUID for slice in SLICES]
    item = client.retrieve_instance_metadata(*INSTANCE)
    uri = item["7FE00010"]["BulkDataURI"]
    assert client.retrieve_bulkdata(uri) == [SLICES[0].PixelData]
    assert list(client.iter_bulkdata(uri)) == [SLICES[0].PixelData]
    read = Dataset.from_json(item, bulk_data_uri_handler=lambda uri: bytes(client.retrieve_bulkdata(uri)[0]))
    assert read == SLICES[0]


def test_it_retrieves_frames_and_pictures(client):
    for media_types in (None, ("application/octet-stream",)):
        assert client.retrieve_instance_frames(*INSTANCE, [1], media_types=media_types) == [SLICES[0].PixelData]
    assert list(client.iter_instance_frames(*INSTANCE, [1])) == [SLICES[0].PixelData]
    png = client.retrieve_instance_rendered(*INSTANCE, media_types=("image/png",))
    jpeg = client.retrieve_instance_frames_rendered(*INSTANCE, [1], media_types=("image/jpeg",))
    assert png[:4] == b"\x89PNG" and jpeg[:2] == b"\xff\xd8"


def test_it_stores_and_deletes(guarded):
    new = make_ct(1, study="2.25.3002", series="2.25.3002.1")
    writer, reader = (DICOMwebClient(guarded.server.dicomweb, session=session_of("Basic", guarded.tokens[role]))
                      for role in ("write", "read"))
    for parameters in ({}, {"study_instance_uid": "2.25.3002"}):
        answer = writer.store_instances([new], **parameters)
        assert [item.ReferencedSOPInstanceUID for item in answer.ReferencedSOPSequence] == [new.SOPInstanceUID]
    assert reader.retrieve_instance("2.25.3002", "2.25.3002.1", new.SOPInstanceUID) == new
    with pytest.raises(requests.HTTPError, match="403"):
        reader.delete_study("2.25.3002")
    writer.delete_study("2.25.3002")
    with pytest.raises(requests.HTTPError, match="404"):
        reader.retrieve_study_metadata("2.25.3002")


@pytest.mark.parametrize("scheme", ["Bearer", "Basic"])
def test_a_wrong_token_is_refused(guarded, scheme):
    client = DICOMwebClient(guarded.server.dicomweb, session=session_of(scheme, "wrong"))
    for call in (client.search_for_studies, lambda: client.retrieve_instance(*INSTANCE),
                 lambda: client.store_instances(SLICES)):
        with pytest.raises(requests.HTTPError, match="401"):
            call()
