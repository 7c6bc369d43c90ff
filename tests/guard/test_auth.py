"""Who may come in, and do what: every route is closed without a token, and open to the roles that it names."""

import base64
import re
import select
import socket
import time

import pytest
import requests
from dicomweb_client.api import DICOMwebClient

from small_ct import make_ct, part10

STUDY = "/dicomweb/studies/1.2"
WORKITEM = "/dicomweb/workitems/1.5"
SERIES = f"{STUDY}/series/1.3"
INSTANCE = f"{SERIES}/instances/1.4"
JOB = "/api/v1/jobs/00000000-0000-0000-0000-000000000000"

# Everything that is mounted, with the roles that may (beside admin).
ROUTES = [
    *[(method, f"/dicomweb/{level}", "read") for method in ("GET", "HEAD", "OPTIONS")
      for level in ("studies", "series", "instances")],
    *[(method, f"/dicomweb{slash}", "read") for method in ("GET", "OPTIONS") for slash in ("", "/")],
    *[("GET", f"{above}/count", "read") for above in (
        "/dicomweb/studies", "/dicomweb/series", "/dicomweb/instances", f"{STUDY}/series", f"{STUDY}/instances",
        f"{SERIES}/instances")],
    *[("GET", path, "read") for path in (
        STUDY, f"{STUDY}/series", f"{STUDY}/instances", SERIES, f"{SERIES}/instances", INSTANCE, f"{INSTANCE}/frames/1",
        f"{INSTANCE}/frames/1/rendered", f"{INSTANCE}/frames/1/thumbnail", f"{INSTANCE}/bulkdata/7FE00010",
        "/dicomweb/wado", "/wado")],
    *[("GET", f"{level}/{part}", "read") for level in (STUDY, SERIES, INSTANCE)
      for part in ("metadata", "bulkdata", "pixeldata", "rendered", "thumbnail")],
    ("POST", "/dicomweb/studies", "write"),
    ("POST", STUDY, "write"),
    ("DELETE", STUDY, "write"),
    ("DELETE", SERIES, "write"),
    ("DELETE", INSTANCE, "write"),
    ("GET", "/dicomweb/workitems", "read"),
    ("POST", "/dicomweb/workitems", "segment"),
    ("GET", WORKITEM, "read"),
    ("POST", WORKITEM, "segment"),
    ("PUT", f"{WORKITEM}/state", "segment"),
    ("POST", f"{WORKITEM}/cancelrequest", "segment"),
    ("POST", f"{WORKITEM}/subscribers/WATCHER", "read"),
    ("DELETE", f"{WORKITEM}/subscribers/WATCHER", "read"),
    ("POST", f"{WORKITEM}/subscribers/WATCHER/suspend", "read"),
    ("GET", "/dicomweb/subscribers/WATCHER", "read"),
    ("GET", "/", "read"),
    ("HEAD", "/", "read"),
    ("GET", "/page/main.js", "read"),
    ("GET", "/viewer/", "read"),
    ("GET", "/viewer/app-config.js", "read"),
    ("GET", "/metrics", "read"),
    ("GET", "/api/v1/openapi.json", "read write segment"),
    ("OPTIONS", "/api/v1/labels", "read segment"),
    ("GET", "/api/v1/labels", "read segment"),
    ("GET", "/api/v1/exemplars", "read"),
    ("GET", "/api/v1/exemplars/suggestions", "read"),
    ("POST", "/api/v1/exemplars", "write"),
    ("DELETE", "/api/v1/exemplars", "write"),
    ("GET", "/api/v1/models", "read segment"),
    ("POST", "/api/v1/models/use", ""),
    ("DELETE", "/api/v1/models/none", ""),
    ("GET", "/api/v1/rules", "read"),
    ("GET", "/api/v1/rules/night", "read"),
    ("PUT", "/api/v1/rules/night", ""),
    ("DELETE", "/api/v1/rules/night", ""),
    ("POST", "/api/v1/rules/dry-run", "read"),
    ("GET", "/api/v1/deliveries", "read"),
    ("GET", "/api/v1/deliveries/00000000-0000-0000-0000-000000000000", "read"),
    ("DELETE", "/api/v1/deliveries/00000000-0000-0000-0000-000000000000", ""),
    ("POST", "/api/v1/deliveries/00000000-0000-0000-0000-000000000000/resend", ""),
    ("GET", "/api/v1/events", "read"),
    ("GET", "/api/v1/segmentations", "read segment"),
    ("GET", "/api/v1/segmentations/1.4", "read segment"),
    *[("GET", f"/api/v1/segmentations/1.4/{form}", "read") for form in ("binary", "report", "secondary-capture")],
    ("POST", "/api/v1/segmentations", "segment"),
    ("GET", "/api/v1/nodes", "read write"),
    ("POST", "/api/v1/nodes/none/echo", "read write"),
    ("POST", "/api/v1/nodes/none/query", "read"),
    ("POST", "/api/v1/nodes/none/retrieve", "write"),
    ("POST", "/api/v1/nodes/none/store", "write"),
    ("GET", "/api/v1/jobs", "read write segment"),
    ("GET", JOB, "read write segment"),
    ("DELETE", JOB, "write segment"),
    ("GET", f"{JOB}/events", "read write segment"),
    ("GET", f"{JOB}/result", "read segment"),
    ("GET", f"{JOB}/provenance", "read"),
    ("GET", "/api/v1/tokens", ""),
    ("POST", "/api/v1/tokens", ""),
    ("DELETE", "/api/v1/tokens/none", ""),
]
NOWHERE = [("GET", "/page/", ""), ("GET", "/no/such/route", "")]


