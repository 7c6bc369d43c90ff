"""C-STORE, C-FIND, C-GET and C-MOVE by pynetdicom: what goes in comes out, however it is asked for."""

import json
import time

import numpy as np
import pydicom
import pytest
from dicomweb_client.api import DICOMwebClient
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEG2000Lossless, MRImageStorage
from pynetdicom import build_role, evt
from pynetdicom.sop_class import (
    PatientRootQueryRetrieveInformationModelFind,
    PatientRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
)

from serving import doctor
from small_ct import SERIES, STUDY, make_ct

FIND, GET, MOVE = (
    StudyRootQueryRetrieveInformationModelFind, StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove)
PATIENT_FIND, PATIENT_GET = PatientRootQueryRetrieveInformationModelFind, PatientRootQueryRetrieveInformationModelGet
OTHER_STUDY, OTHER_SERIES = "2.25.2002", "2.25.2002.1"
PENDING, SUCCESS, ALL_FAILED, CANCELLED = 0xFF00, 0, 0xA702, 0xFE00
MANY = 40


def identifier(level: str, **keys) -> Dataset:
    asked = Dataset()
    asked.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        setattr(asked, keyword, value)
    return asked


@pytest.fixture(scope="module")
def stored(hospital) -> list[Dataset]:
    """Three slices of one study sent by C-STORE, and a study of another patient with a name in another script."""
    slices = [make_ct(number) for number in (1, 2, 3)]
    other = make_ct(1, OTHER_STUDY, OTHER_SERIES, patient="P2")
    other.SpecificCharacterSet, other.PatientName, other.StudyDate = "ISO_IR 192", "Müller^Jürgen=山田", "20250607"
    association = hospital.associate((CTImageStorage, ExplicitVRLittleEndian))
    for ds in [*slices, other]:
        assert association.send_c_store(ds).Status == SUCCESS
    association.release()
    return [*slices, other]


def find(hospital, asked: Dataset, model=FIND) -> list[Dataset]:
    """What a C-FIND tells; it must end well."""
    association = hospital.associate(model)
    answers = list(association.send_c_find(asked, model))
    association.release()
    assert answers[-1][0].Status == SUCCESS
    assert all(status.Status == PENDING for status, _ in answers[:-1])
    return [ds for _, ds in answers[:-1]]


def get(hospital, asked: Dataset, syntax=ExplicitVRLittleEndian, sop_class=CTImageStorage, model=GET):
    """The last response of a C-GET, and the instances that came."""
    came = []

    def keep(event):
        event.dataset.file_meta = event.file_meta
        came.append(event.dataset)
        return SUCCESS

    association = hospital.associate(
        model, (sop_class, syntax), ext_neg=[build_role(sop_class, scp_role=True)], evt_handlers=[(evt.EVT_C_STORE, keep)])
    *_, (status, failed) = association.send_c_get(asked, model)
    association.release()
    return status, failed, sorted(came, key=lambda ds: ds.SOPInstanceUID)


def test_echo(hospital):
    association = hospital.associate(Verification)
    assert association.send_c_echo().Status == SUCCESS
    association.release()


def test_what_c_store_brings_is_found_by_qido(hospital, stored):
    client = DICOMwebClient(url=hospital.server.dicomweb)
    found = client.search_for_instances(STUDY)
    assert {one["00080018"]["Value"][0] for one in found} == {ds.SOPInstanceUID for ds in stored[:3]}


def test_studies_are_found_with_what_is_asked_for(hospital, stored):
    asked = identifier(
        "STUDY", PatientName="doe*", StudyInstanceUID="", StudyDescription="", NumberOfStudyRelatedInstances="",
        ModalitiesInStudy="", InstitutionalDepartmentName="")
    (found,) = find(hospital, asked)
    assert found.StudyInstanceUID == STUDY and found.PatientName == "Doe^Jane"
    assert found.StudyDescription == "A test" and found.NumberOfStudyRelatedInstances == 3
    assert found.ModalitiesInStudy == "CT" and found.QueryRetrieveLevel == "STUDY"
    assert found.RetrieveAETitle == "ENGRAM"
    assert found.InstitutionalDepartmentName == "", "asked for, and not there"
    assert "PatientID" not in found, "not asked for"


@pytest.mark.parametrize(("keys", "studies"), [
    ({}, [STUDY, OTHER_STUDY]),
    ({"StudyInstanceUID": [STUDY, "1.2.3"]}, [STUDY]),
    ({"PatientID": "P2"}, [OTHER_STUDY]),
    ({"StudyDate": "20250101-20251231"}, [OTHER_STUDY]),
    ({"StudyDate": "20240102", "StudyTime": "1000-1100"}, [STUDY]),
    ({"AccessionNumber": "A?"}, [STUDY, OTHER_STUDY]),
    ({"ModalitiesInStudy": "MR"}, []),
])
def test_studies_match_as_the_keys_say(hospital, stored, keys, studies):
    found = find(hospital, identifier("STUDY", **{"StudyInstanceUID": "", **keys}))
    assert sorted(one.StudyInstanceUID for one in found) == studies


