"""`/api/v1/nodes` with DICOMweb nodes: Debian's Orthanc, another Engram that wants a token, and servers with bad habits."""

import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pydicom
import pytest
import requests
from dicomweb_client.api import DICOMwebClient
from pydicom.uid import JPEGLSLossless

from guarding import Commands
from orthanc import start_orthanc
from serving import Server, doctor, start_server
from small_ct import make_ct, part10

SECONDS = 60
STUDY, OTHER = "2.25.7701", "2.25.7702"
FIRST, SECOND = f"{STUDY}.1", f"{STUDY}.2"
BOUNDARY = "between-parts"


@dataclass
class Near:
    """The server that asks."""

    server: Server

    def post(self, path: str, body=None) -> requests.Response:
        return requests.post(f"{self.server.base}/api/v1/nodes/{path}", json=body, timeout=SECONDS)

    def query(self, node: str, level: str, keys: dict, **more) -> requests.Response:
        return self.post(f"{node}/query", {"level": level, "keys": keys, **more})

    def ended(self, path: str, body) -> dict:
        """The job that is asked for, when it has ended."""
        return self.end_of(self.post(path, body))

    def end_of(self, answer: requests.Response) -> dict:
        assert answer.status_code == 202, answer.text
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            job = requests.get(self.server.base + answer.headers["Location"], timeout=SECONDS).json()
            if job["state"] not in ("queued", "running"):
                return job
            time.sleep(0.1)
        pytest.fail(f"it does not end: {job}")

    def stored(self, study: str = STUDY) -> set[str]:
        """SOP instances of a study that it has."""
        found = requests.get(f"{self.server.dicomweb}/studies/{study}/instances", timeout=SECONDS)
        return {one["00080018"]["Value"][0] for one in (found.json() if found.status_code == 200 else [])}

    def forget(self, study: str = STUDY) -> None:
        requests.delete(f"{self.server.dicomweb}/studies/{study}", timeout=SECONDS)


def slices() -> list[pydicom.Dataset]:
    """Five slices of a study in two series, of which one is compressed, and one of another patient."""
    made = [make_ct(number, STUDY, FIRST) for number in (1, 2, 3)] + [make_ct(number, STUDY, SECOND) for number in (4, 5)]
    made[-1].compress(JPEGLSLossless, generate_instance_uid=False)
    other = make_ct(6, OTHER, f"{OTHER}.1", patient="P2")
    other.SpecificCharacterSet, other.PatientName, other.StudyDate = "ISO_IR 192", "Müller^Jürgen", "20230506"
    return [*made, other]


@dataclass
class Far:
    """A DICOMweb server that holds `slices()`."""

    url: str
    client: DICOMwebClient


@pytest.fixture(scope="module", params=["orthanc", "engram"])
def sides(engram, tmp_path_factory, request):
    """A server, and the node `far` that it knows."""
    folder = tmp_path_factory.mktemp("nodes")
    login, session = "", None
    if request.param == "orthanc":
        orthanc = start_orthanc(folder / "orthanc")
        url, stop = f"{orthanc.url}/dicom-web", orthanc.stop
    else:
        token = Commands(engram, folder / "far").token("near", "read", "write")
        (folder / "far.toml").write_text("[auth]\nrequired = true\n")
        server = start_server(folder / "far", config=folder / "far.toml")
        url, stop, login = server.dicomweb, server.stop, f'token = "{token}"\n'
        session = requests.Session()
        session.headers["Authorization"] = f"Bearer {token}"
    far = Far(url, DICOMwebClient(url, session=session))
    far.client.store_instances(slices())
    config = folder / "config.toml"
    config.write_text(f'[[dicomweb.nodes]]\nname = "far"\nurl = "{url}/"\n{login}')
    near = Near(start_server(folder / "near", config=config))
    yield near, far
    near.server.stop()
    stop()


