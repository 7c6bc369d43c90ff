"""Rules by API and by configuration: what is taken, what is refused, and what would be done."""

import subprocess

import pytest

import patients
from serving import start_server
from ward import Engram, Pacs, node, wait_for

NIGHT = {
    "name": "night", "quiet_seconds": 1, "priority": 3,
    "when": {"Modality": ["MR"], "slices": {"min": 4}, "not": {"SeriesDescription": {"regex": "(?i)scout"}}},
    "then": {"segment": {"labels": [patients.LIVER_KEY], "quality": "fast"}},
}

CONFIGURED = """
[[rules]]
name = "fixed"
when = { Modality = "CT", slices = { min = 8 } }
then = { collection = "ct" }
"""


def refusal(answer) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def test_a_rule_is_made_changed_kept_and_removed(house):
    house = house(CONFIGURED, taught=0)
    assert house.put(NIGHT).status_code == 204
    assert house.put({**NIGHT, "priority": 5}).status_code == 204
    house.server.stop()
    house.server.start_again()
    rules = house.api.get("/rules").json()
    assert [(rule["name"], rule["origin"], rule["priority"]) for rule in rules] == [
        ("fixed", "configuration", 0), ("night", "api", 5)]
    assert house.api.get("/rules/night").json() == {**NIGHT, "priority": 5, "origin": "api", "enabled": True}
    assert house.call("DELETE", "/rules/night").status_code == 204
    assert refusal(house.call("DELETE", "/rules/night")) == (404, "no_such_rule")
    assert refusal(house.api.get("/rules/night")) == (404, "no_such_rule")
    assert refusal(house.call("DELETE", "/rules/fixed")) == (409, "rule_of_configuration")
    assert refusal(house.put({"name": "fixed"})) == (409, "rule_of_configuration")


@pytest.mark.parametrize("change, status, words", [
    ({"when": {"Modalty": "MR"}}, 422, "Modalty"),
    ({"when": {"PixelData": "x"}}, 422, "PixelData"),
    ({"when": {"Rows": {"min": 9, "max": 8}}}, 422, "min"),
    ({"when": {"Rows": {"regex": "("}}}, 400, "a pattern"),
    ({"when": {"Rows": 7}}, 400, "a pattern"),
    ({"then": {"segment": {"qualty": "fast"}}}, 422, "qualty"),
    ({"then": {"segment": {"quality": "superb"}}}, 422, "superb"),
    ({"then": {"forward": ["NOWHERE"]}}, 422, "NOWHERE"),
    ({"send": [{"to": "NOWHERE"}]}, 422, "NOWHERE"),
    ({"then": {}, "send": [{"to": "PACS"}]}, 422, "segments nothing"),
    ({"send": [{"to": "PACS", "what": ["film"]}]}, 400, "film"),
    ({"whne": {}}, 400, "whne"),
])
def test_what_cannot_work_is_refused_in_words(house_with_pacs, change, status, words):
    answer = house_with_pacs.put({**NIGHT, **change})
    assert answer.status_code == status, answer.text
    assert words in answer.json()["message"]
    assert house_with_pacs.api.get("/rules").json() == []


@pytest.fixture(scope="module")
def house_with_pacs(engram, tmp_path_factory):
    folder = tmp_path_factory.mktemp("refusing")
    config = folder / "config.toml"
    config.write_text(node(Pacs(1)))
    server = start_server(folder / "data", config=config)
    yield Engram(server, 0, config)
    server.stop()


def test_a_rule_whose_path_has_another_name_is_refused(house_with_pacs):
    assert refusal(house_with_pacs.call("PUT", "/rules/day", json=NIGHT)) == (400, "bad_request")


def test_a_configuration_whose_rule_names_no_node_does_not_start(engram, tmp_path):
    config = tmp_path / "config.toml"
    config.write_text('[[rules]]\nname = "x"\nthen = { forward = ["NOWHERE"] }\n')
    ended = subprocess.run([engram, "serve", "--config", config, "--data", tmp_path / "data", "--bind", "127.0.0.1:0"],
                           capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert "NOWHERE" in ended.stderr


def test_a_dry_run_tells_what_would_be_done_and_does_nothing(house):
    house = house()
    house.send(*patients.images(4))
    series = patients.images(4)[0].SeriesInstanceUID

    def run(*rules, **more):
        answer = house.call("POST", "/rules/dry-run", json={"rules": list(rules), **more})
        assert answer.status_code == 200, answer.text
        return answer.json()

    told = run(NIGHT)
    assert (told["studies"], told["series"], told["truncated"]) == (4, 7, False)
    by_series = {item["series"]: item for item in told["foreseen"]}
    assert len(by_series) == 4
    assert by_series[series] == {
        "study": patients.uid(4, "study"), "series": series, "modality": "MR", "description": "", "slices": 10,
        "rules": ["night"], "assumed": False, "would": "segment", "labels": [patients.LIVER_KEY], "send": []}
    unknown = {**NIGHT, "then": {"segment": {"labels": ["SCT:1"]}}}
    assert {item["would"] for item in run(unknown)["foreseen"]} == {"refuse"}
    assert {item["error"]["code"] for item in run(unknown)["foreseen"]} == {"unknown_label"}
    assert run({**NIGHT, "when": {"slices": {"min": 11}}})["foreseen"] == []
    by_ae = run({**NIGHT, "when": {"calling_ae_title": "MR_7"}})["foreseen"]
    assert [item["assumed"] for item in by_ae] == [True] * 4
    assert run(NIGHT, days=0)["studies"] == 0
    assert run(NIGHT, limit=2)["truncated"]
    assert house.jobs("routed") == [] and house.jobs("routing") == []
    # What a rule did is seen as done.
    assert house.put(NIGHT).status_code == 204
    house.send(*patients.images(4))
    house.routed()
    done = {item["series"]: item["would"] for item in run(NIGHT)["foreseen"]}
    assert done[series] == "be_done_already"
    assert wait_for(lambda: list(done.values()).count("segment") == 3, "the others")
