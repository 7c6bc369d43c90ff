"""Several bundles: chosen by request, switched while the server serves, and what `engram models` says of them.

The second bundle is the one that ships under another version: another bundle by its id, whose vectors and memories the
first one's bank must not answer with.
"""

import json
import shutil
import subprocess
import threading
import time
import tomllib
from pathlib import Path

import pytest
import requests

import patients
from engram_api import Api
from patients import LIVER, LIVER_KEY
from serving import ROOT

EXEMPLARS, PATIENTS, LATE = 500, 27, 800
TARGET = 900
SWITCH_SECONDS = 300
QUICK = {"exemplars_per_slice": 2, "propagation": False, "close_up": False}


def another_bundle(folder: Path, version: str) -> Path:
    """The bundle that ships, as another version, in a folder of its own."""
    shutil.copytree(ROOT / "models" / "compact", folder)
    manifest = folder / "bundle.toml"
    lines = manifest.read_text().splitlines()
    lines = [f'version = "{version}"' if line.startswith("version") else line for line in lines]
    manifest.write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def data(tmp_path) -> Path:
    """A data folder with a second bundle to choose, called `next`."""
    another_bundle(tmp_path / "data" / "models" / "next", "9.0.0")
    return tmp_path / "data"


@pytest.fixture
def api(engram, data, start_engram) -> Api:
    """A server over it, which has the images of a target."""
    api = Api(start_engram(data=data).base)
    api.store(*patients.images(TARGET))
    return api


def teach(api: Api, numbers) -> None:
    for number in numbers:
        api.store(*patients.images(number), patients.segmentation(number))


def models(api: Api) -> dict[str, dict]:
    """Versions of the compact bundle, the one in use first."""
    return {model["version"]: model for model in api.get("/models").json() if model["name"] == "compact"}


def in_use(api: Api) -> str:
    return next(iter(models(api)))


def use(api: Api, bundle: str) -> str:
    """Asks for a bundle; the job's id."""
    answer = requests.post(f"{api.base}/api/v1/models/use", json={"bundle": bundle}, timeout=30)
    assert answer.status_code == 202, answer.text
    assert answer.json()["kind"] == "reencode"
    return answer.json()["id"]


def ended(api: Api, job: str, look=lambda job: None) -> dict:
    """The job when it has ended; `look` sees it on the way."""
    deadline = time.monotonic() + SWITCH_SECONDS
    while time.monotonic() < deadline:
        state = api.get(f"/jobs/{job}").json()
        if state["state"] not in ("queued", "running"):
            return state
        look(state)
        time.sleep(0.1)
    pytest.fail(f"the switch did not come to an end: {state}")


def exemplars(api: Api) -> dict[str, int]:
    """Exemplars, a label on a slice each, of the bundle in use."""
    return {key: label["exemplars"] + label["negatives"] for key, label in api.labels().items()}


def segment(api: Api, **options) -> dict:
    answer = api.segment(TARGET, labels=[LIVER_KEY], store=False, options=QUICK | options)
    assert answer.status_code == 200, answer.text
    return answer.json()["result"]


class Requester(threading.Thread):
    """Asks for one segmentation after the other until it is told to stop."""

    def __init__(self, api: Api):
        super().__init__(daemon=True)
        self.api, self.answers, self.enough = api, [], threading.Event()

    def run(self):
        while not self.enough.is_set():
            answer = self.api.segment(TARGET, labels=[LIVER_KEY], store=False, options=QUICK)
            self.answers.append((answer.status_code, answer.json()))

    def stop(self) -> list[dict]:
        """The results, all of which must be there."""
        self.enough.set()
        self.join(SWITCH_SECONDS)
        assert not self.is_alive()
        refused = [answer for status, answer in self.answers if status != 200]
        assert not refused, refused[:3]
        return [answer["result"] for _, answer in self.answers]