@pytest.mark.parametrize("method, path, roles", ROUTES + NOWHERE)
def test_a_route_is_open_to_its_roles_alone(guarded, method, path, roles):
    nobody = guarded.request(method, path)
    assert nobody.status_code == 401
    assert "Bearer" in nobody.headers["WWW-Authenticate"] and "Basic" in nobody.headers["WWW-Authenticate"]
    if method != "HEAD":
        assert set(nobody.json()) == {"code", "message", "what_to_do"} and nobody.json()["code"] == "unauthorised"
    for role in ("read", "write", "segment", "admin"):
        answer = guarded.request(method, path, role)
        may = role == "admin" or role in roles.split()
        assert (answer.status_code not in (401, 403)) == may, f"{role}: {answer.status_code}"
        if may and answer.status_code in (404, 405):
            is_mounted = answer.json()["code"] not in ("no_such_resource", "method_not_allowed")
            assert is_mounted == ((method, path, roles) in ROUTES)
        if not may and method != "HEAD":
            assert answer.status_code == 403 and answer.json()["code"] == "forbidden"


def test_the_openapi_document_names_the_same_routes_and_roles(guarded):
    paths = guarded.request("GET", "/api/v1/openapi.json", "read").json()["paths"]
    said = {(method.upper(), path): {role for choice in operation["security"] for role in choice.get("bearer", [])}
            for path, item in paths.items() for method, operation in item.items() if method != "parameters"}
    assert said.pop(("GET", "/api/v1/health")) == set(), "open"

    def template(path: str) -> str:
        """What the document calls it: itself, or with names where there are UIDs."""
        patterns = {one: re.sub(r"\{\w+\}", "[^/]+", one) for one in paths}
        return path if path in paths else next(one for one in paths if re.fullmatch(patterns[one], path))

    # Pages are for people, no interfaces that the document describes.
    mounted = {(method, template("/dicomweb/" if path == "/dicomweb" else path)): set((roles or "admin").split())
               for method, path, roles in ROUTES if path != "/" and not path.startswith(("/page/", "/viewer/"))}
    # HEAD and OPTIONS are answered everywhere, and described where they have an answer of their own.
    assert {route: roles for route, roles in mounted.items() if route[0] != "HEAD" and
            (route[0] != "OPTIONS" or route in said)} == said


@pytest.mark.parametrize("path", ["/api/v1/%74okens", "/api/v1//tokens", "/api/v1/labels/../tokens",
                                  "/%61pi/v1/tokens", "/api/v1/tokens/", "/api/v1/models/%75se"])
def test_no_other_spelling_of_a_path_gets_round_its_role(guarded, path):
    request = requests.Request("GET", guarded.server.base, headers={"Authorization": f"Bearer {guarded.tokens['read']}"})
    prepared = request.prepare()
    prepared.url = guarded.server.base + path
    with requests.Session() as session:
        assert session.send(prepared, timeout=10).status_code == 403


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_tokens_come_as_bearer_or_as_the_password_of_basic(guarded):
    token = guarded.tokens["read"]
    for authorization, status in [
        (f"Bearer {token}", 200), (f"bearer {token}", 200), (basic("anyone", token), 200), (basic("", token), 200),
        (f"Bearer {token[:-1]}", 401), (f"Bearer {token}0", 401), ("Bearer", 401), (basic(token, ""), 401),
        ("Basic !", 401), (f"Digest {token}", 401), (token, 401), ("Bearer the-read", 401),
    ]:
        answer = guarded.request("GET", "/dicomweb/studies", headers={"Authorization": authorization})
        assert answer.status_code == status, authorization
    assert guarded.request("GET", f"/dicomweb/studies?token={token}").status_code == 401


