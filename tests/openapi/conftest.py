"""The server whose document is looked at."""

import pytest
import requests

from openapi_server import Described
from serving import start_server


@pytest.fixture(scope="module")
def described(engram, tmp_path_factory) -> Described:
    server = start_server(tmp_path_factory.mktemp("described") / "data")
    made = requests.post(f"{server.base}/api/v1/tokens", json={"name": "boss", "roles": ["admin"]}, timeout=10)
    admin = {"Authorization": f"Bearer {made.json()['token']}"}
    document = requests.get(f"{server.base}/api/v1/openapi.json", headers=admin, timeout=10).json()
    described = Described(server, admin, document)
    described.store()
    yield described
    status = server.stop()
    if status not in (0, -15):
        pytest.fail(f"the server ended with status {status}:\n{server.log.read_text(errors='replace')[-4000:]}")
