"""Every transaction of PS3.18 section 11, and every status of its tables that can be provoked."""

from concurrent.futures import ThreadPoolExecutor
from xml.etree import ElementTree

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from worklist_client import FILTERED, GLOBAL, JSON, Worklist, code, data_set, discontinued, first, key, performed, values, workitem

XML = "application/dicom+xml"


def warning(answer) -> str:
    return answer.headers.get("Warning", "")


def refused(answer, status: int, word: str, warned: str = ""):
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"code", "message", "what_to_do"} and answer.json()["code"] == word
    assert warned in warning(answer) and bool(warned) == bool(warning(answer))


def test_a_workitem_is_created_under_the_uid_of_the_query_or_the_data_set(worklist):
    for query in ("?{}", "?workitem={}", "?AffectedSOPInstanceUID={}"):
        uid = generate_uid()
        answer = worklist.create(workitem(), query.format(uid))
        assert answer.status_code == 201 and not warning(answer) and not answer.content
        assert answer.headers["Location"] == f"{worklist.dicomweb}/workitems/{uid}" == answer.headers["Content-Location"]
        assert first(worklist.retrieve(uid), "SOPInstanceUID") == uid
    for keyword in ("AffectedSOPInstanceUID", "SOPInstanceUID"):
        uid = generate_uid()
        assert worklist.file(workitem(**{keyword: uid})) == uid
        assert "00001000" not in worklist.retrieve(uid)
    assert worklist.file(workitem()).startswith("2.25.")


def test_what_is_left_out_is_put_in_and_told(worklist):
    lacking = workitem()
    del lacking[key("AdmissionID")]
    answer = worklist.create(lacking)
    assert answer.status_code == 201 and warning(answer) == '299 engram "The UPS was created with modifications."'


def test_what_is_no_workitem_is_refused(worklist):
    for wrong in (workitem(ProcedureStepState="COMPLETED"), workitem(ProcedureStepLabel=[]),
                  workitem(InputReadinessState="PERHAPS"), workitem(ScheduledProcedureStepStartDateTime="soon"),
                  workitem(TransactionUID="1.2"), workitem(SOPInstanceUID="one")):
        refused(worklist.create(wrong), 400, "bad_workitem")
    uid = worklist.file(workitem())
    refused(worklist.create(workitem(), f"?{uid}"), 409, "workitem_exists")
    for body in ("", "[]", "[{},{}]", "{", "7"):
        assert worklist.send("POST", "/workitems", body).status_code == 400, body
    refused(worklist.send("POST", "/workitems?1.2.3", "[{}]"), 400, "bad_workitem")
    refused(worklist.send("POST", "/workitems", "x", content_type="text/plain"), 415, "unsupported_media_type")
    refused(worklist.send("POST", "/workitems", b" " * (1 << 20)), 413, "request_too_large")
    refused(worklist.create(workitem(CommentsOnTheScheduledProcedureStep="x" * (300 << 10))), 413, "workitem_too_large")


def test_a_workitem_comes_as_json_and_xml_and_goes_in_as_either(worklist):
    uid = worklist.file(workitem())
    answer = worklist.send("GET", f"/workitems/{uid}", accept=XML)
    assert answer.headers["Content-Type"] == XML
    tree = ElementTree.fromstring(answer.content)
    assert tree.find(".//{*}DicomAttribute[@keyword='ProcedureStepLabel']/{*}Value").text == "Look at it"
    again = answer.text.replace(uid, uid + ".1")
    answer = worklist.send("POST", "/workitems", again.encode(), content_type=XML)
    assert answer.status_code == 201, answer.text
    copy, own = worklist.retrieve(uid + ".1"), worklist.retrieve(uid)
    for keyword in ("SOPInstanceUID", "ScheduledProcedureStepModificationDateTime"):
        copy.pop(key(keyword)), own.pop(key(keyword))
    assert copy == own
    refused(worklist.send("GET", f"/workitems/{uid}", accept="image/png"), 406, "not_acceptable")