@pytest.mark.parametrize("kind", ["basic", "bearer"])
def test_the_public_client_works_with_a_token(guarded, kind):
    def client(role: str) -> DICOMwebClient:
        session = requests.Session()
        if kind == "basic":
            session.auth = ("engram", guarded.tokens[role])
        else:
            session.headers["Authorization"] = f"Bearer {guarded.tokens[role]}"
        return DICOMwebClient(url=guarded.server.dicomweb, session=session)

    study = f"2.25.77{len(kind)}"
    new = make_ct(1, study=study, series=f"{study}.1")
    client("write").store_instances([new])
    assert client("read").retrieve_instance(study, f"{study}.1", new.SOPInstanceUID) == new
    with pytest.raises(requests.HTTPError, match="403"):
        client("read").delete_study(study)
    client("write").delete_study(study)


def test_health_tells_strangers_that_it_lives_and_no_more(guarded):
    assert guarded.request("GET", "/api/v1/health").json() == {"status": "ok"}
    assert guarded.request("GET", "/api/v1/health", "segment").json()["bundle"]
    assert guarded.request("GET", "/api/v1/health", headers={"Authorization": "Bearer no"}).status_code == 401


def test_a_token_made_over_the_api_opens_until_it_is_revoked(guarded):
    body = {"name": "visitor", "roles": ["read", "segment"], "expires_in_days": 1}
    made = guarded.request("POST", "/api/v1/tokens", "admin", json=body)
    assert made.status_code == 201 and made.headers["Cache-Control"] == "no-store"
    made = made.json()
    assert made["roles"] == ["read", "segment"] and made["expires_at"] - made["created_at"] == 24 * 60 * 60
    assert guarded.request("POST", "/api/v1/tokens", "admin", json=body).json()["code"] == "name_taken"
    listed = guarded.request("GET", "/api/v1/tokens", "admin").json()
    assert [one["name"] for one in listed] == ["the-admin", "the-read", "the-segment", "the-write", "visitor"]
    text = made["token"]
    assert text not in str(listed)
    visitor = {"Authorization": f"Bearer {text}"}
    assert guarded.request("GET", "/dicomweb/studies", headers=visitor).status_code == 200
    assert guarded.request("DELETE", "/api/v1/tokens/visitor", "admin").status_code == 204
    assert guarded.request("DELETE", "/api/v1/tokens/visitor", "admin").status_code == 404
    assert guarded.request("GET", "/dicomweb/studies", headers=visitor).status_code == 401
    secret = text.removeprefix("engram_").encode()
    kept = [path for path in guarded.server.data.rglob("*") if path.is_file() and secret in path.read_bytes()]
    assert kept == [] and secret not in guarded.server.log.read_bytes()


@pytest.mark.parametrize("body", [
    {"name": "a b", "roles": ["read"]}, {"name": "a", "roles": []}, {"name": "a", "roles": ["root"]},
    {"name": "a", "roles": ["read"], "expires_in_days": 0}, {"name": "a"}, {"name": "a", "roles": ["read"], "x": 1}])
def test_what_makes_no_token_is_refused(guarded, body):
    answer = guarded.request("POST", "/api/v1/tokens", "admin", json=body)
    assert answer.status_code == 400 and set(answer.json()) == {"code", "message", "what_to_do"}


def test_on_loopback_the_first_token_closes_the_door_at_once(start_engram):
    server = start_engram()
    url = f"{server.base}/api/v1/tokens"
    assert requests.get(f"{server.dicomweb}/studies", timeout=10).status_code == 200
    made = requests.post(url, json={"name": "me", "roles": ["admin"]}, timeout=10).json()
    assert requests.get(f"{server.dicomweb}/studies", timeout=10).status_code == 401
    mine = {"Authorization": f"Bearer {made['token']}"}
    assert requests.delete(f"{url}/me", headers=mine, timeout=10).status_code == 204
    assert requests.get(f"{server.dicomweb}/studies", timeout=10).status_code == 401, "it does not open again"


def test_tokens_outlive_a_power_cut_and_a_rebuild_and_revoked_ones_do_not(start_engram, commands):
    good, bad = commands.token("good", "read"), commands.token("bad", "read", "admin")
    assert commands.tokens("revoke", "bad").returncode == 0
    start_engram().kill()
    assert commands("rebuild", "--data", str(commands.data)).returncode == 0
    server = start_engram()
    for token, status in [(good, 200), (bad, 401)]:
        answer = requests.get(f"{server.dicomweb}/studies", headers={"Authorization": f"Bearer {token}"}, timeout=10)
        assert answer.status_code == status