def test_names_in_other_scripts_are_matched_and_told(hospital, stored):
    for charset, key in (("ISO_IR 100", "Müller*"), ("ISO_IR 192", "*山田*")):
        asked = identifier("STUDY", StudyInstanceUID="", PatientID="")
        asked.SpecificCharacterSet, asked.PatientName = charset, key
        (found,) = find(hospital, asked)
        assert found.PatientName == "Müller^Jürgen=山田" and found.PatientID == "P2"


def test_series_and_instances_are_found(hospital, stored):
    (series,) = find(hospital, identifier("SERIES", StudyInstanceUID=STUDY, SeriesInstanceUID="", Modality=""))
    assert series.SeriesInstanceUID == SERIES and series.Modality == "CT"
    asked = identifier("IMAGE", StudyInstanceUID=STUDY, SeriesInstanceUID=SERIES, SOPInstanceUID="", InstanceNumber="", Rows="")
    images = find(hospital, asked)
    assert [(one.InstanceNumber, one.Rows) for one in images] == [(1, 16), (2, 16), (3, 16)]


def test_patients_are_found_once(hospital, stored):
    more = make_ct(1, "2.25.3003", "2.25.3003.1", patient="P2")
    association = hospital.associate((CTImageStorage, ExplicitVRLittleEndian))
    assert association.send_c_store(more).Status == SUCCESS
    association.release()
    asked = identifier("PATIENT", PatientID="P*", PatientName="")
    assert sorted(one.PatientID for one in find(hospital, asked, PATIENT_FIND)) == ["P1", "P2"]
    requests = DICOMwebClient(url=hospital.server.dicomweb)
    requests.delete_study("2.25.3003")


def test_what_is_no_query_is_refused(hospital):
    association = hospital.associate(FIND)
    for asked in (identifier("PATIENT", PatientID=""), identifier("FRAME")):
        (status, _), = association.send_c_find(asked, FIND)
        assert status.Status == 0xA900 and status.ErrorComment
    association.release()


def test_a_query_ends_when_it_is_cancelled(hospital):
    association = hospital.associate((CTImageStorage, ExplicitVRLittleEndian), FIND)
    for number in range(1, MANY + 1):
        assert association.send_c_store(make_ct(number, "2.25.4004", "2.25.4004.1", patient="P4")).Status == SUCCESS
    asked = identifier("IMAGE", StudyInstanceUID="2.25.4004", SOPInstanceUID="")
    told = 0
    for status, _ in association.send_c_find(asked, FIND, msg_id=7):
        if status.Status == PENDING:
            told += 1
            if told == 1:
                association.send_c_cancel(7, query_model=FIND)
    # It may have been told whole before the C-CANCEL came; what counts is that it ends, and the association lives on.
    assert status.Status in (CANCELLED, SUCCESS) and told <= MANY
    assert (status.Status == SUCCESS) == (told == MANY)
    assert len(list(association.send_c_find(asked, FIND))) == MANY + 1
    association.release()


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEG2000Lossless])
def test_get_brings_the_pixels_in_what_was_agreed(hospital, stored, syntax):
    status, failed, came = get(hospital, identifier("SERIES", StudyInstanceUID=STUDY, SeriesInstanceUID=SERIES), syntax)
    assert (status.Status, status.NumberOfCompletedSuboperations, failed) == (SUCCESS, 3, None)
    for ds, original in zip(came, stored, strict=False):
        assert ds.file_meta.TransferSyntaxUID == syntax
        assert ds.SOPInstanceUID == original.SOPInstanceUID
        assert np.array_equal(ds.pixel_array, original.pixel_array)
        if syntax == ExplicitVRLittleEndian:
            assert ds == original


def test_get_of_one_instance_and_of_a_patient(hospital, stored):
    one = identifier("IMAGE", StudyInstanceUID=STUDY, SeriesInstanceUID=SERIES, SOPInstanceUID=stored[1].SOPInstanceUID)
    _, _, came = get(hospital, one)
    assert [ds.SOPInstanceUID for ds in came] == [stored[1].SOPInstanceUID]
    _, _, came = get(hospital, identifier("PATIENT", PatientID="P1"), model=PATIENT_GET)
    assert [ds.SOPInstanceUID for ds in came] == [ds.SOPInstanceUID for ds in stored[:3]]


