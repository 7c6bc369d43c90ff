"""A browser that is watched, and clients' programs."""

import shutil
import subprocess
from pathlib import Path

import pytest
import requests

from ohif import Ohif
from programs import program
from serving import skip_or_fail

HERE = Path(__file__).resolve().parent


@pytest.fixture
def ohif(browser):
    """A function that opens the viewer of a server; with a token, as the password of Basic."""
    opened = []

    def open_viewer(base: str, token: str | None = None) -> Ohif:
        auth = ("engram", token) if token else None
        if requests.get(f"{base}/viewer/", auth=auth, timeout=10).status_code == 404:
            skip_or_fail("the viewer is not there: cargo xtask viewer")
        credentials = {"username": auth[0], "password": auth[1]} if auth else None
        context = browser.new_context(viewport={"width": 1280, "height": 900}, http_credentials=credentials)
        opened.append(context)
        return Ohif(context.new_page(), base)

    yield open_viewer
    for context in opened:
        context.close()


@pytest.fixture(scope="session")
def node_client(tmp_path_factory):
    """A function that runs `npm_client.mjs` with the packages of the lock file, and gives what it did."""
    folder = tmp_path_factory.mktemp("node")
    for name in ("package.json", "package-lock.json", "npm_client.mjs"):
        shutil.copy(HERE / name, folder)
    subprocess.run([program("npm"), "ci", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund"],
                   cwd=folder, check=True, capture_output=True, timeout=300)

    def run(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run([program("node"), "npm_client.mjs", *arguments], cwd=folder, capture_output=True,
                              text=True, timeout=120)

    return run


@pytest.fixture(scope="session")
def dcmdump():
    """A function that reads a file with DCMTK, and gives what it complains of."""
    command = [program("dcmdump"), "--load-all", "--print-all"]

    def complaints(path: Path) -> str:
        read = subprocess.run([*command, str(path)], capture_output=True, text=True, errors="replace", timeout=60)
        warnings = [line for line in (read.stdout + read.stderr).splitlines() if line.startswith(("W:", "E:", "F:"))]
        return "\n".join([f"exit status {read.returncode}"] * bool(read.returncode) + warnings)

    return complaints
