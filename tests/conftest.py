"""Fixtures for all tests from outside: a running server with a fresh store.

- `engram`: path of the executable.
- `server`: a running server, shared by the tests of a module. `engram_server`: base URL of one for this test alone.
- `start_engram`: starts servers over folders, with options.
- `guarded`: a running server with a token for each role, shared by the tests of a module.
- `browser`: headless Chromium.
- `shared`: the folder of real data.
"""

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from guarding import ROLES, Commands, Guarded
from programs import chromium
from serving import Server, find_server, shared_folder, skip_or_fail, start_server


def pytest_report_header():
    return f"engram: {find_server() or 'not built'}"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data; the test is skipped where it is absent."""
    folder = shared_folder()
    if not folder.is_dir():
        skip_or_fail("../shared is absent")
    return folder


@pytest.fixture(scope="session")
def browser() -> Browser:
    """One headless Chromium for all tests of a process, in which Playwright runs once."""
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def engram() -> Path:
    """The real `engram` executable."""
    binary = find_server()
    if binary is None or binary.name != "engram":
        skip_or_fail("engram is not built, or cannot serve yet: cargo build -p engram")
    return binary


@pytest.fixture
def start_engram(tmp_path):
    """A function that starts a server over a folder (`tmp_path/"data"` by default); all are ended with the test."""
    servers = []

    def start(*extra: str, data: Path | None = None, config: Path | None = None, **options) -> Server:
        servers.append(start_server(data or tmp_path / "data", *extra, config=config, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server with a fresh store, shared by the tests of a module."""
    running = start_server(tmp_path_factory.mktemp("engram") / "data")
    yield running
    status = running.stop()
    if status not in (0, -15):
        pytest.fail(f"the server ended with status {status}:\n{running.log.read_text(errors='replace')[-4000:]}")


@pytest.fixture
def engram_server(start_engram) -> str:
    """Base URL of a server with a fresh store, for this test alone."""
    return start_engram().base


@pytest.fixture(scope="module")
def guarded(engram, tmp_path_factory) -> Guarded:
    data = tmp_path_factory.mktemp("guarded") / "data"
    data.mkdir()
    commands = Commands(engram, data)
    tokens = {role: commands.token(f"the-{role}", role) for role in ROLES}
    server = start_server(data)
    yield Guarded(server, tokens)
    server.stop()
