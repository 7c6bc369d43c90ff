"""Segmentation as a workitem: filed by a worklist client and performed by the server, or asked for elsewhere and shown."""

import time

import pytest
from pydicom.uid import generate_uid

import patients
from engram_api import Api, masks_of
from teaching import teach
from worklist_client import GLOBAL, PROGRESS_REPORT, STATE_REPORT, Worklist, code, data_set, first, key, values, workitem

SEGMENTATION = code("113076", "DCM", "Segmentation")


def parameter(name: str, text: str | None = None, coded: dict | None = None) -> dict:
    told = {"TextValue": text} if text else {"ConceptCodeSequence": coded}
    return data_set(ValueType="TEXT" if text else "CODE", ConceptNameCodeSequence=code(name, "99ENGRAM", name), **told)


def asked(number: int = 4, parameters=(), **changes) -> dict:
    """A workitem that asks for the segmentation of a patient's series."""
    one = patients.images(number)[0]
    series = data_set(TypeOfInstances="DICOM", StudyInstanceUID=one.StudyInstanceUID,
                      SeriesInstanceUID=one.SeriesInstanceUID)
    attributes = workitem(
        ScheduledWorkitemCodeSequence=SEGMENTATION, InputInformationSequence=series,
        StudyInstanceUID=one.StudyInstanceUID, PatientID=one.PatientID,
        ScheduledProcessingParametersSequence=list(parameters))
    return {**attributes, **data_set(**changes)}


LIVER = parameter("LABEL", coded=code("10200004", "SCT", "Liver"))


def output_of(found: dict) -> list[dict]:
    """The instances that a workitem names as its output."""
    performed = first(found, "UnifiedProcedureStepPerformedProcedureSequence")
    return values(performed, "OutputInformationSequence")


def fetch(api: Api, output: dict):
    study, series = (first(output, name) for name in ("StudyInstanceUID", "SeriesInstanceUID"))
    referenced = first(output, "ReferencedSOPSequence")
    found = api.dicom.retrieve_instance(study, series, first(referenced, "ReferencedSOPInstanceUID"))
    assert found.SOPClassUID == first(referenced, "ReferencedSOPClassUID")
    return found


def test_a_workitem_is_performed_and_watched(worklist, taught):
    worklist.subscribe(GLOBAL, "WATCHER")
    with worklist.connected("WATCHER") as reports:
        uid = worklist.file(asked(parameters=[LIVER, parameter("QUALITY", "fast")]))
        heard = [report for report in reports.until("COMPLETED") if first(report, "AffectedSOPInstanceUID") == uid]
    worklist.unsubscribe(GLOBAL, "WATCHER")
    states = [first(report, "ProcedureStepState") for report in heard if first(report, "EventTypeID") == STATE_REPORT]
    assert states == ["SCHEDULED", "IN PROGRESS", "COMPLETED"]
    progress = [first(report, "ProcedureStepProgressInformationSequence", "ProcedureStepProgress") for report in heard
                if first(report, "EventTypeID") == PROGRESS_REPORT]
    assert progress == sorted(progress) and progress[-1] == 100

    found = worklist.retrieve(uid)
    performed = first(found, "UnifiedProcedureStepPerformedProcedureSequence")
    assert first(performed, "PerformedStationNameCodeSequence", "CodeValue") == "ENGRAM"
    assert first(performed, "PerformedWorkitemCodeSequence", "CodeValue") == "113076"
    assert first(performed, "PerformedProcedureStepStartDateTime") <= first(performed, "PerformedProcedureStepEndDateTime")
    output, = output_of(found)
    masks = masks_of(fetch(taught, output), patients.images(4))
    assert set(masks) == {"Liver"} and patients.dice(masks["Liver"], patients.anatomy(4)[1][patients.LIVER]) > 0.5

    mirrored = worklist.search(f"?ScheduledWorkitemCodeSequence.CodeValue=113076&StudyInstanceUID="
                               f"{patients.images(4)[0].StudyInstanceUID}")
    assert [first(item, "SOPInstanceUID") for item in mirrored] == [uid], "its job is no second workitem"


def test_what_cannot_be_done_is_refused(worklist, taught):
    for wrong, word in [
            (asked(parameters=[parameter("LABEL", "SCT:1")]), "annotated"),
            (asked(parameters=[parameter("COLOUR", "red")]), "COLOUR"),
            (asked(parameters=[parameter("BUNDLE", "none-such")]), "none-such"),
            (asked(InputInformationSequence=[]), "0040,4021"),
            (asked(number=77), "series")]:
        answer = worklist.create(wrong)
        assert answer.status_code == 400 and answer.json()["code"] == "not_performable", answer.text
        assert word in answer.json()["message"]


