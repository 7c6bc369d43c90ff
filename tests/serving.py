"""Starting servers for tests.

ENGRAM_BINARY (or ENGRAM_BIN) names the executable; without it the newest `engram` in cargo's target folder is taken, and
where none can serve, the DICOMweb room's example server (`cargo build -p engram-dicomweb --example serve`), which has
no more than DICOMweb. Tests that need more ask for the `engram` fixture, which insists on the real one.
"""

import json
import os
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 60
STOP_SECONDS = 20


def shared_folder() -> Path:
    """Where real data lies: ENGRAM_SHARED, else `../shared` beside the repository."""
    return Path(os.environ.get("ENGRAM_SHARED", ROOT.parent / "shared"))


def skip_or_fail(reason: str):
    """Skips the test, or in strict mode (ENGRAM_STRICT=1) fails it."""
    if os.environ.get("ENGRAM_STRICT") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def doctor(engram: Path, data: Path, config: Path) -> list[dict]:
    """What `engram doctor` finds."""
    command = [engram, "doctor", "--json", "--config", config, "--data", data]
    return json.loads(subprocess.run(command, capture_output=True, timeout=120).stdout)


def target_folder() -> Path:
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))


def find_server() -> Path | None:
    """The server's executable: the named one; else the newest `engram` that can serve; else the example server."""
    if named := os.environ.get("ENGRAM_BINARY") or os.environ.get("ENGRAM_BIN"):
        return Path(named)
    profiles = [target_folder() / profile for profile in ("debug", "release")]
    binaries = sorted((p / "engram" for p in profiles if (p / "engram").is_file()), key=modified, reverse=True)
    examples = sorted((p / "examples" / "serve" for p in profiles if (p / "examples" / "serve").is_file()),
                      key=modified, reverse=True)
    return next((one for one in binaries if can_serve(one)), next(iter(examples), None))


def modified(path: Path) -> float:
    return path.stat().st_mtime


def can_serve(binary: Path) -> bool:
    try:
        help_text = subprocess.run([binary, "serve", "--help"], capture_output=True, timeout=20).stdout
        return b"--bind" in help_text
    except (OSError, subprocess.TimeoutExpired):
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class Server:
    """A running server. `base` is its root URL, `dicomweb` that of its DICOMweb services."""

    base: str
    data: Path
    process: subprocess.Popen
    log: Path

    @property
    def dicomweb(self) -> str:
        return f"{self.base}/dicomweb"

    def stop(self) -> int:
        """Asks it to end, and insists if it does not. Returns its exit status."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
        return self.process.wait()

    def kill(self):
        """Ends it as a power cut would."""
        self.process.kill()
        self.process.wait()

    def start_again(self):
        """Starts it as before, on the same port, after it has ended."""
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(self.process.args, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT,
                                            stdin=subprocess.DEVNULL)
        if not wait_until_healthy(self):
            pytest.fail(f"it did not come up again:\n{self.log.read_text(errors='replace')[-4000:]}")


def start_server(data: Path, *extra: str, config: Path | None = None, binary: Path | None = None,
                 authority: Path | None = None) -> Server:
    """Starts a server on a free loopback port over `data` and waits until it is healthy.

    `authority` is the certificate to trust, where the configuration asks for TLS. A port may be taken between finding
    and binding it, hence the second and third attempt.
    """
    binary = binary or find_server()
    if binary is None:
        skip_or_fail("no server is built: cargo build")
    data.mkdir(parents=True, exist_ok=True)
    log = data.parent / f"{data.name}.log"
    for attempt in (1, 2, 3):
        port = free_port()
        arguments = ["serve"] if binary.name == "engram" else []
        arguments += ["--bind", f"127.0.0.1:{port}", "--data", str(data), *extra]
        if config:
            arguments += ["--config", str(config)]
        with log.open("ab") as output:
            process = subprocess.Popen([binary, *arguments], cwd=ROOT, stdout=output, stderr=subprocess.STDOUT,
                                       stdin=subprocess.DEVNULL)
        server = Server(f"{'https' if authority else 'http'}://127.0.0.1:{port}", data, process, log)
        if wait_until_healthy(server, authority):
            return server
        server.stop()
        if attempt == 3 or "ddress already in use" not in log.read_text(errors="replace"):
            break
    pytest.fail(f"{binary} did not come up:\n{log.read_text(errors='replace')[-4000:]}")


def wait_until_healthy(server: Server, authority: Path | None = None) -> bool:
    trust = ssl.create_default_context(cafile=authority) if authority else None
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.process.poll() is None:
        try:
            with urllib.request.urlopen(f"{server.base}/api/v1/health", timeout=5, context=trust) as answer:
                if answer.status == 200:
                    return True
        except (urllib.error.URLError, OSError):
            pass
        time.sleep(0.05)
    return False