def test_the_command_line_works_on_a_store_and_on_a_server(start_engram, commands):
    admin = commands.token("boss", "admin")
    again = commands.tokens("add", "boss", "--role", "read")
    assert again.returncode == 1 and "boss" in again.stderr
    server = start_engram()
    running = commands.tokens("list")
    assert running.returncode == 1 and "--server" in running.stderr
    on_server = ["--server", server.base, "--token", admin]
    made = commands("tokens", "add", "viewer", "--role", "read", "--expires", "30", *on_server)
    assert made.returncode == 0, made.stderr
    viewer = {"Authorization": f"Bearer {made.stdout.strip()}"}
    assert requests.get(f"{server.dicomweb}/studies", headers=viewer, timeout=10).status_code == 200
    listed = commands("tokens", "list", "--server", server.base, env={"ENGRAM_TOKEN": admin})
    assert "viewer" in listed.stdout and "read" in listed.stdout and "expires on" in listed.stdout
    assert commands("tokens", "revoke", "viewer", *on_server).returncode == 0
    assert requests.get(f"{server.dicomweb}/studies", headers=viewer, timeout=10).status_code == 401
    assert commands("models", "list", *on_server).returncode == 0
    stranger = commands("models", "list", "--server", server.base)
    assert stranger.returncode == 1 and "token" in stranger.stderr


def test_the_server_does_not_open_itself_to_other_machines(commands, outside):
    assert "engram tokens add" in commands.refusal_to_serve("", "--bind", outside)
    commands.token("boss", "admin")
    assert "required = false" in commands.refusal_to_serve("[auth]\nrequired = false", "--bind", outside)
    dimse = commands.refusal_to_serve(f'[dimse]\nbind = "{outside}"')
    assert "calling_ae_titles" in dimse


def test_deletion_can_be_switched_off(start_engram, tmp_path):
    config = tmp_path / "c.toml"
    config.write_text("[dicomweb]\nallow_delete = false")
    server = start_engram(config=config)
    answer = requests.delete(f"{server.dicomweb}/studies/1.2", timeout=10)
    assert answer.status_code == 403 and answer.json()["code"] == "delete_forbidden"


class TestLimits:
    """What one client may take, so that others are served."""

    @pytest.fixture
    def server(self, start_engram, tmp_path):
        config = tmp_path / "c.toml"
        config.write_text("[limits]\nmax_requests = 1\nrequest_head_seconds = 1\nrequest_body_seconds = 2")
        return start_engram(config=config)

    @staticmethod
    def connection(server) -> socket.socket:
        host, port = server.base.removeprefix("http://").split(":")
        return socket.create_connection((host, int(port)), timeout=30)

    def one_that_takes_the_place(self, server) -> tuple[socket.socket, requests.Response]:
        """A connection whose request stands still, and what another request was answered meanwhile."""
        head = b"POST /dicomweb/studies HTTP/1.1\r\nHost: x\r\nContent-Type: application/dicom\r\nContent-Length: 9\r\n\r\n"
        for _ in range(20):
            slow = self.connection(server)
            slow.sendall(head + b"some")
            while (answer := requests.get(f"{server.dicomweb}/studies", timeout=10)).status_code == 200:
                if select.select([slow], [], [], 0)[0]:
                    break
            else:
                return slow, answer
            # It came while the look at it took the place, or has stood still for too long already.
            slow.close()
        pytest.fail("no request took the place")

    def test_more_requests_than_there_are_places_for(self, server):
        slow, answer = self.one_that_takes_the_place(server)
        with slow:
            assert answer.status_code == 503 and int(answer.headers["Retry-After"]) > 0
            assert answer.json()["code"] == "too_many_requests"
            assert requests.get(f"{server.base}/api/v1/health", timeout=10).status_code == 200
            assert slow.recv(1000).startswith(b"HTTP/1.1 408"), "a body that stands still"
        assert requests.get(f"{server.dicomweb}/studies", timeout=10).status_code == 200

    @pytest.mark.parametrize("sent", [
        b"GET /dicomweb/studies HTTP/1.1\r\nHost:",
        b"POST /api/v1/segmentations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"],
        ids=["head", "body"])
    def test_requests_that_do_not_arrive(self, server, sent):
        with self.connection(server) as slow:
            slow.sendall(sent)
            began = time.monotonic()
            assert b" 408 " in slow.recv(1000)
            assert time.monotonic() - began < 10


def test_nothing_is_stored_where_the_disk_is_nearly_full(start_engram, tmp_path):
    config = tmp_path / "c.toml"
    config.write_text("[limits]\nmin_free_disk_mb = 1000000000")
    server = start_engram(config=config)
    answer = requests.post(f"{server.dicomweb}/studies", data=part10(make_ct(1)), timeout=10,
                           headers={"Content-Type": "application/dicom"})
    assert answer.status_code == 503
    (failure,) = answer.json().get("00081198", answer.json().get("0008119A"))["Value"]
    assert failure["00081197"]["Value"] == [0xA700]
    assert requests.get(f"{server.dicomweb}/studies", timeout=10).json() == []
