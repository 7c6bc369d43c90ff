"""Event reports over WebSockets (PS3.4 CC.2.4, PS3.18 sections 8.10 and 11.13)."""

import os
import signal
import time

import pytest
import websocket
from pydicom.uid import generate_uid

from worklist_client import (
    ASSIGNED,
    CANCEL_REQUESTED,
    FILTERED,
    GLOBAL,
    PROGRESS_REPORT,
    STATE_REPORT,
    STATUS_CHANGE,
    Worklist,
    code,
    data_set,
    discontinued,
    first,
    performed,
    workitem,
)


def test_who_watches_the_worklist_hears_of_everything(worklist):
    assert worklist.subscribe(GLOBAL, "WATCHER").status_code == 201
    with worklist.connected("WATCHER") as reports:
        uid = worklist.file(workitem(ScheduledStationNameCodeSequence=code("S1", "99TEST", "A station")))
        lock = generate_uid()
        worklist.change(uid, "IN PROGRESS", lock)
        worklist.update(uid, data_set(ProcedureStepProgressInformationSequence=data_set(ProcedureStepProgress=40)), lock)
        worklist.update(uid, data_set(ScheduledStationNameCodeSequence=code("S2", "99TEST", "Another")), lock)
        asked = worklist.send("POST", f"/workitems/{uid}/cancelrequest?requester=BOSS",
                              [data_set(ReasonForCancellation="lunch", ContactDisplayName="Dr. Doe")])
        assert asked.status_code == 202
        worklist.update(uid, performed(), lock)
        worklist.change(uid, "COMPLETED", lock)
        heard = [reports.next() for _ in range(7)]
    assert [first(report, "EventTypeID") for report in heard] == [
        STATE_REPORT, ASSIGNED, STATE_REPORT, PROGRESS_REPORT, ASSIGNED, CANCEL_REQUESTED, STATE_REPORT]
    assert {first(report, "AffectedSOPInstanceUID") for report in heard} == {uid}
    assert [first(report, "MessageID") for report in heard] == list(range(1, 8))
    states = [first(report, "ProcedureStepState") for report in heard if first(report, "EventTypeID") == STATE_REPORT]
    assert states == ["SCHEDULED", "IN PROGRESS", "COMPLETED"]
    assert all(first(report, "InputReadinessState") == "READY" for report in heard
               if first(report, "EventTypeID") == STATE_REPORT)
    assert first(heard[3], "ProcedureStepProgressInformationSequence", "ProcedureStepProgress") == 40
    assert first(heard[4], "ScheduledStationNameCodeSequence", "CodeValue") == "S2"
    assert [first(heard[5], name) for name in ("RequestingAE", "ReasonForCancellation", "ContactDisplayName")] == [
        "BOSS", "lunch", "Dr. Doe"]
    worklist.unsubscribe(GLOBAL, "WATCHER")


def test_who_watches_one_workitem_hears_of_that_alone(worklist):
    uid, other = worklist.file(workitem()), worklist.file(workitem())
    with worklist.connected("ONE") as reports:
        worklist.subscribe(uid, "ONE")
        now = reports.next()
        assert (first(now, "EventTypeID"), first(now, "ProcedureStepState")) == (STATE_REPORT, "SCHEDULED")
        worklist.cancel(other)
        worklist.cancel(uid)
        assert [first(report, "ProcedureStepState") for report in reports.until("CANCELED")] == ["IN PROGRESS", "CANCELED"]
        worklist.unsubscribe(uid, "ONE")
        assert reports.silent()


def test_a_filter_and_a_suspension_hold(worklist):
    patient = generate_uid()[-12:]
    with worklist.connected("SOME") as reports:
        worklist.subscribe(FILTERED, "SOME", f"?filter=PatientID%3D{patient},ScheduledProcedureStepPriority%3DHIGH")
        worklist.file(workitem(PatientID=patient))
        uid = worklist.file(workitem(PatientID=patient, ScheduledProcedureStepPriority="HIGH"))
        assert first(reports.next(), "AffectedSOPInstanceUID") == uid
        worklist.send("POST", f"/workitems/{FILTERED}/subscribers/SOME/suspend")
        worklist.file(workitem(PatientID=patient, ScheduledProcedureStepPriority="HIGH"))
        assert reports.silent()
        worklist.cancel(uid)
        assert len(reports.until("CANCELED")) == 2, "what was taken in stays"
        worklist.unsubscribe(FILTERED, "SOME")


