"""DIMSE over TLS in both directions, by DCMTK and pynetdicom; who is not trusted gets nowhere, and the log says why."""

import socket
import ssl
import subprocess
import time
from dataclasses import dataclass

import pytest
import requests
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.sop_class import Verification

from authority import Authority, Pair, make_authority
from hospital import OURS
from pacs import Pacs
from programs import program
from serving import Server, doctor, free_port, start_server
from small_ct import make_ct

SECONDS = 30
TIMEOUT = 2
STUDY = "2.25.8001"


@dataclass
class Secured:
    """A server with three DIMSE ports' worth of settings: `port` without TLS, `tls_port` with; clients need a certificate there."""

    server: Server
    config: object
    port: int
    tls_port: int
    ours: Authority
    strangers: Authority
    client: Pair
    archive: Pacs

    def log(self) -> str:
        return self.server.log.read_text(errors="replace")

    def logs(self, words: str) -> bool:
        """Whether the server's log comes to say it."""
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            if words in self.log():
                return True
            time.sleep(0.1)
        return False


@pytest.fixture(scope="module")
def secured(engram, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    ours, strangers = make_authority(folder, "ours"), make_authority(folder, "strangers")
    ours.certify("server", "IP:127.0.0.1", "DNS:localhost")
    client = ours.certify("client")
    node_pair = ours.certify("node", "DNS:node.example", "IP:127.0.0.1")
    port, tls_port, dcmtk_port = free_port(), free_port(), free_port()
    archive = Pacs("ARCHIVE", destinations={OURS: port})
    node = f'ae_title = "ARCHIVE"\naddress = "127.0.0.1:{archive.port}"\ntls = true\n'
    config = folder / "config.toml"
    config.write_text(f"""
[dimse]
bind = "127.0.0.1:{port}"
tls_bind = "127.0.0.1:{tls_port}"
tls_certificate = "server.pem"
tls_key = "server.key"
tls_client_ca = "ours.pem"
timeout_seconds = {TIMEOUT}
[[dimse.nodes]]
name = "trusted"
tls_ca = "ours.pem"
tls_server_name = "node.example"
{node}
[[dimse.nodes]]
name = "by-address"
tls_ca = "ours.pem"
{node}
[[dimse.nodes]]
name = "not-trusted"
tls_ca = "strangers.pem"
{node}
[[dimse.nodes]]
name = "another-name"
tls_ca = "ours.pem"
tls_server_name = "other.example"
{node}
[[dimse.nodes]]
name = "of-the-system"
{node}
[[dimse.nodes]]
name = "in-the-clear"
ae_title = "ARCHIVE"
address = "127.0.0.1:{archive.port}"
[[dimse.nodes]]
name = "dcmtk"
ae_title = "DCMTK"
address = "127.0.0.1:{dcmtk_port}"
tls = true
tls_ca = "ours.pem"
""")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(node_pair.certificate, node_pair.key)
    context.load_verify_locations(ours.root.certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    running = archive.start(ssl_context=context)
    came = folder / "came"
    came.mkdir()
    storescp = subprocess.Popen(
        [program("storescp"), "-od", came, "-aet", "DCMTK", "+tls", node_pair.key, node_pair.certificate, "+cf",
         ours.root.certificate, str(dcmtk_port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    server = start_server(folder / "data", config=config)
    yield Secured(server, config, port, tls_port, ours, strangers, client, archive)
    server.stop()
    storescp.terminate()
    storescp.wait()
    running.shutdown()


def trusting(authority: Authority, client: Pair | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority.root.certificate)
    if client:
        context.load_cert_chain(client.certificate, client.key)
    return context


def associate(secured: Secured, context: ssl.SSLContext, *contexts):
    ae = AE(ae_title="TESTS")
    ae.connection_timeout = ae.acse_timeout = SECONDS
    for one in contexts or [(Verification,)]:
        ae.add_requested_context(*one)
    return ae.associate("127.0.0.1", secured.tls_port, ae_title=OURS, tls_args=(context, "localhost"))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_pynetdicom_stores_over_tls(secured, version):
    context = trusting(secured.ours, secured.client)
    context.minimum_version = context.maximum_version = version
    association = associate(secured, context, (Verification,), (CTImageStorage, ExplicitVRLittleEndian))
    assert association.is_established
    assert association.send_c_echo().Status == 0
    # Large enough for many records of TLS.
    assert association.send_c_store(make_ct(1, STUDY, f"{STUDY}.1", rows=20000)).Status == 0
    association.release()
    stored = requests.get(f"{secured.server.dicomweb}/studies/{STUDY}/instances", timeout=SECONDS).json()
    assert len(stored) == 1


def test_dcmtk_stores_over_tls(secured, tmp_path, dcmtk):
    make_ct(2, STUDY, f"{STUDY}.1").save_as(tmp_path / "ct.dcm", enforce_file_format=True)
    tls = ["+tls", str(secured.client.key), str(secured.client.certificate), "+cf", str(secured.ours.root.certificate)]
    dcmtk("echoscu", *tls, "-aec", OURS, "127.0.0.1", str(secured.tls_port))
    dcmtk("storescu", *tls, "-aec", OURS, "127.0.0.1", str(secured.tls_port), str(tmp_path / "ct.dcm"))
    dcmtk("echoscu", "-aec", OURS, "127.0.0.1", str(secured.port))


def test_clients_without_a_certificate_of_ours_are_refused(secured):
    for client, words in ((None, "peer sent no certificates"),
                          (secured.strangers.certify("stranger"), "invalid peer certificate: UnknownIssuer")):
        assert not associate(secured, trusting(secured.ours, client)).is_established
        assert secured.logs(words), secured.log()[-2000:]


def test_who_speaks_no_tls_is_refused_there_and_the_other_way_round(secured):
    ae = AE()
    ae.add_requested_context(Verification)
    assert not ae.associate("127.0.0.1", secured.tls_port).is_established
    assert secured.logs("something else than TLS"), secured.log()[-2000:]
    with socket.create_connection(("127.0.0.1", secured.port), SECONDS) as plain, pytest.raises(OSError):
        trusting(secured.ours, secured.client).wrap_socket(plain, server_hostname="localhost")
    assert secured.logs("TLS to a port without it"), secured.log()[-2000:]


def test_a_handshake_is_over_in_time_and_holds_nobody_up(secured):
    """A byte now and then keeps no connection: the time-out is for the whole of it."""
    begun = time.monotonic()
    with socket.create_connection(("127.0.0.1", secured.tls_port), SECONDS) as slow:
        hello = bytes([22, 3, 1, 2, 0]) + bytes(512)
        slow.settimeout(0.3)
        for byte in hello:
            association = None
            if byte == 22:
                association = associate(secured, trusting(secured.ours, secured.client))
                assert association.is_established, "another waits for the slow one"
                association.release()
            try:
                slow.sendall(bytes([byte]))
                if not slow.recv(1):
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        else:
            pytest.fail("it may go on for ever")
    assert time.monotonic() - begun < TIMEOUT + 5


def at(secured, path: str, body=None) -> requests.Response:
    return requests.post(f"{secured.server.base}/api/v1/nodes/{path}", json=body, timeout=SECONDS)


def test_nodes_are_spoken_to_over_tls(secured):
    for name in ("trusted", "by-address", "dcmtk"):
        assert at(secured, f"{name}/echo").json() == {"status": 0}, name


@pytest.mark.parametrize(("name", "words"), [
    ("not-trusted", "UnknownIssuer"), ("of-the-system", "UnknownIssuer"), ("another-name", "not valid for name"),
    ("in-the-clear", ""),
])
def test_nodes_that_are_not_trusted_are_not_spoken_to(secured, name, words):
    answer = at(secured, f"{name}/echo")
    assert answer.status_code in (502, 504) and words in answer.json()["message"], answer.text
    assert at(secured, f"{name}/query", {"level": "STUDY"}).status_code in (502, 504)


def test_what_is_sent_over_tls_arrives(secured):
    association = associate(
        secured, trusting(secured.ours, secured.client), (CTImageStorage, ExplicitVRLittleEndian))
    original = make_ct(3, "2.25.8002", "2.25.8002.1", rows=20000)
    assert association.send_c_store(original).Status == 0
    association.release()
    for name in ("trusted", "dcmtk"):
        answer = at(secured, f"{name}/store", {"study": "2.25.8002"})
        job = f"{secured.server.base}{answer.headers['Location']}"
        deadline = time.monotonic() + SECONDS
        while requests.get(job, timeout=SECONDS).json()["state"] in ("queued", "running"):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert requests.get(job, timeout=SECONDS).json()["state"] == "succeeded", name
    assert secured.archive.held == [original]
    (file,) = (secured.server.data.parent / "came").iterdir()
    assert file.stat().st_size > 2 * 20000 * 12


def test_doctor_speaks_tls_to_nodes(secured, engram, tmp_path):
    checks = doctor(engram, tmp_path, secured.config)
    told = {check["found"].split()[0]: check for check in checks if check["what"] == "DIMSE node"}
    assert told["trusted"]["verdict"] == "good" and "over TLS) answers" in told["trusted"]["found"]
    assert told["not-trusted"]["verdict"] == "warning" and "UnknownIssuer" in told["not-trusted"]["found"]


def test_settings_that_cannot_work_keep_the_server_from_starting(secured, engram, tmp_path):
    folder = secured.config.parent
    for settings, words in (
        ('tls_bind = "127.0.0.1:0"', "tls_bind needs tls_certificate"),
        (f'tls_bind = "127.0.0.1:0"\ntls_certificate = "{folder}/server.pem"', "[dimse] tls_certificate and tls_key go together"),
        (f'tls_bind = "127.0.0.1:0"\ntls_certificate = "{folder}/server.pem"\ntls_key = "{folder}/client.key"', "[dimse] tls_key"),
        (f'tls_bind = "0.0.0.0:0"\ntls_certificate = "{folder}/server.pem"\ntls_key = "{folder}/server.key"', "calling_ae_titles"),
        ('[[dimse.nodes]]\nae_title = "A"\naddress = "a:1"\n[[dimse.nodes]]\nae_title = "A"\naddress = "b:1"', "another node"),
    ):
        config = tmp_path / "wrong.toml"
        config.write_text(f"[dimse]\n{settings}\n")
        done = subprocess.run([engram, "serve", "--config", config, "--data", tmp_path / "data"],
                              capture_output=True, text=True, timeout=SECONDS)
        assert done.returncode == 1 and words in done.stderr, done.stderr


def test_a_client_may_go_in_its_hello(secured):
    """Whoever goes in the middle of it, or says nothing, keeps no thread busy."""
    hello = bytes([22, 3, 1, 0, 200, 1, 0, 0, 196]) + bytes(196)
    stat = f"/proc/{secured.server.process.pid}/stat"

    def ticks() -> int:
        with open(stat) as file:
            return sum(map(int, file.read().rsplit(")", 1)[1].split()[11:13]))

    for count in (0, 1, 5, 100, len(hello)):
        with socket.create_connection(("127.0.0.1", secured.tls_port), SECONDS) as peer:
            peer.sendall(hello[:count])
    time.sleep(TIMEOUT + 0.5)
    before = ticks()
    time.sleep(0.5)
    assert ticks() - before < 20
    association = associate(secured, trusting(secured.ours, secured.client))
    assert association.is_established
    association.release()
