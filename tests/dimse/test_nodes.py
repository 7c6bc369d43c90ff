"""`/api/v1/nodes` with pynetdicom as the node: is it there, what has it, retrieve from it, send to it."""

import time

import pytest
import requests
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from hospital import OURS, Hospital, Node
from pacs import Pacs
from serving import free_port, start_server
from small_ct import make_ct

SECONDS = 60
STUDY, OTHER = "2.25.7001", "2.25.7002"
FIRST, SECOND = f"{STUDY}.1", f"{STUDY}.2"


@pytest.fixture(scope="module")
def pacs(engram, tmp_path_factory):
    """A server, and an archive that it knows by three names: as it is, with storage commitment, and at a port where nobody is."""
    folder = tmp_path_factory.mktemp("nodes")
    port = free_port()
    archive = Pacs("ARCHIVE", destinations={OURS: port, "ALIAS": port}, reports_to=(OURS, port))
    config = folder / "config.toml"
    config.write_text(f"""
[dimse]
bind = "127.0.0.1:{port}"
timeout_seconds = 20
[[dimse.nodes]]
ae_title = "ARCHIVE"
address = "127.0.0.1:{archive.port}"
[[dimse.nodes]]
name = "vault"
ae_title = "ARCHIVE"
address = "localhost:{archive.port}"
calling_ae_title = "ALIAS"
commit = true
[[dimse.nodes]]
name = "nobody"
ae_title = "NOBODY"
address = "127.0.0.1:{free_port()}"
""")
    running = archive.start()
    server = start_server(folder / "data", config=config)
    yield Hospital(server, config, port, Node(0)), archive
    server.stop()
    running.shutdown()


@pytest.fixture
def at(pacs):
    """A function that posts to a node, and the archive, with five slices in two series and a study of another patient."""
    hospital, archive = pacs
    archive.held[:] = [make_ct(number, STUDY, FIRST) for number in (1, 2, 3)] + [
        make_ct(number, STUDY, SECOND) for number in (4, 5)] + [make_ct(6, OTHER, f"{OTHER}.1", patient="P2")]
    archive.held[-1].SpecificCharacterSet, archive.held[-1].PatientName = "ISO_IR 192", "Müller^Jürgen"
    archive.calls.clear()
    archive.cancelled.clear()
    archive.pause, archive.store_status, archive.lost = 0, 0, set()

    def post(path: str, body=None) -> requests.Response:
        return requests.post(f"{hospital.server.base}/api/v1/nodes/{path}", json=body, timeout=SECONDS)

    return post


def ended(pacs, answer: requests.Response) -> dict:
    """The job that was asked for, when it has ended."""
    hospital, _ = pacs
    assert answer.status_code == 202, answer.text
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        job = requests.get(hospital.server.base + answer.headers["Location"], timeout=SECONDS).json()
        if job["state"] not in ("queued", "running"):
            return job
        time.sleep(0.1)
    pytest.fail(f"it does not end: {job}")


def stored(pacs, study: str) -> set[str]:
    """SOP instances of a study that the server has."""
    hospital, _ = pacs
    answer = requests.get(f"{hospital.server.dicomweb}/studies/{study}/instances", timeout=SECONDS)
    return {one["00080018"]["Value"][0] for one in (answer.json() if answer.status_code == 200 else [])}


def test_nodes_are_listed_by_name(pacs):
    hospital, archive = pacs
    listed = requests.get(f"{hospital.server.base}/api/v1/nodes", timeout=SECONDS).json()
    assert [one["name"] for one in listed] == ["ARCHIVE", "vault", "nobody"]
    assert listed[0] == {"name": "ARCHIVE", "protocol": "DIMSE", "ae_title": "ARCHIVE",
                         "address": f"127.0.0.1:{archive.port}", "tls": False}


def test_a_node_is_asked_whether_it_is_there(pacs, at):
    assert at("ARCHIVE/echo").json() == {"status": 0}
    assert at("vault/echo").json() == {"status": 0}
    assert pacs[1].calls == [("C-ECHO", OURS), ("C-ECHO", "ALIAS")]
    for name, status, code in (("nobody", 502, "node_failed"), ("elsewhere", 404, "no_such_node")):
        answer = at(f"{name}/echo")
        assert (answer.status_code, answer.json()["code"]) == (status, code) and answer.json()["what_to_do"]


