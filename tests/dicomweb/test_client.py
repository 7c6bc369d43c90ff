"""The public `dicomweb-client` against the server: store, search, retrieve, delete."""

import pydicom
import pytest
import requests
from dicomweb_client.api import DICOMwebClient

from small_ct import SERIES, STUDY, make_ct


def test_store_answers_what_it_stored(client):
    new = make_ct(1, study="2.25.1002", series="2.25.1002.1")
    answer = client.store_instances([new])
    assert [item.ReferencedSOPInstanceUID for item in answer.ReferencedSOPSequence] == [new.SOPInstanceUID]
    assert client.retrieve_instance("2.25.1002", "2.25.1002.1", new.SOPInstanceUID) == new
    assert len(client.store_instances([new], study_instance_uid="2.25.1002").ReferencedSOPSequence) == 1


def test_search_finds_by_attributes(client, stored):
    def studies(**filters):
        return [one["0020000D"]["Value"][0] for one in client.search_for_studies(search_filters=filters)]

    assert STUDY in studies(PatientID="P1")
    assert STUDY in studies(PatientName="doe^*")
    assert STUDY in studies(StudyDate="20240101-20240131")
    assert STUDY in studies(ModalitiesInStudy="CT")
    assert studies(PatientID="nobody") == []
    assert len(client.search_for_series(STUDY)) == 1
    assert len(client.search_for_instances(STUDY, SERIES)) == 5
    assert len(client.search_for_instances(STUDY, SERIES, limit=2)) == 2
    assert len(client.search_for_instances(STUDY, SERIES, limit=2, get_remaining=True)) == 5


def test_objects_come_back_as_stored(client, stored):
    assert client.retrieve_instance(STUDY, SERIES, stored[0].SOPInstanceUID) == stored[0]
    assert sorted(client.retrieve_series(STUDY, SERIES), key=lambda ds: ds.InstanceNumber) == stored
    assert sum(1 for _ in client.iter_study(STUDY)) == 5


def test_metadata_reads_back_with_its_bulk_data(server, client, stored):
    for item in client.retrieve_series_metadata(STUDY, SERIES):
        # Absolute for this client, which leaves the port out of its Host and resolves nothing.
        pixels = client.retrieve_bulkdata(item["7FE00010"]["BulkDataURI"])[0]
        original = next(ds for ds in stored if ds.SOPInstanceUID == item["00080018"]["Value"][0])
        assert pixels == original.PixelData
        read = pydicom.Dataset.from_json(item, bulk_data_uri_handler=lambda _uri: b"")
        del read.PixelData
        assert {element.tag: element.value for element in read} == {
            element.tag: element.value for element in original if element.keyword != "PixelData"
        }


@pytest.mark.parametrize("host", ["pacs.example", "pacs.example:8080"])
def test_bulk_data_is_a_path_for_who_may_have_come_through_a_proxy(server, stored, host):
    uid = stored[0].SOPInstanceUID
    (item,) = requests.get(f"{server.dicomweb}/studies/{STUDY}/series/{SERIES}/instances/{uid}/metadata",
                           headers={"Host": host}, timeout=10).json()
    uri = item["7FE00010"]["BulkDataURI"]
    assert uri.startswith("/dicomweb/"), "relative, so that no Host header matters"
    answer = requests.get(server.base + uri, headers={"Accept": "application/octet-stream"}, timeout=10)
    assert answer.content == stored[0].PixelData


def test_bulk_data_begins_with_the_public_url(start_engram, tmp_path):
    config = tmp_path / "c.toml"
    config.write_text('[dicomweb]\npublic_url = "https://pacs.example/dicomweb/"')
    client = DICOMwebClient(url=start_engram(config=config).dicomweb)
    client.store_instances([make_ct(1)])
    (item,) = client.retrieve_series_metadata(STUDY, SERIES)
    assert item["7FE00010"]["BulkDataURI"].startswith(f"https://pacs.example/dicomweb/studies/{STUDY}/")


def test_frames_and_pictures(client, stored):
    uid = stored[1].SOPInstanceUID
    assert client.retrieve_instance_frames(STUDY, SERIES, uid, [1]) == [stored[1].PixelData]
    octets = ("application/octet-stream",)
    assert client.retrieve_instance_frames(STUDY, SERIES, uid, [1], media_types=octets) == [stored[1].PixelData]
    assert client.retrieve_instance_rendered(STUDY, SERIES, uid, media_types=("image/png",))[:4] == b"\x89PNG"
    jpeg = client.retrieve_instance_frames_rendered(STUDY, SERIES, uid, [1], media_types=("image/jpeg",))
    assert jpeg[:2] == b"\xff\xd8"


def test_deletion(client):
    new = make_ct(1, study="2.25.1003", series="2.25.1003.1")
    client.store_instances([new])
    client.delete_study("2.25.1003")
    assert client.search_for_studies(search_filters={"StudyInstanceUID": "2.25.1003"}) == []
    with pytest.raises(requests.HTTPError, match="404"):
        client.retrieve_study_metadata("2.25.1003")


def test_everything_is_there_after_a_power_cut(start_engram):
    server = start_engram()
    slices = [make_ct(number) for number in range(1, 9)]
    DICOMwebClient(url=server.dicomweb).store_instances(slices)
    server.kill()
    server = start_engram()
    client = DICOMwebClient(url=server.dicomweb)
    assert len(client.search_for_instances(STUDY, SERIES)) == 8
    assert sorted(client.retrieve_series(STUDY, SERIES), key=lambda ds: ds.InstanceNumber) == slices
