"""Storage Commitment by pynetdicom: what is kept is told, on the same association or on one to the node that asked."""

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid
from pynetdicom import evt
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance

from hospital import Node
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
