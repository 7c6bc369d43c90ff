"""A server with a DIMSE port, nodes that it may send to, and pynetdicom's association with it."""

import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pydicom
import pytest
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import Verification

from serving import Server, free_port, skip_or_fail, start_server

OURS, THEIRS, SILENT = "ENGRAM", "PACS", "NOBODY"


@dataclass
class Hospital:
    """Engram with a DIMSE port; `node` takes what C-MOVE sends to `THEIRS`, `SILENT` is configured and not there."""

    server: Server
    config: Path
    port: int
    node: "Node"

    def associate(self, *contexts, calling: str = "TESTS", **options):
        """pynetdicom's association; each context a SOP class, or a SOP class and its transfer syntaxes."""
        ae = AE(ae_title=calling)
        for context in contexts:
            ae.add_requested_context(*(context if isinstance(context, tuple) else (context,)))
        association = ae.associate("127.0.0.1", self.port, ae_title=OURS, **options)
        assert association.is_established
        return association


@dataclass
class Node:
    """A storage SCP. `status` is what it answers."""

    port: int
    status: int = 0
    received: list = field(default_factory=list)

    def handle(self, event):
        self.received.append(event)
        return self.status

    def objects(self) -> list[pydicom.Dataset]:
        """What has arrived since it was asked last."""
        found = []
        for event in self.received:
            event.dataset.file_meta = event.file_meta
            found.append(event.dataset)
        self.received.clear()
        return found


@pytest.fixture(scope="module")
def hospital(engram, tmp_path_factory) -> Hospital:
    folder = tmp_path_factory.mktemp("dimse")
    port, node = free_port(), Node(free_port())
    config = folder / "config.toml"
    config.write_text(f"""
[dimse]
bind = "127.0.0.1:{port}"
ae_title = "{OURS}"
[[dimse.nodes]]
ae_title = "{THEIRS}"
address = "127.0.0.1:{node.port}"
[[dimse.nodes]]
ae_title = "{SILENT}"
address = "127.0.0.1:{free_port()}"
""")
    scp = AE(ae_title=THEIRS)
    scp.supported_contexts = AllStoragePresentationContexts
    scp.add_supported_context(Verification)
    running = scp.start_server(("127.0.0.1", node.port), block=False, evt_handlers=[(evt.EVT_C_STORE, node.handle)])
    server = start_server(folder / "data", config=config)
    yield Hospital(server, config, port, node)
    server.stop()
    running.shutdown()


@pytest.fixture(scope="session")
def dcmtk():
    """A function that runs one of DCMTK's programs, which must succeed, and gives what it said."""
    def run(name: str, *arguments: str) -> str:
        program = shutil.which(name) or skip_or_fail(f"{name} is not installed (Debian: apt-get install dcmtk)")
        done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run