def test_what_waits_for_its_time_its_input_or_another_station_is_left_alone(worklist, taught):
    later = worklist.file(asked(ScheduledProcedureStepStartDateTime="29991231"))
    elsewhere = worklist.file(asked(ScheduledStationNameCodeSequence=code("OTHER", "99TEST", "Another")))
    other = worklist.file(workitem())
    time.sleep(2.5)
    assert {worklist.state(uid) for uid in (later, elsewhere, other)} == {"SCHEDULED"}
    soon = data_set(ScheduledProcedureStepStartDateTime="20240101")
    assert worklist.update(later, soon).status_code == 200
    assert first(worklist.ended(later), "ProcedureStepState") == "COMPLETED"
    assert worklist.cancel(elsewhere).status_code == 202


def test_a_series_may_arrive_after_its_workitem(worklist, taught):
    uid = worklist.file(asked(number=5, InputReadinessState="INCOMPLETE", parameters=[LIVER]))
    ready = data_set(InputReadinessState="READY")
    early = worklist.update(uid, ready)
    assert early.status_code == 400 and early.json()["code"] == "not_performable"
    taught.store(*patients.images(5))
    assert worklist.update(uid, ready).status_code == 200
    assert first(worklist.ended(uid), "ProcedureStepState") == "COMPLETED"


def test_a_job_asked_for_elsewhere_is_shown_and_cancelled_from_here(worklist, taught):
    one = patients.images(4)[0]
    known = {first(item, "SOPInstanceUID") for item in worklist.search()}
    jobs = [taught.segment(4, wait=False, labels=[patients.LIVER_KEY], options={"quality": "best"}).json()
            for _ in range(3)]
    uids = [f"2.25.{int(job['id'].replace('-', ''), 16)}" for job in jobs]
    found = {first(item, "SOPInstanceUID"): item for item in worklist.search()}
    assert set(found) - known == set(uids)
    assert first(found[uids[2]], "PatientID") == one.PatientID and first(found[uids[2]], "StudyInstanceUID") == one.StudyInstanceUID
    claimed = worklist.change(uids[2], "IN PROGRESS", generate_uid())
    assert claimed.status_code == 409, "nobody else may"
    assert worklist.cancel(uids[2], ReasonForCancellation="not needed").status_code == 202
    ended = worklist.ended(uids[2])
    assert first(ended, "ProcedureStepState") == "CANCELED"
    progress = first(ended, "ProcedureStepProgressInformationSequence")
    assert first(progress, "ReasonForCancellation") == "not needed"
    assert taught.get(f"/jobs/{jobs[2]['id']}").json()["state"] == "cancelled"
    for uid, job in zip(uids[:2], jobs):
        done = worklist.ended(uid)
        assert first(done, "ProcedureStepState") == "COMPLETED"
        result = taught.get(f"/jobs/{job['id']}").json()["result"]
        output, = output_of(done)
        assert first(output, "ReferencedSOPSequence", "ReferencedSOPInstanceUID") == result["sop_instance"]


def test_a_job_that_fails_says_why(worklist, taught):
    """A localizer is no volume, which is known only once its pixels are read."""
    images = [image for image in patients.images(6)[:1]]
    images[0].ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    taught.store(*images)
    answer = worklist.create(asked(number=6, parameters=[LIVER]))
    assert answer.status_code == 201, answer.text
    ended = worklist.ended(answer.headers["Location"].rsplit("/", 1)[1])
    assert first(ended, "ProcedureStepState") == "CANCELED"
    progress = first(ended, "ProcedureStepProgressInformationSequence")
    assert "volume" in first(progress, "ReasonForCancellation")
    assert first(progress, "ProcedureStepDiscontinuationReasonCodeSequence", "CodeValue") == "110522"


@pytest.mark.parametrize("filed", [True, False], ids=["filed here", "asked for elsewhere"])
def test_a_killed_server_goes_on_where_it_was(engram, start_engram, filed):
    server = start_engram()
    worklist, api = Worklist(server.dicomweb), Api(server.base)
    teach(api)
    if filed:
        uids = [worklist.file(asked(parameters=[LIVER, parameter("QUALITY", "best")])) for _ in range(3)]
    else:
        options = {"quality": "best"}
        jobs = [api.segment(4, wait=False, labels=[patients.LIVER_KEY], options=options).json() for _ in range(3)]
        uids = [f"2.25.{int(job['id'].replace('-', ''), 16)}" for job in jobs]
    deadline = time.monotonic() + 60
    while worklist.state(uids[0]) == "SCHEDULED" and time.monotonic() < deadline:
        time.sleep(0.02)
    server.kill()
    server.start_again()
    outputs = []
    for uid in uids:
        found = worklist.ended(uid)
        assert first(found, "ProcedureStepState") == "COMPLETED"
        outputs += [first(output, "SeriesInstanceUID") for output in output_of(found)]
    stored = api.dicom.search_for_series(patients.images(4)[0].StudyInstanceUID, search_filters={"Modality": "SEG"})
    assert sorted(first(one, "SeriesInstanceUID") for one in stored) == sorted(outputs) and len(set(outputs)) == 3
    found = [first(item, "SOPInstanceUID") for item in worklist.search()]
    assert sorted(found) == sorted(uids), "none was lost, none is there twice"
    assert key("TransactionUID") not in worklist.retrieve(uids[0])