def test_a_switch_with_many_exemplars_loses_none_and_serves_throughout(api, data):
    teach(api, range(PATIENTS))
    api.settled()
    before, old = exemplars(api), in_use(api)
    slices = models(api)[old]["exemplars"]
    assert sum(before.values()) >= EXEMPLARS

    requester = Requester(api)
    requester.start()
    seen = set()

    def look(job):
        view = models(api)
        seen.add(view["9.0.0"]["state"])
        if job["stage"] == "encode" == api.get(f"/jobs/{job['id']}").json()["stage"]:
            # It was encoding before the look and after it.
            assert view["9.0.0"]["job"] == job["id"] and job["slices_total"] >= PATIENTS
        if len(requester.answers) == 2 and LATE not in seen:
            # An annotation that arrives now is encoded for both.
            seen.add(LATE)
            teach(api, [LATE])

    job = ended(api, use(api, "next"), look)
    assert job["state"] == "succeeded", job
    results = requester.stop()
    api.settled()

    assert {"encoding", LATE} <= seen
    assert in_use(api) == "9.0.0" and models(api)[old]["state"] == "ready"
    ids = {version: model["id"] for version, model in models(api).items()}
    assert {result["bundle"] for result in results} >= {ids[old]}
    assert all(result["labels"][0]["voxels"] > 0 for result in results)
    assert segment(api)["bundle"] == ids["9.0.0"]
    assert sum(exemplars(api).values()) == sum(before.values()) * (PATIENTS + 1) // PATIENTS
    assert exemplars(api).keys() == before.keys()
    late = len(api.get("/exemplars", params={"study": patients.images(LATE)[0].StudyInstanceUID}).json()["exemplars"])
    assert models(api)["9.0.0"]["exemplars"] == models(api)[old]["exemplars"] == slices + late
    assert {one["bundle"] for one in api.get("/exemplars").json()["exemplars"]} == {ids["9.0.0"]}

    # The one before may go; its exemplars go with it.
    assert (data / "bank" / ids[old]).is_dir()
    assert requests.delete(f"{api.base}/api/v1/models/{ids[old]}", timeout=30).status_code == 204
    assert models(api)[old]["state"] == "available" and not (data / "bank" / ids[old]).exists()
    assert segment(api)["bundle"] == ids["9.0.0"]


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_switch_goes_on_after_a_restart(engram, data, start_engram, end):
    server = start_engram(data=data)
    api = Api(server.base)
    api.store(*patients.images(TARGET))
    teach(api, range(4))
    api.settled()
    before, old = exemplars(api), in_use(api)
    job = use(api, "next")
    deadline = time.monotonic() + 60
    while api.get(f"/jobs/{job}").json()["slices_done"] < 1 and time.monotonic() < deadline:
        time.sleep(0.02)
    getattr(server, end)()

    api = Api(start_engram(data=data).base)
    assert in_use(api) == old or api.get(f"/jobs/{job}").json()["state"] == "succeeded"
    assert segment(api)["labels"][0]["voxels"] > 0
    state = ended(api, job)
    assert state["state"] == "succeeded", state
    assert in_use(api) == "9.0.0" and exemplars(api) == before


def test_the_bundle_asked_for_steps_in_where_the_one_in_use_is_broken(engram, data, start_engram):
    another_bundle(data / "models" / "third", "9.1.0")
    server = start_engram(data=data)
    api = Api(server.base)
    teach(api, [1, 2])
    api.settled()
    before = exemplars(api)
    assert ended(api, use(api, "next"))["state"] == "succeeded"
    job = use(api, "third")
    server.kill()
    (data / "models" / "next" / "retrieval.onnx").write_bytes(b"other bytes")

    api = Api(start_engram(data=data).base)
    assert in_use(api) == "9.1.0"
    state = ended(api, job)
    assert state["state"] == "succeeded", state
    assert state["result"]["bundle"] == models(api)["9.1.0"]["id"]
    assert state["result"]["exemplars"] == models(api)["9.1.0"]["exemplars"] > 0
    assert exemplars(api) == before