@pytest.mark.parametrize(("level", "keys", "attribute", "values"), [
    ("PATIENT", {"PatientID": ""}, "00100020", ["P1", "P2"]),
    ("STUDY", {}, "0020000D", [STUDY, OTHER]),
    ("STUDY", {"PatientName": "Müll*"}, "0020000D", [OTHER]),
    ("STUDY", {"StudyInstanceUID": [OTHER, "1.2"]}, "0020000D", [OTHER]),
    ("SERIES", {"StudyInstanceUID": STUDY}, "0020000E", [FIRST, SECOND]),
    ("INSTANCE", {"0020000D": {"vr": "UI", "Value": [STUDY]}, "SeriesInstanceUID": SECOND, "Rows": None},
     "00080018", [f"{SECOND}.4", f"{SECOND}.5"]),
])
def test_a_node_tells_what_it_has(at, level, keys, attribute, values):
    answer = at("ARCHIVE/query", {"level": level, "keys": keys})
    assert answer.status_code == 200 and answer.headers["Content-Type"] == "application/dicom+json"
    assert [one[attribute]["Value"][0] for one in answer.json()] == values
    assert "Warning" not in answer.headers
    if "Rows" in keys:
        assert [one["00280010"]["Value"] for one in answer.json()] == [[16], [16]]


def test_names_come_in_their_script(at):
    (found,) = at("ARCHIVE/query", {"level": "STUDY", "keys": {"PatientID": "P2"}}).json()
    assert found["00100010"]["Value"] == [{"Alphabetic": "Müller^Jürgen"}]


def test_a_query_ends_at_its_limit(pacs, at):
    pacs[1].pause = 0.2
    answer = at("ARCHIVE/query", {"level": "INSTANCE", "keys": {}, "limit": 2})
    assert len(answer.json()) == 2 and "299" in answer.headers["Warning"]
    assert pacs[1].cancelled.wait(SECONDS), "the node was not asked to end"
    answer = at("ARCHIVE/query", {"level": "INSTANCE", "keys": {}, "limit": 6})
    assert len(answer.json()) == 6 and "Warning" not in answer.headers, "there are no more"