def test_get_tells_what_could_not_be_sent(hospital, stored):
    asked = identifier("STUDY", StudyInstanceUID=STUDY)
    status, failed, came = get(hospital, asked, sop_class=MRImageStorage)
    assert (status.Status, status.NumberOfFailedSuboperations, came) == (ALL_FAILED, 3, [])
    assert set(failed.FailedSOPInstanceUIDList) == {ds.SOPInstanceUID for ds in stored[:3]}


def test_nothing_is_retrieved_that_is_not_named(hospital, stored):
    for asked in (identifier("STUDY", StudyInstanceUID=""), identifier("STUDY", StudyInstanceUID="2.25.*")):
        status, _, came = get(hospital, asked)
        assert (status.Status, came) == (0xA900, [])
    status, _, came = get(hospital, identifier("STUDY", StudyInstanceUID="1.2.3"))
    assert (status.Status, came) == (SUCCESS, []), "what is not there is no failure"


def move(hospital, asked: Dataset, destination: str):
    association = hospital.associate(MOVE)
    *_, (status, failed) = association.send_c_move(asked, destination, MOVE, msg_id=9)
    association.release()
    return status, failed


def test_move_sends_to_a_node(hospital, stored):
    hospital.node.objects()
    status, failed = move(hospital, identifier("STUDY", StudyInstanceUID=[STUDY, OTHER_STUDY]), "PACS")
    assert (status.Status, status.NumberOfCompletedSuboperations, failed) == (SUCCESS, 4, None)
    first = hospital.node.received[0]
    assert first.assoc.requestor.ae_title == "ENGRAM" and first.assoc.requestor.primitive.called_ae_title == "PACS"
    assert (first.request.MoveOriginatorApplicationEntityTitle, first.request.MoveOriginatorMessageID) == ("TESTS", 9)
    arrived = {ds.SOPInstanceUID: ds for ds in hospital.node.objects()}
    for original in stored:
        assert arrived[original.SOPInstanceUID] == original


def test_move_tells_what_a_node_refused(hospital, stored):
    hospital.node.status = 0xA700
    try:
        status, failed = move(hospital, identifier("STUDY", StudyInstanceUID=STUDY), "PACS")
    finally:
        hospital.node.status = SUCCESS
        hospital.node.objects()
    assert (status.Status, status.NumberOfFailedSuboperations) == (ALL_FAILED, 3)
    assert set(failed.FailedSOPInstanceUIDList) == {ds.SOPInstanceUID for ds in stored[:3]}


@pytest.mark.parametrize(("destination", "code"), [("ELSEWHERE", 0xA801), ("NOBODY", 0xA702)])
def test_move_to_nowhere_says_so(hospital, stored, destination, code):
    status, _ = move(hospital, identifier("STUDY", StudyInstanceUID=STUDY), destination)
    assert status.Status == code and destination in status.ErrorComment


def test_every_access_is_in_the_audit_log(hospital, stored):
    asked = identifier("STUDY", StudyInstanceUID=STUDY)
    find(hospital, asked)
    get(hospital, asked)
    move(hospital, asked, "PACS")
    hospital.node.objects()
    log = hospital.server.data / "audit.jsonl"
    deadline = time.monotonic() + 10
    # Its line follows the end of an access within milliseconds.
    while "C-MOVE" not in log.read_text() and time.monotonic() < deadline:
        time.sleep(0.02)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    (told,) = [line for line in lines if line["action"] == "C-FIND" and line.get("study") == STUDY][-1:]
    assert (told["who"], told["instances"], told["status"]) == ("TESTS", 1, SUCCESS)
    assert {"C-STORE", "C-GET", "C-MOVE"} <= {line["action"] for line in lines}


def test_doctor_asks_the_nodes_whether_they_are_there(hospital, engram, tmp_path):
    checks = doctor(engram, tmp_path, hospital.config)
    there, silent = [check for check in checks if check["what"] == "DIMSE node"]
    assert (there["verdict"], silent["verdict"]) == ("good", "warning")
    assert "PACS" in there["found"] and "NOBODY" in silent["found"] and "ENGRAM" in silent["what_to_do"]


def test_dcmtk_reads_what_comes(hospital, stored, tmp_path, dcmtk):
    """findscu, getscu and movescu of DCMTK."""
    node = ["-aec", "ENGRAM", "127.0.0.1", str(hospital.port)]
    told = dcmtk("findscu", "-S", "-k", "QueryRetrieveLevel=STUDY", "-k", "PatientID=P1", "-k", "StudyInstanceUID", *node)
    assert STUDY in told
    study = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={STUDY}"]
    dcmtk("getscu", "-S", *study, "-od", str(tmp_path), *node)
    assert sorted(pydicom.dcmread(path).SOPInstanceUID for path in tmp_path.iterdir()) == [
        ds.SOPInstanceUID for ds in stored[:3]]
    hospital.node.objects()
    dcmtk("movescu", "-S", "-aem", "PACS", *study, *node)
    assert len(hospital.node.objects()) == 3