def test_the_choice_and_the_one_before_survive_a_restart(engram, data, start_engram):
    server = start_engram(data=data)
    api = Api(server.base)
    teach(api, [1, 2])
    api.settled()
    old, before = in_use(api), exemplars(api)
    assert ended(api, use(api, "next"))["state"] == "succeeded"
    answer = requests.post(f"{api.base}/api/v1/models/use", json={"bundle": "compact@9.0.0"}, timeout=30)
    assert answer.status_code == 200, "it is in use already"
    server.stop()
    server = start_engram(data=data)
    api = Api(server.base)
    assert in_use(api) == "9.0.0" and models(api)[old]["state"] == "ready" and exemplars(api) == before
    api.store(*patients.images(TARGET))
    assert segment(api, bundle=models(api)[old]["id"])["bundle"].startswith(f"compact@{old}")

    server.stop()
    subprocess.run([engram, "rebuild", "--data", data], check=True, capture_output=True)
    server = start_engram(data=data)
    api = Api(server.base)
    assert in_use(api) == "9.0.0" and exemplars(api) == before
    identity, slices = models(api)[old]["id"], models(api)["9.0.0"]["exemplars"]
    assert models(api)[old]["exemplars"] == slices > 0

    # Dropped in the middle of a segmentation, the one before brings that to its end.
    options = {"bundle": identity, "exemplars_per_slice": 8, "close_up": False}
    job = api.segment(TARGET, wait=False, store=False, labels=[LIVER_KEY], options=options).json()["id"]
    while api.get(f"/jobs/{job}").json()["stage"] in (None, "load"):
        assert api.get(f"/jobs/{job}").json()["state"] in ("queued", "running")
    assert requests.delete(f"{api.base}/api/v1/models/{identity}", timeout=30).status_code == 204
    assert models(api)[old]["state"] == "available"
    result = ended(api, job)["result"]
    assert result["bundle"] == identity and all(label["voxels"] > 0 for label in result["labels"])
    server.stop()
    api = Api(start_engram(data=data).base)
    assert models(api)[old]["state"] == "available" and not (data / "bank" / identity).exists()
    assert in_use(api) == "9.0.0" and exemplars(api) == before


def test_a_request_or_a_rule_chooses_among_those_configured(engram, data, tmp_path, start_engram):
    config = tmp_path / "engram.toml"
    other = another_bundle(tmp_path / "beside", "5.0.0")
    config.write_text(f"""
        [models]
        bundles = ["{other}"]
        [[rules]]
        name = "CT has its own"
        when = {{ Modality = "CT" }}
        then = {{ bundle = "beside" }}
    """)
    api = Api(start_engram(data=data, config=config).base)
    api.store(*patients.images(TARGET))
    ct = patients.images(1, "CT")
    api.store(*ct, patients.segmentation(1, codes=(LIVER,), sources=ct))
    teach(api, [2])
    api.store(*patients.images(3, "CT"))
    api.settled()
    view = models(api)
    assert in_use(api) not in ("5.0.0", "9.0.0")
    assert [view[version]["state"] for version in (in_use(api), "5.0.0", "9.0.0")] == ["in use", "ready", "available"]
    assert view["5.0.0"]["exemplars"] == view[in_use(api)]["exemplars"] > 0
    assert segment(api)["bundle"] == view[in_use(api)]["id"]
    assert segment(api, bundle="compact@5.0.0")["bundle"] == view["5.0.0"]["id"]
    by_rule = api.segment(3, modality="CT", labels=[LIVER_KEY], store=False, options=QUICK)
    assert by_rule.json()["result"]["bundle"] == view["5.0.0"]["id"]

    refused = api.segment(TARGET, options={"bundle": "next"})
    assert refused.status_code == 404 and refused.json()["code"] == "no_such_bundle"
    assert view["5.0.0"]["id"] in refused.json()["message"], "it says what is served"
    refused = requests.delete(f"{api.base}/api/v1/models/beside", timeout=30)
    assert refused.status_code == 409 and refused.json()["code"] == "bundle_needed"
    metrics = requests.get(f"{api.base}/metrics", timeout=30).text
    assert all(f'engram_bundle_exemplar_slices{{bundle="{view[v]["id"]}"}}' in metrics for v in (in_use(api), "5.0.0"))


def test_a_bundle_that_does_not_run_leaves_the_old_one_in_use(api, data):
    teach(api, [1])
    api.settled()
    old = in_use(api)
    # Whole by its hashes, and no graph ONNX Runtime would take.
    folder = data / "models" / "next"
    graph = folder / "mask_decoder.onnx"
    graph.write_bytes(b"not a graph")
    refused = requests.post(f"{api.base}/api/v1/models/use", json={"bundle": "next"}, timeout=30)
    assert refused.status_code == 422 and refused.json()["code"] == "broken_bundle"
    digest = subprocess.run(["sha256sum", graph], check=True, capture_output=True, text=True).stdout.split()[0]
    manifest = folder / "bundle.toml"
    head, tail = manifest.read_text().split("[graphs.mask_decoder]")
    tail = "\n".join(f'sha256 = "{digest}"' if line.startswith("sha256") else line for line in tail.splitlines())
    manifest.write_text(f"{head}[graphs.mask_decoder]{tail}\n")
    job = ended(api, use(api, "next"))
    assert job["state"] == "failed" and job["error"]["code"] == "broken_bundle", job
    assert "mask_decoder" in job["error"]["message"]
    assert in_use(api) == old and models(api)["9.0.0"]["state"] == "available"
    assert segment(api)["labels"]