def test_what_is_not_there_is_404(worklist):
    for method, path, body in (
            ("GET", "/workitems/1.9.9", None), ("POST", "/workitems/1.9.9", [workitem()]),
            ("PUT", "/workitems/1.9.9/state", [data_set(ProcedureStepState="IN PROGRESS", TransactionUID="1.7")]),
            ("POST", "/workitems/1.9.9/cancelrequest", None), ("POST", "/workitems/1.9.9/subscribers/A", None),
            ("DELETE", "/workitems/1.9.9/subscribers/A", None)):
        refused(worklist.send(method, path, body), 404, "no_such_workitem")
    refused(worklist.send("GET", "/workitems/one"), 400, "bad_uid")
    assert worklist.send("DELETE", "/workitems/1.9.9").headers["Allow"] == "GET, HEAD, POST, OPTIONS"


def test_from_scheduled_to_completed(worklist):
    uid, lock = worklist.file(workitem()), generate_uid()
    refused(worklist.change(uid, "COMPLETED", lock), 409, "not_in_progress", "inconsistent with the state")
    assert worklist.update(uid, data_set(ProcedureStepLabel="Look twice")).status_code == 200
    refused(worklist.update(uid, data_set(ProcedureStepLabel="x"), lock), 409, "not_claimed", "a claimed Workitem")
    refused(worklist.change(uid, "IN PROGRESS", None), 400, "transaction_missing", "Transaction UID is missing")
    answer = worklist.change(uid, "IN PROGRESS", lock)
    assert answer.status_code == 200 and answer.headers["Content-Location"].endswith(uid)
    assert first(worklist.retrieve(uid), "ProcedureStepLabel") == "Look twice"
    assert key("TransactionUID") not in worklist.retrieve(uid)

    refused(worklist.change(uid, "SCHEDULED", lock), 400, "bad_state", "inconsistent with the state")
    refused(worklist.change(uid, "DONE", lock), 400, "bad_data_set")
    refused(worklist.change(uid, "IN PROGRESS", lock), 409, "already_in_progress", "inconsistent with the state")
    refused(worklist.change(uid, "COMPLETED", lock), 409, "not_final", "inconsistent with the state")
    refused(worklist.change(uid, "COMPLETED", generate_uid()), 400, "transaction_wrong", "Transaction UID is incorrect")
    refused(worklist.update(uid, performed()), 400, "transaction_missing", "Transaction UID is missing")
    refused(worklist.update(uid, performed(), generate_uid()), 400, "transaction_wrong", "Transaction UID is incorrect")
    refused(worklist.update(uid, data_set(PatientID="P2"), lock), 400, "bad_workitem")
    # The lock may come in the data set, too, and by its name.
    assert worklist.update(uid, {**performed(), **data_set(TransactionUID=lock)}).status_code == 200
    named = worklist.send("POST", f"/workitems/{uid}?transaction-uid={lock}", [data_set(ProcedureStepLabel="Done")])
    assert named.status_code == 200, named.text
    assert worklist.change(uid, "COMPLETED", lock).status_code == 200

    again = worklist.change(uid, "COMPLETED", lock)
    assert again.status_code == 200 and "already in the requested state of COMPLETED" in warning(again)
    refused(worklist.change(uid, "CANCELED", lock), 400, "workitem_ended", "inconsistent with the state")
    refused(worklist.update(uid, performed(), lock), 400, "workitem_ended", "inconsistent with the state")
    refused(worklist.cancel(uid), 409, "already_completed", "The UPS is already COMPLETED.")


def test_its_performer_cancels_a_workitem(worklist):
    uid, lock = worklist.file(workitem()), generate_uid()
    assert worklist.change(uid, "IN PROGRESS", lock).status_code == 200
    assert worklist.update(uid, discontinued(), lock).status_code == 200
    assert worklist.change(uid, "CANCELED", lock).status_code == 200
    progress = first(worklist.retrieve(uid), "ProcedureStepProgressInformationSequence")
    assert first(progress, "ProcedureStepCancellationDateTime")
    for again in (worklist.change(uid, "CANCELED", lock), worklist.cancel(uid)):
        assert again.status_code in (200, 202) and "already in the requested state of CANCELED" in warning(again)