def test_a_node_is_listed_and_there(sides):
    near, far = sides
    listed = requests.get(f"{near.server.base}/api/v1/nodes", timeout=SECONDS).json()
    assert listed == [{"name": "far", "protocol": "DICOMweb", "url": far.url, "tls": False}]
    assert near.post("far/echo").json() == {"status": 0}


@pytest.mark.parametrize(("level", "keys", "attribute", "values"), [
    ("STUDY", {}, "0020000D", {STUDY, OTHER}),
    ("STUDY", {"PatientName": "M*"}, "0020000D", {OTHER}),
    ("STUDY", {"PatientName": "doe*"}, "0020000D", {STUDY}),
    ("STUDY", {"StudyDate": "20230101-20231231"}, "0020000D", {OTHER}),
    ("STUDY", {"StudyInstanceUID": [STUDY, "1.2.3"]}, "0020000D", {STUDY}),
    ("SERIES", {"StudyInstanceUID": STUDY}, "0020000E", {FIRST, SECOND}),
    ("SERIES", {"PatientID": "P2"}, "0020000E", {f"{OTHER}.1"}),
    ("INSTANCE", {"0020000D": {"vr": "UI", "Value": [STUDY]}, "SeriesInstanceUID": SECOND, "Rows": None},
     "00080018", {f"{SECOND}.4", f"{SECOND}.5"}),
])
def test_a_node_tells_what_it_has(sides, level, keys, attribute, values):
    near, _ = sides
    answer = near.query("far", level, keys)
    assert answer.status_code == 200 and answer.headers["Content-Type"] == "application/dicom+json", answer.text
    assert {one[attribute]["Value"][0] for one in answer.json()} == values
    assert "Warning" not in answer.headers
    if "Rows" in keys:
        assert [one["00280010"]["Value"] for one in answer.json()] == [[16], [16]]


def test_names_come_and_go_in_their_script(sides):
    near, far = sides
    (found,) = near.query("far", "STUDY", {"PatientID": "P2"}).json()
    assert found["00100010"]["Value"] == [{"Alphabetic": "Müller^Jürgen"}]
    if "/dicom-web" not in far.url:
        # Debian's Orthanc does not undo the escapes of a query.
        for name in ("Müll*", "müller^jürgen"):
            (found,) = near.query("far", "STUDY", {"PatientName": name}).json()
            assert found["0020000D"]["Value"] == [OTHER]


def test_a_query_ends_at_its_limit(sides):
    near, _ = sides
    answer = near.query("far", "INSTANCE", {}, limit=2)
    assert len(answer.json()) == 2 and "299" in answer.headers["Warning"]
    answer = near.query("far", "INSTANCE", {}, limit=6)
    assert len(answer.json()) == 6 and "Warning" not in answer.headers, "there are no more"


def test_there_is_no_level_of_patients(sides):
    near, _ = sides
    answer = near.query("far", "PATIENT", {})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


@pytest.mark.parametrize(("objects", "numbers"), [
    ({"study": STUDY}, (1, 2, 3, 4, 5)), ({"study": STUDY, "series": [SECOND]}, (4, 5)),
    ({"study": STUDY, "series": [FIRST, SECOND, FIRST]}, (1, 2, 3, 4, 5)),
    ({"study": STUDY, "series": [FIRST], "instances": [f"{FIRST}.1", f"{FIRST}.3"]}, (1, 3)),
])
def test_what_is_retrieved_is_stored_as_it_was(sides, objects, numbers):
    near, _ = sides
    near.forget()
    job = near.ended("far/retrieve", objects)
    assert (job["state"], job["kind"], job["result"]) == ("succeeded", "retrieve", {"instances": len(numbers)}), job
    assert job["request"]["node"] == "far" and job["slices_done"] == job["slices_total"] == len(numbers)
    expected = {ds.SOPInstanceUID: ds for ds in slices() if ds.InstanceNumber in numbers}
    assert near.stored() == set(expected)
    client = DICOMwebClient(near.server.dicomweb)
    for ds in client.iter_study(STUDY, media_types=(("application/dicom", "*"),)):
        assert ds == expected[ds.SOPInstanceUID]
        assert ds.file_meta.TransferSyntaxUID == expected[ds.SOPInstanceUID].file_meta.TransferSyntaxUID


