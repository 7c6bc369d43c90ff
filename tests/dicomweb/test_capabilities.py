"""What the services' root tells: capabilities (PS3.18 8.9) and the conformance resource."""

from xml.etree import ElementTree

import pytest
import requests

WADL = "application/vnd.sun.wadl+xml"
NAMES = {"w": "http://wadl.dev.java.net/2009/02"}


def ask(server, method: str, path: str = "/", accept: str | None = None) -> requests.Response:
    headers = {"Accept": accept} if accept else {}
    return requests.request(method, server.dicomweb + path, headers=headers, timeout=10)


@pytest.mark.parametrize("path", ["", "/"])
@pytest.mark.parametrize("accept", [None, "*/*", WADL, "application/xml;q=0.5, " + WADL])
def test_the_capabilities_are_wadl(server, path, accept):
    answer = ask(server, "OPTIONS", path, accept)
    assert answer.status_code == 200 and answer.headers["Content-Type"] == WADL
    assert answer.headers["Allow"] == "GET, HEAD, OPTIONS"
    application = ElementTree.fromstring(answer.content)
    assert application.find("w:resources", NAMES).get("base") == f"{server.dicomweb}/"
    methods = {(resource.get("path"), method.get("name"))
               for resource in application.iterfind("w:resources/w:resource", NAMES)
               for method in resource.iterfind("w:method", NAMES)}
    assert {("studies", "GET"), ("studies", "POST"), ("studies/{study}", "DELETE"), ("", "OPTIONS"), ("wado", "GET"),
            ("studies/{study}/series/{series}/instances/{instance}/bulkdata/{path}", "GET")} <= methods


def test_the_capabilities_are_an_openapi_document(server):
    answer = ask(server, "OPTIONS", accept="application/json")
    assert answer.status_code == 200 and answer.headers["Content-Type"] == "application/json"
    document = answer.json()
    assert document["openapi"].startswith("3.1.") and document["servers"] == [{"url": server.dicomweb}]
    assert document["paths"]["/studies"]["post"]["operationId"] == "StoreInstances"


def test_what_is_neither_is_refused(server):
    answer = ask(server, "OPTIONS", accept="text/csv")
    assert answer.status_code == 406 and WADL in answer.json()["message"]


@pytest.mark.parametrize("path", ["", "/"])
def test_the_conformance_resource(engram, server, path):
    answer = ask(server, "GET", path)
    assert answer.status_code == 200 and answer.headers["Content-Type"] == "application/json"
    told = answer.json()
    assert told["name"] == "Engram" and told["version"]
    services = {service["name"]: service["operations"] for service in told["services"]}
    assert "GET /studies" in services["QIDO-RS"] and "POST /studies" in services["STOW-RS"]
    assert "GET /studies/{study}" in services["WADO-RS"] and "DELETE /studies/{study}" in services["DELETE"]
    assert told["links"]["capabilities"] == f"{server.dicomweb}/"
    assert ask(server, "HEAD", path).status_code == 200
    whole = requests.get(server.base + told["links"]["openapi"], timeout=10).json()
    assert "/dicomweb/studies" in whole["paths"]


@pytest.mark.parametrize("method, path, allow", [
    ("PUT", "/studies", "GET, HEAD, POST, OPTIONS"), ("POST", "/", "GET, HEAD, OPTIONS"),
    ("PATCH", "/studies/1.2", "GET, HEAD, POST, DELETE, OPTIONS"), ("DELETE", "/wado", "GET, HEAD, OPTIONS")])
def test_methods_that_a_resource_does_not_know(server, method, path, allow):
    answer = ask(server, method, path)
    assert answer.status_code == 405 and answer.headers["Allow"] == allow
    assert set(answer.json()) == {"code", "message", "what_to_do"}


def test_where_nothing_is(engram, server):
    for url in (f"{server.dicomweb}/patients", f"{server.base}/api/v1/nothing", f"{server.base}/nothing"):
        answer = requests.get(url, timeout=10)
        assert answer.status_code == 404 and answer.json()["code"] == "no_such_resource", url
