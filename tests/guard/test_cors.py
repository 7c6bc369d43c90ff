"""Web pages' scripts: what a browser is told."""

import json

import pytest
import requests

VIEWER = "https://viewer.example"
PREFLIGHT = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization, x-other"}


@pytest.fixture
def server(start_engram, commands, tmp_path):
    def start(*origins: str):
        commands.token("viewer", "read")
        config = tmp_path / "cors.toml"
        config.write_text(f"[server]\ncors_origins = {json.dumps(origins)}")
        return start_engram(config=config)

    return start


def test_a_preflight_of_a_known_page_needs_no_token(server):
    url = server(VIEWER, "http://localhost:3000").dicomweb + "/studies"
    for method in ("GET", "POST", "DELETE"):
        asked = {**PREFLIGHT, "Access-Control-Request-Method": method}
        answer = requests.options(url, headers={"Origin": VIEWER, **asked}, timeout=10)
        assert answer.status_code == 200
        assert answer.headers["Access-Control-Allow-Origin"] == VIEWER
        assert method in answer.headers["Access-Control-Allow-Methods"]
        assert "authorization" in answer.headers["Access-Control-Allow-Headers"].lower()
    # A page reads why it was refused, and what it needs of an answer's headers.
    answer = requests.get(url, headers={"Origin": VIEWER}, timeout=10)
    assert answer.status_code == 401 and answer.headers["Access-Control-Allow-Origin"] == VIEWER
    exposed = answer.headers["Access-Control-Expose-Headers"].lower()
    for name in ("etag", "warning", "content-location", "x-total-count"):
        assert name in exposed
    assert "Access-Control-Allow-Credentials" not in answer.headers


def test_another_page_is_not_let_in(server):
    url = server(VIEWER).dicomweb + "/studies"
    for other in ("https://evil.example", "http://viewer.example", f"{VIEWER}.evil.example", "null"):
        answer = requests.options(url, headers={"Origin": other, **PREFLIGHT}, timeout=10)
        assert "Access-Control-Allow-Origin" not in answer.headers
        answer = requests.get(url, headers={"Origin": other}, timeout=10)
        assert answer.status_code == 401 and "Access-Control-Allow-Origin" not in answer.headers


def test_any_page_where_the_configuration_says_so(server):
    url = server("*").dicomweb + "/studies"
    answer = requests.options(url, headers={"Origin": "https://any.example", **PREFLIGHT}, timeout=10)
    assert answer.status_code == 200 and answer.headers["Access-Control-Allow-Origin"] == "*"


def test_no_page_is_let_in_by_default(server):
    url = server().dicomweb + "/studies"
    answer = requests.options(url, headers={"Origin": VIEWER, **PREFLIGHT}, timeout=10)
    assert answer.status_code == 401 and "Access-Control-Allow-Origin" not in answer.headers


def test_what_can_be_no_origin_is_refused_at_start(commands):
    assert "cors_origins" in commands.refusal_to_serve('[server]\ncors_origins = ["viewer.example"]')