def test_what_the_node_has_not_is_told(sides):
    near, _ = sides
    for objects in ({"study": "2.25.1"}, {"study": STUDY, "series": ["2.25.1"]}):
        job = near.ended("far/retrieve", objects)
        assert (job["state"], job["error"]["code"]) == ("failed", "node_refused"), job
    job = near.ended("far/retrieve", {"study": STUDY, "series": [FIRST], "instances": [f"{FIRST}.1", f"{FIRST}.8"]})
    assert job["error"]["code"] == "some_not_retrieved" and f"{FIRST}.8 (the node answered 404)" in job["error"]["message"]


def test_what_is_sent_arrives(sides):
    near, far = sides
    sent = [make_ct(number, "2.25.7703", "2.25.7703.1", patient="P3") for number in (1, 2, 3)]
    DICOMwebClient(near.server.dicomweb).store_instances(sent)
    job = near.ended("far/store", {"study": "2.25.7703", "series": ["2.25.7703.1"], "instances": [sent[1].SOPInstanceUID]})
    assert (job["state"], job["kind"], job["result"]) == ("succeeded", "send", {"instances": 1, "committed": False}), job
    assert near.ended("far/store", {"study": "2.25.7703"})["result"]["instances"] == 3
    assert {ds.SOPInstanceUID: ds for ds in far.client.retrieve_study("2.25.7703")} == {ds.SOPInstanceUID: ds for ds in sent}
    assert near.post("far/store", {"study": "2.25.9"}).status_code == 404


def test_transfers_are_audited(sides):
    near, far = sides
    near.ended("far/retrieve", {"study": OTHER})
    log, deadline = near.server.data / "audit.jsonl", time.monotonic() + SECONDS
    while True:
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        told = [line for line in lines if line["action"] == "WADO-RS from a node" and line.get("study") == OTHER]
        if told or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    assert told[-1]["peer"] == f"far ({far.url})" and told[-1]["instances"] == 1 and told[-1]["complete"]


@dataclass
class Odd:
    """A DICOMweb server as it is told to be: `answers` are status, Content-Type and body, or a function that writes to the connection, by
    the path without its query, after "POST " where it is posted to; `asked` are the paths and Accept headers of requests."""

    answers: dict = field(default_factory=dict)
    asked: list = field(default_factory=list)
    gone: threading.Event = field(default_factory=threading.Event)
    port: int = 0

    def start(self) -> ThreadingHTTPServer:
        odd = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                odd.asked.append((self.path, self.headers["Accept"]))
                self.answer(self.path.partition("?")[0])

            def do_POST(self):
                self.body = self.rfile.read(int(self.headers["Content-Length"]))
                self.answer(f"POST {self.path}")

            def answer(self, what):
                answer = odd.answers.get(what, (404, "text/plain", b"nothing"))
                if callable(answer):
                    answer = answer(self)
                if answer is None:
                    return
                status, content_type, body = answer
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                if 300 <= status < 400:
                    self.send_header("Location", f"http://127.0.0.1:{odd.port}/elsewhere")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        self.port = server.server_port
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server


def multipart(*objects: pydicom.Dataset, end: bytes = f"--{BOUNDARY}--\r\n".encode()) -> tuple[int, str, bytes]:
    parts = b"".join(f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode() + part10(ds) + b"\r\n" for ds in objects)
    return 200, f'multipart/related; type="application/dicom"; boundary={BOUNDARY}', parts + end


def listed(*series: str, count: int | None = None) -> tuple[int, str, bytes]:
    found = [{"0020000E": {"vr": "UI", "Value": [uid]}, **({"00201209": {"vr": "IS", "Value": [count]}} if count else {})}
             for uid in series]
    return 200, "application/dicom+json", json.dumps(found).encode()


