"""A server with a DIMSE port, nodes that it may send to, and DCMTK's programs."""

import subprocess

import pytest
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification

from hospital import OURS, SILENT, THEIRS, Hospital, Node
from programs import program
from serving import free_port, start_server


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
    scp.add_supported_context(StorageCommitmentPushModel, scu_role=False, scp_role=True)
    running = scp.start_server(("127.0.0.1", node.port), block=False, evt_handlers=[
        (evt.EVT_C_STORE, node.handle), (evt.EVT_N_EVENT_REPORT, node.hear)])
    server = start_server(folder / "data", config=config)
    yield Hospital(server, config, port, node)
    server.stop()
    running.shutdown()


@pytest.fixture(scope="session")
def dcmtk():
    """A function that runs one of DCMTK's programs, which must succeed, and gives what it said."""
    def run(name: str, *arguments: str) -> str:
        done = subprocess.run([program(name), *arguments], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run