def test_a_lock_on_the_worklist_tells_of_all_that_is_there(worklist):
    uids = {first(item, "SOPInstanceUID") for item in worklist.search()}
    with worklist.connected("LOCKER") as reports:
        assert worklist.subscribe(GLOBAL, "LOCKER", "?deletionlock=true").status_code == 201
        assert {first(reports.next(), "AffectedSOPInstanceUID") for _ in uids} == uids
        worklist.unsubscribe(GLOBAL, "LOCKER")


def test_its_performer_is_told_that_it_is_not_wanted_any_more(worklist):
    uid, lock = worklist.file(workitem()), generate_uid()
    with worklist.connected("PERFORMER") as reports:
        worklist.change(uid, "IN PROGRESS", lock)
        worklist.subscribe(uid, "PERFORMER")
        assert worklist.cancel(uid, ReasonForCancellation="a mistake").status_code == 202
        assert reports.types(2) == [STATE_REPORT, CANCEL_REQUESTED]
        worklist.update(uid, discontinued(), lock)
        assert worklist.change(uid, "CANCELED", lock).status_code == 200
        last = reports.until("CANCELED")[-1]
        assert first(last, "ReasonForCancellation") == "It was not needed."
        assert first(last, "ProcedureStepDiscontinuationReasonCodeSequence", "CodeValue") == "110513"


def test_who_says_too_much_is_let_go(worklist):
    with worklist.connected("TALKER") as reports:
        reports.connection.send("x" * 100_000)
        with pytest.raises((websocket.WebSocketConnectionClosedException, ConnectionError, BrokenPipeError)):
            while True:
                opcode, _ = reports.connection.recv_data()
                if opcode == websocket.ABNF.OPCODE_CLOSE:
                    raise websocket.WebSocketConnectionClosedException


def test_a_ping_is_answered(worklist):
    with worklist.connected("PINGER") as reports:
        reports.connection.ping(b"hello")
        while (frame := reports.connection.recv_frame()).opcode != websocket.ABNF.OPCODE_PONG:
            pass
        assert frame.data == b"hello"


def test_subscriptions_outlive_the_server_and_connections_its_end(engram, start_engram):
    server = start_engram()
    worklist = Worklist(server.dicomweb)
    worklist.subscribe(GLOBAL, "WATCHER")
    with worklist.connected("WATCHER") as reports:
        began = time.monotonic()
        os.kill(server.process.pid, signal.SIGTERM)
        goodbye = reports.next()
        assert (first(goodbye, "EventTypeID"), first(goodbye, "SCPStatus")) == (STATUS_CHANGE, "GOING DOWN")
        assert reports.connection.recv_data()[0] == websocket.ABNF.OPCODE_CLOSE
    server.process.wait(30)
    assert time.monotonic() - began < 8, "it did not wait for who watches"
    server.start_again()
    with worklist.connected("WATCHER") as reports:
        hello = reports.next()
        assert (first(hello, "EventTypeID"), first(hello, "SCPStatus")) == (STATUS_CHANGE, "RESTARTED")
        assert first(hello, "SubscriptionListStatus") == "WARM START"
        uid = worklist.file(workitem())
        assert first(reports.next(), "AffectedSOPInstanceUID") == uid


def test_connections_are_counted(engram, start_engram, tmp_path):
    config = tmp_path / "engram.toml"
    config.write_text(f"[worklist]\nmax_connections = 1\n[storage]\ndata = '{tmp_path / 'data'}'\n")
    worklist = Worklist(start_engram(config=config).dicomweb)
    refused = pytest.raises(websocket.WebSocketBadStatusException, match="503")
    with worklist.connected("ONE"), refused, worklist.connected("TWO"):
        pass