@pytest.fixture(scope="module")
def odd_one(engram, tmp_path_factory):
    folder, odd = tmp_path_factory.mktemp("odd"), Odd()
    running = odd.start()
    config = folder / "config.toml"
    config.write_text(f'[[dicomweb.nodes]]\nname = "odd one"\nurl = "http://127.0.0.1:{odd.port}"\ntimeout_seconds = 2\n')
    near = Near(start_server(folder / "near", config=config))
    yield near, odd
    near.server.stop()
    odd.gone.set()
    running.shutdown()


@pytest.fixture
def odd(odd_one):
    """The server, and a node that has one series of three slices, lists it whatever the offset, and tells no counts."""
    near, odd = odd_one
    near.forget()
    odd.asked.clear()
    odd.answers = {f"/studies/{STUDY}/series": listed(FIRST), f"/studies/{STUDY}/series/{FIRST}": multipart(*slices()[:3])}
    return near, odd


def retrieved(near: Near, **objects) -> dict:
    return near.ended("odd%20one/retrieve", {"study": STUDY, **objects})


def test_a_node_may_know_no_offset_and_no_counts(odd):
    near, node = odd
    assert retrieved(near)["result"] == {"instances": 3}
    assert len(near.stored()) == 3 and len([path for path, _ in node.asked if path.endswith(FIRST)]) == 1


def test_a_node_may_not_know_that_any_transfer_syntax_will_do(odd):
    near, node = odd
    whole = node.answers[f"/studies/{STUDY}/series/{FIRST}"]
    node.answers[f"/studies/{STUDY}/series/{FIRST}"] = lambda handler: (
        (406, "text/plain", b"no") if "*" in handler.headers["Accept"] else whole)
    assert retrieved(near)["result"] == {"instances": 3} and len(near.stored()) == 3


def test_an_instance_may_come_alone(odd):
    near, node = odd
    ds = slices()[1]
    node.answers[f"/studies/{STUDY}/series/{FIRST}/instances/{ds.SOPInstanceUID}"] = (200, "application/dicom", part10(ds))
    assert retrieved(near, series=[FIRST], instances=[ds.SOPInstanceUID])["result"] == {"instances": 1}
    assert near.stored() == {ds.SOPInstanceUID}


def fails(job: dict, code: str, words: str) -> None:
    assert (job["state"], job["error"]["code"]) == ("failed", code), job
    assert words in job["error"]["message"] and job["error"]["what_to_do"], job