def test_others_ask_for_cancellation(worklist):
    waiting = worklist.file(workitem())
    assert worklist.cancel(waiting, ReasonForCancellation="a mistake").status_code == 202
    found = worklist.retrieve(waiting)
    assert first(found, "ProcedureStepState") == "CANCELED"
    assert first(found, "ProcedureStepProgressInformationSequence", "ReasonForCancellation") == "a mistake"
    begun = worklist.file(workitem())
    worklist.change(begun, "IN PROGRESS", generate_uid())
    refused(worklist.cancel(begun), 409, "performer_unreachable", "The performer cannot be contacted.")


def test_one_of_those_who_race_for_a_workitem_wins(worklist):
    for _ in range(5):
        uid = worklist.file(workitem())
        locks = [generate_uid() for _ in range(8)]
        with ThreadPoolExecutor(8) as racers:
            answers = list(racers.map(worklist.change, [uid] * 8, ["IN PROGRESS"] * 8, locks))
        statuses = sorted(answer.status_code for answer in answers)
        assert statuses == [200] + [409] * 7
        winner = locks[[answer.status_code for answer in answers].index(200)]
        assert worklist.update(uid, performed(), winner).status_code == 200


def test_searches(worklist):
    label = generate_uid()[-12:]
    uids = [worklist.file(workitem(WorklistLabel=label, PatientID=f"S{number}", ScheduledProcedureStepStartDateTime=
                                   f"2024060{number}120000")) for number in range(1, 5)]
    worklist.change(uids[0], "IN PROGRESS", generate_uid())

    def found(query: str) -> list[int]:
        return [uids.index(first(item, "SOPInstanceUID")) for item in worklist.search(f"?WorklistLabel={label}&{query}")]

    assert found("") == [0, 1, 2, 3]
    assert found("ProcedureStepState=SCHEDULED") == [1, 2, 3]
    assert found("ProcedureStepState=IN%20PROGRESS") == [0]
    assert found("ScheduledWorkitemCodeSequence.CodeValue=110005") == [0, 1, 2, 3]
    assert found("00404018.00080100=110004") == []
    assert found("ScheduledProcedureStepStartDateTime=20240602-20240603") == [1, 2]
    assert found("ScheduledProcedureStepStartDateTime=20240603-") == [2, 3]
    assert found("PatientID=S2") == [1] and found("PatientID=S*") == [0, 1, 2, 3]
    assert found("PatientName=jane&fuzzymatching=true") == [0, 1, 2, 3]
    page = worklist.send("GET", f"/workitems?WorklistLabel={label}&limit=2&offset=1")
    assert [first(item, "SOPInstanceUID") for item in page.json()] == uids[1:3]
    assert "additional results" in warning(page) and page.headers["X-Total-Count"] == "4"
    item, = worklist.search(f"?SOPInstanceUID={uids[1]}")
    assert key("ProcedureStepLabel") in item and key("InputInformationSequence") not in item
    item, = worklist.search(f"?SOPInstanceUID={uids[1]}&includefield=InputInformationSequence")
    assert key("InputInformationSequence") in item
    item, = worklist.search(f"?SOPInstanceUID={uids[1]}&includefield=all")
    assert item == worklist.retrieve(uids[1])
    nothing = worklist.send("GET", "/workitems?PatientID=NOBODY")
    assert (nothing.status_code, nothing.json()) == (200, [])
    xml = f'multipart/related; type="{XML}"'
    assert worklist.send("GET", "/workitems?PatientID=NOBODY", accept=xml).status_code == 204
    many = worklist.send("GET", f"/workitems?WorklistLabel={label}", accept=xml)
    assert many.status_code == 200 and many.content.count(b"<NativeDicomModel") == 4
    for wrong in ("?NoSuchAttribute=1", "?limit=x", "?ScheduledProcedureStepStartDateTime=soon"):
        refused(worklist.send("GET", f"/workitems{wrong}"), 400, "bad_query")
    refused(worklist.send("GET", "/workitems", accept="text/csv"), 406, "not_acceptable")


