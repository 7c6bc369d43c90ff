"""Storage Commitment by pynetdicom: what is kept is told, on the same association or on one to the node that asked."""

import time

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid
from pynetdicom import AE, evt
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance

from hospital import Hospital, Node
from serving import free_port, start_server
from small_ct import make_ct

SECONDS = 30
ALL_KEPT, SOME_MISSING = 1, 2
NO_SUCH_INSTANCE, CLASS_CONFLICT = 0x0112, 0x0119


@pytest.fixture(scope="module")
def stored(hospital) -> Dataset:
    ds = make_ct(1, "2.25.6006", "2.25.6006.1")
    association = hospital.associate((CTImageStorage, ExplicitVRLittleEndian))
    assert association.send_c_store(ds).Status == 0
    association.release()
    return ds


def request(*instances: tuple[str, str]) -> Dataset:
    asked = Dataset()
    asked.TransactionUID = generate_uid()
    asked.ReferencedSOPSequence = []
    for sop_class, uid in instances:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
        asked.ReferencedSOPSequence.append(item)
    return asked


def told_of(hospital, asked: Dataset, calling: str = "TESTS"):
    """Event type and data set of the report, and whether it came to the node."""
    here = Node(0)
    association = hospital.associate(
        StorageCommitmentPushModel, calling=calling, evt_handlers=[(evt.EVT_N_EVENT_REPORT, here.hear)])
    status, _ = association.send_n_action(asked, 1, StorageCommitmentPushModel, StorageCommitmentPushModelInstance)
    assert status.Status == 0
    node = hospital.node if calling == "PACS" else here
    event, told = node.reports.get(timeout=SECONDS)
    association.release()
    assert told.TransactionUID == asked.TransactionUID and told.RetrieveAETitle == "ENGRAM"
    assert here.reports.empty() and hospital.node.reports.empty(), "once, and in one place"
    return event, told


@pytest.mark.parametrize("calling", ["TESTS", "PACS"])
def test_what_is_kept_is_told(hospital, stored, calling):
    """PACS is a node that is configured: it hears on an association of its own."""
    event, told = told_of(hospital, request((CTImageStorage, stored.SOPInstanceUID)), calling)
    assert event == ALL_KEPT and "FailedSOPSequence" not in told
    assert [one.ReferencedSOPInstanceUID for one in told.ReferencedSOPSequence] == [stored.SOPInstanceUID]


def test_what_is_missing_is_told_with_the_reason(hospital, stored):
    event, told = told_of(hospital, request(
        (CTImageStorage, stored.SOPInstanceUID), (CTImageStorage, "1.2.3"), (MRImageStorage, stored.SOPInstanceUID)))
    assert event == SOME_MISSING
    assert [one.ReferencedSOPClassUID for one in told.ReferencedSOPSequence] == [CTImageStorage]
    assert [(one.ReferencedSOPInstanceUID, one.FailureReason) for one in told.FailedSOPSequence] == [
        ("1.2.3", NO_SUCH_INSTANCE), (stored.SOPInstanceUID, CLASS_CONFLICT)]


def test_a_node_that_does_not_answer_is_told_where_it_asked(hospital, stored):
    event, _ = told_of(hospital, request((CTImageStorage, stored.SOPInstanceUID)), "NOBODY")
    assert event == ALL_KEPT


def test_what_is_no_request_is_refused(hospital):
    association = hospital.associate(StorageCommitmentPushModel)
    empty = Dataset()
    empty.TransactionUID = generate_uid()
    for asked, action, code in ((empty, 1, 0x0120), (request(("1.2", "1.2.3")), 7, 0x0123)):
        status, _ = association.send_n_action(asked, action, StorageCommitmentPushModel, StorageCommitmentPushModelInstance)
        assert status.Status == code
    association.release()


@pytest.mark.parametrize("ends", ["killed", "left alone"])
def test_a_report_waits_for_its_node(engram, tmp_path, ends):
    """The node asks, goes, and is there again later: it is told once, even where the server was killed in between."""
    port, node = free_port(), Node(free_port())
    config = tmp_path / "config.toml"
    config.write_text(f"""
[dimse]
bind = "127.0.0.1:{port}"
[[dimse.nodes]]
ae_title = "LATE"
address = "127.0.0.1:{node.port}"
""")
    server = start_server(tmp_path / "data", config=config)
    hospital = Hospital(server, config, port, node)
    asked = request((CTImageStorage, "1.2.3"))
    association = hospital.associate(StorageCommitmentPushModel, calling="LATE", evt_handlers=[
        (evt.EVT_N_EVENT_REPORT, lambda event: event.assoc.abort())])
    association.send_n_action(asked, 1, StorageCommitmentPushModel, StorageCommitmentPushModelInstance)
    deadline = time.monotonic() + SECONDS
    while not association.is_aborted:
        assert time.monotonic() < deadline, "it was not told on this association first"
        time.sleep(0.05)
    if ends == "killed":
        server.kill()
    scp = AE(ae_title="LATE")
    scp.add_supported_context(StorageCommitmentPushModel, scu_role=False, scp_role=True)
    running = scp.start_server(("127.0.0.1", node.port), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, node.hear)])
    try:
        if ends == "killed":
            server.start_again()
        event, told = node.reports.get(timeout=SECONDS)
        assert event == SOME_MISSING and told.TransactionUID == asked.TransactionUID
        time.sleep(0.5)
        server.kill()
        server.start_again()
        time.sleep(1)
        assert node.reports.empty(), "it was told twice"
    finally:
        server.stop()
        running.shutdown()