@pytest.mark.parametrize(("body", "status", "code"), [
    ({"level": "FRAME"}, 400, "bad_request"),
    ({"level": "STUDY", "keys": {"NoSuchKeyword": ""}}, 400, "bad_request"),
    ({"level": "STUDY", "limit": 0}, 400, "bad_request"),
    ({"level": "STUDY", "nonsense": 1}, 400, "bad_request"),
    ({"level": "STUDY", "keys": {"PatientComments": "refuse"}}, 502, "node_refused"),
])
def test_what_cannot_be_asked_is_told(at, body, status, code):
    answer = at("ARCHIVE/query", body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    if code == "node_refused":
        assert "0xc000: not today" in answer.json()["message"]


@pytest.mark.parametrize(("objects", "count"), [
    ({"study": STUDY}, 5), ({"study": STUDY, "series": [SECOND]}, 2), ({"study": STUDY, "series": [FIRST, SECOND]}, 5),
    ({"study": STUDY, "series": [FIRST], "instances": [f"{FIRST}.1", f"{FIRST}.3"]}, 2),
])
def test_what_is_retrieved_is_stored(pacs, at, objects, count):
    hospital, archive = pacs
    requests.delete(f"{hospital.server.dicomweb}/studies/{STUDY}", timeout=SECONDS)
    job = ended(pacs, at("ARCHIVE/retrieve", objects))
    assert (job["state"], job["kind"], job["result"]) == ("succeeded", "retrieve", {"instances": count}), job
    assert len(stored(pacs, STUDY)) == count and ("C-MOVE", OURS) in archive.calls
    assert job["request"]["node"] == "ARCHIVE" and job["slices_done"] == job["slices_total"]


def test_a_node_that_does_not_know_us_says_so(pacs, at):
    hospital, archive = pacs
    known = archive.destinations.pop(OURS)
    try:
        job = ended(pacs, at("ARCHIVE/retrieve", {"study": STUDY}))
    finally:
        archive.destinations[OURS] = known
    assert job["state"] == "failed" and job["error"]["code"] == "node_refused"
    assert "0xa801" in job["error"]["message"] and OURS in job["error"]["what_to_do"]
    assert ended(pacs, at("nobody/retrieve", {"study": STUDY}))["error"]["code"] == "node_failed"


def test_a_retrieval_is_cancelled_at_the_node(pacs, at):
    hospital, archive = pacs
    archive.pause = 0.5
    answer = at("vault/retrieve", {"study": STUDY})
    time.sleep(0.8)
    requests.delete(hospital.server.base + answer.headers["Location"], timeout=SECONDS)
    assert ended(pacs, answer)["state"] == "cancelled"
    assert archive.cancelled.wait(SECONDS)


def test_a_retrieval_goes_on_after_a_restart(pacs, at):
    hospital, archive = pacs
    requests.delete(f"{hospital.server.dicomweb}/studies/{STUDY}", timeout=SECONDS)
    archive.pause = 0.5
    answer = at("ARCHIVE/retrieve", {"study": STUDY})
    time.sleep(0.8)
    hospital.server.stop()
    assert archive.cancelled.wait(SECONDS), "the node was not asked to end"
    archive.pause = 0
    hospital.server.start_again()
    assert ended(pacs, answer)["result"] == {"instances": 5} and len(stored(pacs, STUDY)) == 5


def test_what_is_no_set_of_objects_is_refused(at):
    for objects in ({"study": ""}, {"study": STUDY, "instances": ["1.2"]}, {"study": "1.*"}, {}):
        for path in ("retrieve", "store"):
            answer = at(f"ARCHIVE/{path}", objects)
            assert (answer.status_code, answer.json()["code"]) == (400, "bad_request"), objects


@pytest.fixture
def sent(pacs, at) -> list[str]:
    """Three slices that the server has and the archive has not."""
    hospital, archive = pacs
    slices = [make_ct(number, "2.25.7003", "2.25.7003.1", patient="P3") for number in (1, 2, 3)]
    association = hospital.associate((CTImageStorage, ExplicitVRLittleEndian))
    for ds in slices:
        assert association.send_c_store(ds).Status == 0
    association.release()
    archive.held.clear()
    return [ds.SOPInstanceUID for ds in slices]


def test_what_is_sent_arrives(pacs, at, sent):
    _, archive = pacs
    job = ended(pacs, at("ARCHIVE/store", {"study": "2.25.7003"}))
    assert (job["state"], job["kind"]) == ("succeeded", "send"), job
    assert job["result"] == {"instances": 3, "committed": False} and job["slices_done"] == 3
    assert [ds.SOPInstanceUID for ds in archive.held] == sent
    assert archive.held[0] == make_ct(1, "2.25.7003", "2.25.7003.1", patient="P3")
    objects = {"study": "2.25.7003", "series": ["2.25.7003.1"], "instances": [sent[1]]}
    assert ended(pacs, at("ARCHIVE/store", objects))["result"]["instances"] == 1


def test_what_a_node_refuses_is_told(pacs, at, sent):
    _, archive = pacs
    archive.store_status = 0xA700
    job = ended(pacs, at("ARCHIVE/store", {"study": "2.25.7003"}))
    assert (job["state"], job["error"]["code"]) == ("failed", "some_not_sent")
    assert f"{sent[0]} (status 0xa700)" in job["error"]["message"]
    assert at("ARCHIVE/store", {"study": "2.25.9"}).status_code == 404


def test_a_node_commits_itself_to_what_it_was_sent(pacs, at, sent):
    _, archive = pacs
    job = ended(pacs, at("vault/store", {"study": "2.25.7003"}))
    assert (job["state"], job["result"]) == ("succeeded", {"instances": 3, "committed": True}), job
    assert ("N-ACTION", "ALIAS") in archive.calls
    archive.lost = {sent[1]}
    job = ended(pacs, at("vault/store", {"study": "2.25.7003"}))
    assert job["error"]["code"] == "not_committed" and f"{sent[1]} (reason 0x0112)" in job["error"]["message"]


def test_transfers_are_audited(pacs, at):
    hospital, _ = pacs
    ended(pacs, at("ARCHIVE/retrieve", {"study": OTHER}))
    log = hospital.server.data / "audit.jsonl"
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline and not ('"C-MOVE to us"' in log.read_text() and OTHER in log.read_text()):
        time.sleep(0.1)
    assert '"C-MOVE to us"' in log.read_text() and '"ARCHIVE (127.0.0.1:' in log.read_text()
