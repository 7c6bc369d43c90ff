"""Another archive: an SCP of every DIMSE service by pynetdicom, over what it is given to hold."""

import threading
import time
from dataclasses import dataclass, field

from pydicom.dataset import Dataset
from pynetdicom import AE, AllStoragePresentationContexts, build_context, build_role, evt
from pynetdicom.sop_class import (
    PatientRootQueryRetrieveInformationModelFind,
    PatientRootQueryRetrieveInformationModelMove,
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
)

from serving import free_port

QUERIES = (
    PatientRootQueryRetrieveInformationModelFind, PatientRootQueryRetrieveInformationModelMove,
    StudyRootQueryRetrieveInformationModelFind, StudyRootQueryRetrieveInformationModelMove)
UNIQUE = {"PATIENT": "PatientID", "STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}
PENDING, CANCELLED, UNABLE = 0xFF00, 0xFE00, 0xC000


@dataclass
class Pacs:
    """`held` is what it has. It sends to `destinations`, and reports storage commitment to `reports_to`, by AE title and port."""

    title: str
    port: int = field(default_factory=free_port)
    held: list[Dataset] = field(default_factory=list)
    destinations: dict[str, int] = field(default_factory=dict)
    reports_to: tuple[str, int] | None = None
    store_status: int = 0
    lost: set[str] = field(default_factory=set)
    """SOP instances that it will not commit itself to."""
    pause: float = 0
    """Seconds before each instance that a C-MOVE sends."""
    calls: list[tuple[str, str]] = field(default_factory=list)
    """Services asked for, and the calling AE titles."""
    cancelled: threading.Event = field(default_factory=threading.Event)

    def start(self, **options):
        """The running server, whose `shutdown` ends it."""
        ae = AE(ae_title=self.title)
        ae.supported_contexts = AllStoragePresentationContexts
        for context in (Verification, StorageCommitmentPushModel, *QUERIES):
            ae.add_supported_context(context)
        return ae.start_server(("127.0.0.1", self.port), block=False, evt_handlers=[
            (evt.EVT_C_ECHO, self.echo), (evt.EVT_C_STORE, self.store), (evt.EVT_C_FIND, self.find),
            (evt.EVT_C_MOVE, self.move), (evt.EVT_N_ACTION, self.commit)], **options)

    def called(self, service: str, event):
        self.calls.append((service, event.assoc.requestor.ae_title))

    def echo(self, event):
        self.called("C-ECHO", event)
        return 0

    def store(self, event):
        self.called("C-STORE", event)
        ds = event.dataset
        ds.file_meta = event.file_meta
        if self.store_status == 0:
            self.held.append(ds)
        return self.store_status

    def matching(self, asked: Dataset) -> list[Dataset]:
        """What has the unique keys that are asked for, and the beginning of the name."""
        def fits(ds: Dataset) -> bool:
            keys = [(key, asked.get(key)) for key in UNIQUE.values() if asked.get(key)]
            name = str(asked.get("PatientName", "")).rstrip("*")
            return all(ds[key].value in ([value] if isinstance(value, str) else value) for key, value in keys) and str(
                ds.PatientName).startswith(name)
        return [ds for ds in self.held if fits(ds)]

    def find(self, event):
        self.called("C-FIND", event)
        asked = event.identifier
        if asked.get("PatientComments") == "refuse":
            answer = Dataset()
            answer.Status, answer.ErrorComment = UNABLE, "not today"
            yield answer, None
            return
        key = UNIQUE[asked.QueryRetrieveLevel]
        for ds in {ds[key].value: ds for ds in self.matching(asked)}.values():
            if event.is_cancelled:
                self.cancelled.set()
                yield CANCELLED, None
                return
            time.sleep(self.pause)
            told = Dataset()
            told.SpecificCharacterSet = "ISO_IR 192"
            told.QueryRetrieveLevel = asked.QueryRetrieveLevel
            for element in asked:
                if element.keyword not in ("SpecificCharacterSet", "QueryRetrieveLevel"):
                    setattr(told, element.keyword, ds.get(element.keyword))
            yield PENDING, told

    def move(self, event):
        self.called("C-MOVE", event)
        port = self.destinations.get(event.move_destination)
        if port is None:
            yield None, None
            return
        wanted = self.matching(event.identifier)
        kinds = {(ds.SOPClassUID, ds.file_meta.TransferSyntaxUID) for ds in wanted}
        yield "127.0.0.1", port, {"ae_title": event.move_destination, "contexts": [build_context(*kind) for kind in kinds]}
        yield len(wanted)
        for ds in wanted:
            time.sleep(self.pause)
            if event.is_cancelled:
                self.cancelled.set()
                yield CANCELLED, None
                return
            yield PENDING, ds

    def commit(self, event):
        self.called("N-ACTION", event)
        threading.Thread(target=self.report, args=(event.action_information,), daemon=True).start()
        return 0, None

    def report(self, asked: Dataset):
        """Tells what of it is held, on an association of its own."""
        held = {ds.SOPInstanceUID for ds in self.held} - self.lost
        told = Dataset()
        told.TransactionUID = asked.TransactionUID
        told.ReferencedSOPSequence = [item for item in asked.ReferencedSOPSequence if item.ReferencedSOPInstanceUID in held]
        failed = [item for item in asked.ReferencedSOPSequence if item.ReferencedSOPInstanceUID not in held]
        for item in failed:
            item.FailureReason = 0x0112
        if failed:
            told.FailedSOPSequence = failed
        title, port = self.reports_to
        ae = AE(ae_title=self.title)
        ae.add_requested_context(StorageCommitmentPushModel)
        association = ae.associate("127.0.0.1", port, ae_title=title,
                                   ext_neg=[build_role(StorageCommitmentPushModel, scp_role=True)])
        association.send_n_event_report(told, 2 if failed else 1, StorageCommitmentPushModel, StorageCommitmentPushModelInstance)
        association.release()
