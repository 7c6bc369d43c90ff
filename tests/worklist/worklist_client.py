"""A client of UPS-RS, written after the examples of PS3.18 section 11: requests, and WebSockets for event reports."""

import json
import time
from contextlib import contextmanager
from dataclasses import dataclass

import requests
import websocket
from pydicom.datadict import dictionary_VR, tag_for_keyword

JSON = "application/dicom+json"
GLOBAL, FILTERED = "1.2.840.10008.5.1.4.34.5", "1.2.840.10008.5.1.4.34.5.1"
STATE_REPORT, CANCEL_REQUESTED, PROGRESS_REPORT, STATUS_CHANGE, ASSIGNED = 1, 2, 3, 4, 5
PATIENCE = 120


def key(keyword: str) -> str:
    return f"{tag_for_keyword(keyword):08X}"


def element(keyword: str, *values) -> dict:
    return {"vr": dictionary_VR(keyword), **({"Value": list(values)} if values else {})}


def data_set(**attributes) -> dict:
    """A data set by keywords; a value that is no list stands for one of one value."""
    return {key(keyword): element(keyword, *(values if isinstance(values, list) else [values]))
            for keyword, values in attributes.items()}


def code(value: str, scheme: str, meaning: str) -> dict:
    return data_set(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def values(attributes: dict, keyword: str) -> list:
    return attributes.get(key(keyword), {}).get("Value", [])


def first(attributes: dict, *path: str):
    """The first value of an attribute, through the first items of sequences; None where there is none."""
    for keyword in path:
        found = values(attributes, keyword)
        if not found:
            return None
        attributes = found[0]
    return attributes


def workitem(**changes) -> dict:
    """A workitem that nobody in particular is to do: everything of type 1 and 2 is there."""
    attributes = data_set(
        ProcedureStepState="SCHEDULED", ScheduledProcedureStepPriority="MEDIUM", ProcedureStepLabel="Look at it",
        WorklistLabel="TESTS", ScheduledProcedureStepStartDateTime="20240101120000", InputReadinessState="READY",
        ScheduledWorkitemCodeSequence=code("110005", "DCM", "Interpretation"),
        ScheduledProcessingParametersSequence=[], ScheduledStationNameCodeSequence=[],
        ScheduledStationClassCodeSequence=[], ScheduledStationGeographicLocationCodeSequence=[],
        InputInformationSequence=[], StudyInstanceUID="1.2.3", PatientName={"Alphabetic": "Doe^Jane"}, PatientID="P1",
        PatientBirthDate=[], PatientSex=[], AdmissionID=[], IssuerOfAdmissionIDSequence=[],
        AdmittingDiagnosesDescription=[], AdmittingDiagnosesCodeSequence=[], ReferencedRequestSequence=[],
        ProcedureStepProgressInformationSequence=[], UnifiedProcedureStepPerformedProcedureSequence=[])
    return {**attributes, **data_set(**changes)}


def performed() -> dict:
    """What a workitem must have to be COMPLETED."""
    return data_set(UnifiedProcedureStepPerformedProcedureSequence=data_set(
        PerformedStationNameCodeSequence=code("S1", "99TEST", "A station"),
        PerformedWorkitemCodeSequence=code("110005", "DCM", "Interpretation"),
        PerformedProcedureStepStartDateTime="20240101120000", PerformedProcedureStepEndDateTime="20240101121500",
        OutputInformationSequence=[]))


def discontinued() -> dict:
    """What a workitem must have to be CANCELED."""
    return data_set(ProcedureStepProgressInformationSequence=data_set(
        ReasonForCancellation="It was not needed.",
        ProcedureStepDiscontinuationReasonCodeSequence=code("110513", "DCM", "Discontinued for unspecified reason")))


@dataclass
class Worklist:
    """`dicomweb` is the URL of the services."""

    dicomweb: str
    token: str | None = None

    @property
    def headers(self) -> dict:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def send(self, method: str, path: str, body=None, content_type: str = JSON, accept: str = JSON) -> requests.Response:
        headers = {**self.headers, "Accept": accept}
        if body is not None:
            headers["Content-Type"] = content_type
            body = body if isinstance(body, (bytes, str)) else json.dumps(body)
        return requests.request(method, self.dicomweb + path, data=body, headers=headers, timeout=60)

    def create(self, attributes: dict, query: str = "") -> requests.Response:
        return self.send("POST", f"/workitems{query}", [attributes])

    def file(self, attributes: dict) -> str:
        """Creates a workitem; its UID."""
        answer = self.create(attributes)
        assert answer.status_code == 201, answer.text
        return answer.headers["Location"].rsplit("/", 1)[1]

    def retrieve(self, uid: str) -> dict:
        answer = self.send("GET", f"/workitems/{uid}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def state(self, uid: str) -> str:
        return first(self.retrieve(uid), "ProcedureStepState")

    def update(self, uid: str, changes: dict, transaction: str | None = None) -> requests.Response:
        return self.send("POST", f"/workitems/{uid}{f'?{transaction}' if transaction else ''}", [changes])

    def change(self, uid: str, state: str, transaction: str | None) -> requests.Response:
        action = data_set(ProcedureStepState=state, **({"TransactionUID": transaction} if transaction else {}))
        return self.send("PUT", f"/workitems/{uid}/state", [action])

    def cancel(self, uid: str, **why) -> requests.Response:
        return self.send("POST", f"/workitems/{uid}/cancelrequest", [data_set(**why)] if why else None)

    def search(self, query: str = "") -> list[dict]:
        answer = self.send("GET", f"/workitems{query}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def subscribe(self, resource: str, ae_title: str, query: str = "") -> requests.Response:
        return self.send("POST", f"/workitems/{resource}/subscribers/{ae_title}{query}")

    def unsubscribe(self, resource: str, ae_title: str) -> requests.Response:
        return self.send("DELETE", f"/workitems/{resource}/subscribers/{ae_title}")

    @contextmanager
    def connected(self, ae_title: str):
        """A connection over which event reports come."""
        url = self.dicomweb.replace("http", "ws", 1) + f"/subscribers/{ae_title}"
        connection = websocket.create_connection(url, timeout=PATIENCE, header=self.headers)
        try:
            yield Reports(connection)
        finally:
            connection.close()

    def ended(self, uid: str) -> dict:
        """The workitem once it is COMPLETED or CANCELED."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            found = self.retrieve(uid)
            if first(found, "ProcedureStepState") in ("COMPLETED", "CANCELED"):
                return found
            time.sleep(0.1)
        raise AssertionError(f"it did not end: {found}")


@dataclass
class Reports:
    """Event reports as they come."""

    connection: websocket.WebSocket

    def next(self) -> dict:
        opcode, message = self.connection.recv_data()
        assert opcode == websocket.ABNF.OPCODE_TEXT, (opcode, message)
        report = json.loads(message)
        assert first(report, "AffectedSOPClassUID") == "1.2.840.10008.5.1.4.34.6.1"
        assert list(report) == sorted(report)
        assert all(set(element) <= {"vr", "Value"} for element in report.values())
        return report

    def types(self, count: int) -> list[int]:
        return [first(self.next(), "EventTypeID") for _ in range(count)]

    def silent(self, seconds: float = 0.5) -> bool:
        self.connection.settimeout(seconds)
        try:
            self.connection.recv_data()
            return False
        except websocket.WebSocketTimeoutException:
            return True
        finally:
            self.connection.settimeout(PATIENCE)

    def until(self, state: str) -> list[dict]:
        """Every report up to the one of that state."""
        reports = []
        while not reports or first(reports[-1], "ProcedureStepState") != state:
            reports.append(self.next())
        return reports