def test_what_breaks_off_fails_and_what_was_complete_is_stored(odd):
    near, node = odd
    first, second, third = slices()[:3]
    node.answers[f"/studies/{STUDY}/series/{FIRST}"] = multipart(first, second, third, end=b"")
    fails(retrieved(near), "node_failed", "cut short")
    assert near.stored() == {first.SOPInstanceUID, second.SOPInstanceUID}, "the third may not be whole"

    def hang_up(handler):
        _, content_type, body = multipart(first, second, third)
        handler.send_response(200)
        handler.send_header("Content-Type", content_type)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body[:len(body) // 2])

    near.forget()
    node.answers[f"/studies/{STUDY}/series/{FIRST}"] = hang_up
    fails(retrieved(near), "node_failed", "the node could not be spoken to")
    assert near.stored() == {first.SOPInstanceUID}


def test_fewer_instances_than_the_node_lists_are_told(odd):
    near, node = odd
    node.answers[f"/studies/{STUDY}/series"] = listed(FIRST, count=4)
    fails(retrieved(near), "some_not_retrieved", "the node sent 3 of 4")
    assert len(near.stored()) == 3


def test_what_comes_instead_does_not_count(odd):
    near, node = odd
    node.answers[f"/studies/{STUDY}/series"] = listed(FIRST, count=3)
    first, second = slices()[:2]
    for third, words in ((slices()[3], f"{SECOND}.4 (it was not asked for)"), (second, "the node sent 2 of 3")):
        near.forget()
        node.answers[f"/studies/{STUDY}/series/{FIRST}"] = multipart(first, second, third)
        fails(retrieved(near), "some_not_retrieved", words)


def test_without_a_count_nothing_and_a_part_are_told(odd):
    near, node = odd
    _, content_type, body = multipart(*slices()[:2])
    for status, sent, words in ((206, body, "sent a part of it"), (200, multipart()[2], "sent nothing")):
        node.answers[f"/studies/{STUDY}/series/{FIRST}"] = (status, content_type, sent)
        fails(retrieved(near), "some_not_retrieved", words)


def test_a_study_whose_series_are_not_all_listed_is_not_retrieved(odd):
    near, node = odd
    node.answers[f"/studies/{STUDY}/series"] = listed(*(f"{STUDY}.{number}" for number in range(100)))
    fails(retrieved(near), "node_failed", "does not list every series")


def test_nothing_is_followed_elsewhere(odd):
    """A POST that is followed becomes a GET, and its 200 would say that something was stored."""
    near, node = odd
    node.answers["/elsewhere"] = (200, "application/dicom+json", b"[]")
    DICOMwebClient(near.server.dicomweb).store_instances([make_ct(1, OTHER, f"{OTHER}.1")])
    node.answers["POST /studies"] = node.answers["/studies"] = (302, "text/html", b"please log in")
    told = near.query("odd%20one", "STUDY", {})
    assert (told.status_code, told.json()["code"]) == (502, "node_refused") and "302" in told.json()["message"]
    fails(near.ended("odd%20one/store", {"study": OTHER}), "node_failed", "302")
    for status, code in ((200, None), (204, "some_not_sent"), (202, "some_not_sent")):
        node.answers["POST /studies"] = (status, "text/html", b"")
        job = near.ended("odd%20one/store", {"study": OTHER})
        assert job["state"] == "succeeded" if code is None else job["error"]["code"] == code, job
    assert all(path != "/elsewhere" for path, _ in node.asked)
    near.forget(OTHER)


def refuses_the_second(held: threading.Event, asked: list[int]):
    """An answer to STOW-RS that refuses every request with the second slice and says no more. A request of a single instance
    waits until it is let through; how many instances each request holds is noted."""
    uid = make_ct(2, OTHER, f"{OTHER}.1").SOPInstanceUID.encode()

    def answer(handler):
        asked.append(handler.body.count(b"Content-Type: application/dicom"))
        if asked[-1] == 1:
            held.wait(SECONDS)
        return (400, "text/plain", b"no") if uid in handler.body else (200, "text/plain", b"")
    return answer


def test_an_instance_that_is_refused_keeps_no_other_back(odd):
    near, node = odd
    sent = [make_ct(number, OTHER, f"{OTHER}.1") for number in range(1, 6)]
    DICOMwebClient(near.server.dicomweb).store_instances(sent)
    held, asked = threading.Event(), []
    node.answers["POST /studies"] = refuses_the_second(held, asked)
    held.set()
    job = near.ended("odd%20one/store", {"study": OTHER})
    fails(job, "some_not_sent", f"{sent[1].SOPInstanceUID} (it answered 400")
    assert asked == [5, 1, 1, 1, 1, 1] and "…" not in job["error"]["message"]

    # Cancelled in the midst of them, it sends no more.
    held.clear()
    asked.clear()
    answer = near.post("odd%20one/store", {"study": OTHER})
    deadline = time.monotonic() + SECONDS
    while asked != [5, 1] and time.monotonic() < deadline:
        time.sleep(0.02)
    requests.delete(near.server.base + answer.headers["Location"], timeout=SECONDS)
    held.set()
    assert near.end_of(answer)["state"] == "cancelled"
    assert asked == [5, 1]
    near.forget(OTHER)


def test_what_was_not_asked_for_is_not_stored(odd):
    near, node = odd
    node.answers[f"/studies/{STUDY}/series/{FIRST}"] = multipart(slices()[0], slices()[-1])
    fails(retrieved(near), "some_not_retrieved", f"{OTHER}.1.6")
    assert len(near.stored()) == 1 and near.stored(OTHER) == set()


@pytest.mark.parametrize(("answer", "status", "code", "words"), [
    ((401, "text/plain", b"who are you?"), 502, "node_refused", "401: who are you?"),
    ((200, "text/html", b"<html>"), 502, "node_failed", "no DICOM JSON"),
    ((200, "application/dicom+json", b'{"not": "a list"}'), 502, "node_failed", "no DICOM JSON"),
])
def test_what_is_no_answer_to_a_search_is_told(odd, answer, status, code, words):
    near, node = odd
    node.answers["/studies"] = node.answers[f"/studies/{STUDY}/series"] = answer
    for told in (near.post("odd%20one/echo"), near.query("odd%20one", "STUDY", {})):
        assert (told.status_code, told.json()["code"]) == (status, code) and words in told.json()["message"]
    fails(retrieved(near), code, words)


def silent(node: Odd):
    def answer(_):
        node.gone.wait(SECONDS)

    return answer


def test_a_silent_node_is_given_up(odd):
    near, node = odd
    node.answers["/studies"] = node.answers[f"/studies/{STUDY}/series/{FIRST}"] = silent(node)
    told = near.query("odd%20one", "STUDY", {})
    assert (told.status_code, told.json()["code"]) == (504, "node_silent")
    fails(retrieved(near), "node_silent", "silent for 2 s")


def drip(handler):
    """A slice at a time, each a second after the one before: never silent for long, and never done."""
    status, content_type, _ = multipart()
    handler.send_response(status)
    handler.send_header("Content-Type", content_type)
    handler.end_headers()
    try:
        for number in range(1, 100):
            handler.wfile.write(multipart(make_ct(number, STUDY, FIRST), end=b"")[2])
            time.sleep(1)
    except OSError:
        pass


def begun(near: Near) -> requests.Response:
    answer = near.post("odd%20one/retrieve", {"study": STUDY})
    deadline = time.monotonic() + SECONDS
    while requests.get(near.server.base + answer.headers["Location"], timeout=SECONDS).json()["slices_done"] < 3:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return answer


def test_a_slow_node_is_waited_for_until_somebody_cancels(odd):
    near, node = odd
    node.answers[f"/studies/{STUDY}/series/{FIRST}"] = drip
    answer = begun(near)
    requests.delete(near.server.base + answer.headers["Location"], timeout=SECONDS)
    assert near.end_of(answer)["state"] == "cancelled"
    assert len(near.stored()) >= 3, "what was complete is stored"


def test_a_retrieval_goes_on_after_a_restart(odd):
    near, node = odd
    node.answers[f"/studies/{STUDY}/series/{FIRST}"] = drip
    answer = begun(near)
    near.server.stop()
    node.answers[f"/studies/{STUDY}/series/{FIRST}"] = multipart(*slices()[:3])
    near.server.start_again()
    assert near.end_of(answer)["result"] == {"instances": 3}


def test_doctor_asks_it(odd, engram, tmp_path):
    near, node = odd
    node.answers["/studies"] = listed()
    config = near.server.data.parent / "config.toml"
    (check,) = [one for one in doctor(engram, tmp_path / "data", config) if one["what"] == "DICOMweb node"]
    assert check["verdict"] == "good" and "odd one" in check["found"]


def test_a_url_holds_no_password(engram, tmp_path):
    """It would be told to whoever lists the nodes."""
    node = '[[dicomweb.nodes]]\nname = "PACS"\nurl = "http://me:secret@127.0.0.1:1/dicom-web"\n'
    told = Commands(engram, tmp_path / "data").refusal_to_serve(node)
    assert "holds a user or a password" in told and "secret" not in told


def test_two_nodes_have_two_names(engram, tmp_path):
    node = '[[dicomweb.nodes]]\nname = "PACS"\nurl = "http://127.0.0.1:1"\n'
    dimse = '[[dimse.nodes]]\nae_title = "PACS"\naddress = "127.0.0.1:1"\n'
    assert "two nodes" in Commands(engram, tmp_path / "data").refusal_to_serve(dimse + node)