def test_subscriptions_are_answered_as_the_tables_say(worklist):
    uid = worklist.file(workitem())
    answer = worklist.subscribe(uid, "WATCH%20ME", "?deletionlock=true")
    assert answer.status_code == 201 and not warning(answer)
    assert answer.headers["Content-Location"] == worklist.dicomweb.replace("http", "ws") + "/subscribers/WATCH%20ME"
    for resource, query in ((GLOBAL, ""), (FILTERED, "?filter=PatientID%3DP1"), (FILTERED, "?PatientID=P1")):
        assert worklist.subscribe(resource, "WATCHER", query).status_code == 201
        suspended = worklist.send("POST", f"/workitems/{resource}/subscribers/WATCHER/suspend")
        assert suspended.status_code == 200
        assert worklist.unsubscribe(resource, "WATCHER").status_code == 200
        refused(worklist.send("POST", f"/workitems/{resource}/subscribers/WATCHER/suspend"), 404, "not_subscribed")
    assert worklist.unsubscribe(uid, "WATCH%20ME").status_code == 200
    refused(worklist.subscribe(FILTERED, "WATCHER"), 400, "bad_query")
    refused(worklist.subscribe(FILTERED, "WATCHER", "?filter=NoSuch%3D1"), 400, "bad_query")
    refused(worklist.subscribe(FILTERED, "WATCHER", "?ScheduledProcedureStepStartDateTime=soon"), 400, "bad_query")
    refused(worklist.subscribe(uid, "A" * 17), 400, "bad_ae_title")
    refused(worklist.subscribe(uid, "A", "?deletionlock=perhaps"), 400, "bad_query")
    refused(worklist.send("POST", f"/workitems/{uid}/subscribers/A/suspend"), 400, "bad_query")
    refused(worklist.send("GET", "/subscribers/A"), 400, "not_a_websocket")


@pytest.fixture
def forgetful(engram, start_engram, tmp_path):
    """A worklist that keeps two workitems that have ended, and takes four that have not."""
    config = tmp_path / "engram.toml"
    config.write_text(f"[worklist]\nkeep_final = 2\nmax_open = 4\n[storage]\ndata = '{tmp_path / 'data'}'\n")
    return Worklist(start_engram(config=config).dicomweb)


def test_what_ended_is_let_go_of_unless_it_is_locked(forgetful):
    uids = [forgetful.file(workitem()) for _ in range(4)]
    refused(forgetful.create(workitem()), 503, "worklist_full")
    assert forgetful.subscribe(uids[0], "KEEPER", "?deletionlock=true").status_code == 201
    for uid in uids:
        assert forgetful.cancel(uid).status_code == 202
    assert forgetful.state(uids[0]) == "CANCELED"
    for answer in (forgetful.send("GET", f"/workitems/{uids[1]}"), forgetful.update(uids[1], performed(), "1.7"),
                   forgetful.change(uids[1], "CANCELED", "1.7")):
        refused(answer, 410, "workitem_gone")
    refused(forgetful.create(workitem(), f"?{uids[1]}"), 409, "workitem_exists")
    assert forgetful.unsubscribe(uids[0], "KEEPER").status_code == 200
    refused(forgetful.send("GET", f"/workitems/{uids[0]}"), 410, "workitem_gone")
    assert len(forgetful.search()) == 2


def test_it_stands_in_the_capabilities(worklist):
    services = {service["name"]: service["operations"] for service in worklist.send("GET", "/", accept="*/*").json()["services"]}
    assert {"GET /workitems", "POST /workitems", "PUT /workitems/{workitem}/state",
            "GET /subscribers/{aetitle}"} <= set(services["UPS-RS"])
    wadl = worklist.send("OPTIONS", "/", accept="application/vnd.sun.wadl+xml")
    assert b'path="workitems/{workitem}/cancelrequest"' in wadl.content


def test_codes_and_values_keep_their_form(worklist):
    """What pydicom makes of the answer is what was sent."""
    sent = workitem(ScheduledStationNameCodeSequence=code("S1", "99TEST", "Größe"))
    kept = Dataset.from_json(worklist.retrieve(worklist.file(sent)))
    assert kept.ScheduledStationNameCodeSequence[0].CodeMeaning == "Größe"
    assert kept.PatientName == "Doe^Jane" and kept.ProcedureStepState == "SCHEDULED"
    raw = worklist.retrieve(kept.SOPInstanceUID)
    assert list(raw) == sorted(raw), "in the order of PS3.18 F.2.2"
    assert values(sent, "ScheduledProcedureStepPriority") == [kept.ScheduledProcedureStepPriority]
    assert JSON in worklist.send("GET", f"/workitems/{kept.SOPInstanceUID}").headers["Content-Type"]