def test_a_switch_can_be_cancelled_and_only_one_is_under_way(api):
    teach(api, range(4))
    api.settled()
    old = in_use(api)
    job = use(api, "next")
    again = requests.post(f"{api.base}/api/v1/models/use", json={"bundle": "next"}, timeout=30)
    assert again.status_code == 409 and again.json()["code"] == "switch_under_way"
    assert requests.delete(f"{api.base}/api/v1/jobs/{job}", timeout=30).status_code == 202
    assert ended(api, job)["state"] == "cancelled"
    assert in_use(api) == old and models(api)["9.0.0"]["state"] == "available"
    assert ended(api, use(api, "next"))["state"] == "succeeded", "what was encoded by then serves the next attempt"


def command(engram, *arguments) -> subprocess.CompletedProcess:
    return subprocess.run([engram, "models", *map(str, arguments)], capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("folder", sorted((ROOT / "models").glob("compact*")), ids=lambda folder: folder.name)
def test_what_ships_verifies_and_says_what_it_was_made_of(engram, folder):
    verified = json.loads(command(engram, "verify", folder, "--json").stdout)
    assert verified["good"] and {"hashes", "signatures", "round trip"} <= {one["what"] for one in verified["checks"]}
    manifest = tomllib.loads((folder / "bundle.toml").read_text())
    assert manifest["name"] == folder.name and "models/train" in manifest["source"] and manifest["confidence"]


def test_the_commands(engram, data, start_engram):
    listed = {one["folder"]: one for one in json.loads(command(engram, "list", "--data", data, "--json").stdout)}
    assert listed[str(data / "models" / "next")]["state"] == "available"
    assert [one["state"] for one in listed.values()].count("in use") == 1
    assert all(one["bytes"] > 1_000_000 and one["licence"] for one in listed.values())

    verified = json.loads(command(engram, "verify", data / "models" / "next", "--json").stdout)
    assert verified["good"] and {"hashes", "signatures", "image_encoder", "round trip"} <= {
        check["what"] for check in verified["checks"]}
    broken = another_bundle(data / "models" / "broken", "1.0.0")
    (broken / "retrieval.onnx").write_bytes(b"other bytes")
    answer = command(engram, "verify", "broken", "--data", data)
    assert answer.returncode != 0 and "BAD" in answer.stdout and "retrieval.onnx" in answer.stdout

    measured = json.loads(command(engram, "bench", "compact", "--seconds", 0.5, "--memories", 2, "--json").stdout)
    assert measured["slices_per_second"] > 0 and measured["peak_memory_bytes"] > 10_000_000
    assert all(graph["ms"] > 0 and graph["ms_per_row_batched"] > 0 for graph in measured["graphs"])

    # Chosen while the server is down, it comes into use when the server is up.
    assert command(engram, "use", "next", "--data", data).returncode == 0
    server = start_engram(data=data)
    api = Api(server.base)
    teach(api, [1])
    deadline = time.monotonic() + 60
    while in_use(api) != "9.0.0" and time.monotonic() < deadline:
        time.sleep(0.1)
    assert in_use(api) == "9.0.0"
    refused = command(engram, "use", "compact@9.0.0", "--data", data)
    assert refused.returncode != 0 and "--server" in refused.stderr
    answer = command(engram, "use", "no-such", "--server", server.base)
    assert answer.returncode != 0 and "could not find bundle no-such" in answer.stderr
    answer = command(engram, "use", next(one for one in listed.values() if one["state"] == "in use")["id"],
                     "--server", server.base, "--json")
    assert answer.returncode == 0 and json.loads(answer.stdout)["before"].startswith("compact@9.0.0"), answer.stderr
    assert "in use" in command(engram, "list", "--server", server.base).stdout
