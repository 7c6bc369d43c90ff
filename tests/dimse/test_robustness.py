"""Peers that hang up, dawdle, chop, flood or fall silent: the SCP lives on, answers others and keeps its limits."""

import os
import socket
import struct
import time
from contextlib import contextmanager, nullcontext, suppress

import pytest
import requests
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import build_role, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind as FIND
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelGet as GET
from pynetdicom.sop_class import Verification

from hospital import OURS, Hospital, Node
from pacs import Pacs
from serving import free_port, start_server
from small_ct import make_ct
from test_query_retrieve import identifier

SECONDS, TIMEOUT, LIMIT = 30, 2, 3
STUDY = "2.25.9001"
IMPLICIT = "1.2.840.10008.1.2"
ASSOCIATE_AC, ASSOCIATE_RJ, DATA, RELEASE_RP, ABORT = 2, 3, 4, 6, 7


@pytest.fixture(scope="module")
def hospital(engram, tmp_path_factory) -> Hospital:
    folder = tmp_path_factory.mktemp("robustness")
    port, cramped = free_port(), Pacs("CRAMPED")
    config = folder / "config.toml"
    config.write_text(f"""
[dimse]
bind = "127.0.0.1:{port}"
timeout_seconds = {TIMEOUT}
max_associations = {LIMIT}
max_pdu_kb = 16
[[dimse.nodes]]
ae_title = "CRAMPED"
address = "127.0.0.1:{cramped.port}"
""")
    running = cramped.start()
    server = start_server(folder / "data", config=config)
    hospital = Hospital(server, config, port, Node(0))
    hospital.cramped = running
    hospital.archive = cramped
    association = hospital.associate((CTImageStorage, ExplicitVRLittleEndian))
    for number in (1, 2, 3):
        assert association.send_c_store(make_ct(number, STUDY, f"{STUDY}.1", rows=400)).Status == 0
    association.release()
    yield hospital
    server.stop()
    running.shutdown()


@pytest.fixture(autouse=True)
def lives_on(hospital):
    """After each test a well-behaved peer is served, nothing has panicked, and no thread turns round for ever."""
    yield
    before = cpu_seconds(hospital)
    time.sleep(0.3)
    assert cpu_seconds(hospital) - before < 0.25
    association = associated(hospital)
    assert association.send_c_echo().Status == 0
    association.release()
    assert "panicked" not in hospital.server.log.read_text(errors="replace")


def associated(hospital):
    """An association, as soon as those before have given their places back."""
    deadline = time.monotonic() + TIMEOUT + 5
    while True:
        try:
            return hospital.associate(Verification)
        except AssertionError:
            assert time.monotonic() < deadline, "it serves nobody any more"
            time.sleep(0.2)


def cpu_seconds(hospital) -> float:
    """What the server has computed so far."""
    with open(f"/proc/{hospital.server.process.pid}/stat") as stat:
        ticks = stat.read().rsplit(")", 1)[1].split()[11:13]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def item(kind: int, content: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(content)) + content


def pdu(kind: int, content: bytes) -> bytes:
    return struct.pack(">BBI", kind, 0, len(content)) + content


def associate_request(sop_class: str, max_length: int = 16384) -> bytes:
    """An A-ASSOCIATE-RQ (PS3.8 9.3.2) of one presentation context, 1."""
    context = bytes([1, 0, 0, 0]) + item(0x30, sop_class.encode()) + item(0x40, IMPLICIT.encode())
    user = item(0x51, struct.pack(">I", max_length)) + item(0x52, b"1.2.3.4")
    return pdu(1, struct.pack(">HH", 1, 0) + OURS.ljust(16).encode() + b"RAW".ljust(16) + bytes(32)
               + item(0x10, b"1.2.840.10008.3.1.1.1") + item(0x20, context) + item(0x50, user))


def element(number: int, value: bytes) -> bytes:
    return struct.pack("<HHI", 0, number, len(value)) + value


def command(field: int, sop_class: str, has_data_set: bool) -> bytes:
    """A P-DATA-TF with the command set of a request with message ID 1."""
    uid = sop_class.encode() + b"\0" * (len(sop_class) % 2)
    elements = element(0x0002, uid) + element(0x0100, struct.pack("<H", field)) + element(0x0110, b"\1\0")
    elements += element(0x0700, b"\0\0") + element(0x0800, b"\0\0" if has_data_set else b"\1\1")
    if field == 1:
        elements += element(0x1000, b"1.2.3.4\0")
    return data(element(0, struct.pack("<I", len(elements))) + elements, 3)


def data(content: bytes, control: int) -> bytes:
    return pdu(DATA, struct.pack(">IBB", len(content) + 2, 1, control) + content)


class Raw:
    """A peer that sends what it likes."""

    def __init__(self, hospital):
        self.socket = socket.create_connection(("127.0.0.1", hospital.port), SECONDS)
        self.socket.settimeout(SECONDS)

    def send(self, *pieces: bytes):
        for piece in pieces:
            self.socket.sendall(piece)

    def exactly(self, count: int) -> bytes:
        received = b""
        while len(received) < count:
            received += (more := self.socket.recv(count - len(received)))
            if not more:
                raise EOFError
        return received

    def receive(self) -> tuple[int, bytes]:
        kind, _, length = struct.unpack(">BBI", self.exactly(6))
        return kind, self.exactly(length)

    def associate(self, sop_class: str, **options):
        self.send(associate_request(sop_class, **options))
        assert self.receive()[0] == ASSOCIATE_AC

    def is_over(self) -> bool:
        """Whether the server ends it: with an A-ABORT or without, but not with anything else."""
        try:
            return self.receive()[0] == ABORT
        except (EOFError, ConnectionError):
            return True


@contextmanager
def raw(hospital):
    peer = Raw(hospital)
    try:
        yield peer
    finally:
        peer.socket.close()


REQUEST, STORE, QUERY = associate_request(CTImageStorage), command(1, CTImageStorage, True), command(0x20, FIND, True)
ABORT_PDU = pdu(ABORT, bytes(4))
HELLO = bytes([22, 3, 1, 0, 200, 1, 0, 0, 196])
"""The beginning of a client's, over TLS."""


@pytest.mark.parametrize("ends_with", [b"", ABORT_PDU], ids=["hangs up", "aborts"])
@pytest.mark.parametrize(("sop_class", "sent"), [
    (None, b""), (None, REQUEST[:1]), (None, REQUEST[:5]), (None, REQUEST[:40]), (None, HELLO), (CTImageStorage, b""),
    (CTImageStorage, STORE[:20]), (CTImageStorage, STORE),
    (CTImageStorage, STORE + data(bytes(50), 0)), (CTImageStorage, STORE + data(bytes(50), 0)[:30]),
    (FIND, QUERY), (FIND, QUERY + data(bytes(6), 2)),
])
def test_a_peer_may_go_at_any_time(hospital, sop_class, sent, ends_with):
    with raw(hospital) as peer:
        if sop_class:
            peer.associate(sop_class)
        # What is no conversation may have been hung up on already.
        with suppress(ConnectionError) if sent == HELLO else nullcontext():
            peer.send(sent, ends_with)


def test_nothing_of_a_broken_store_is_kept(hospital):
    found = requests.get(f"{hospital.server.dicomweb}/instances", params={"SOPInstanceUID": "1.2.3.4"}, timeout=SECONDS)
    assert found.status_code == 204 or found.json() == []


def test_what_comes_byte_by_byte_is_understood(hospital):
    with raw(hospital) as peer:
        peer.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer.send(*(bytes([byte]) for byte in associate_request(Verification)))
        assert peer.receive()[0] == ASSOCIATE_AC
        peer.send(*(bytes([byte]) for byte in command(0x30, Verification, False)))
        kind, content = peer.receive()
        assert kind == DATA and element(0x0900, b"\0\0") in content
        peer.send(*(bytes([byte]) for byte in pdu(5, bytes(4))))
        assert peer.receive()[0] == RELEASE_RP


@pytest.mark.parametrize(("sop_class", "sent"), [
    (None, b""), (None, REQUEST[:40]), (CTImageStorage, b""), (CTImageStorage, STORE + data(bytes(50), 0)),
    (FIND, QUERY[:20]),
])
def test_silence_ends_an_association(hospital, sop_class, sent):
    with raw(hospital) as peer:
        if sop_class:
            peer.associate(sop_class)
        peer.send(sent)
        begun = time.monotonic()
        assert peer.is_over() and TIMEOUT / 2 < time.monotonic() - begun < TIMEOUT + 3


def test_asking_for_an_association_slowly_ends_in_time(hospital):
    """A byte now and then is no silence; the time-out is for the whole request (ARTIM, PS3.8 9.1.5)."""
    begun = time.monotonic()
    with raw(hospital) as peer:
        peer.socket.settimeout(0.3)
        for byte in REQUEST:
            try:
                peer.send(bytes([byte]))
                if not peer.socket.recv(1):
                    break
            except TimeoutError:
                continue
            except OSError:
                break
    assert TIMEOUT / 2 < time.monotonic() - begun < TIMEOUT + 3


@pytest.mark.parametrize("sent", [
    pdu(DATA, bytes(4)), struct.pack(">BBI", DATA, 0, 2**32 - 1) + bytes(100), pdu(0x77, bytes(10)), data(bytes(60), 3),
    data(bytes(60), 2), command(0x8001, CTImageStorage, False), command(0x0100, CTImageStorage, False), STORE + STORE,
    data(b"\xff" * 10000, 1) * 10,
])
def test_what_is_no_conversation_is_aborted(hospital, sent):
    with raw(hospital) as peer:
        peer.associate(CTImageStorage)
        peer.send(sent)
        begun = time.monotonic()
        assert peer.is_over() and time.monotonic() - begun < TIMEOUT, "it should not have to wait"


def test_associations_beyond_the_limit_are_rejected_for_now(hospital):
    # Those of earlier tests may hold their places until they have been silent for long enough.
    time.sleep(TIMEOUT + 1)
    held = [hospital.associate(Verification) for _ in range(LIMIT)]
    with raw(hospital) as peer:
        peer.send(associate_request(Verification))
        # PS3.8 9.3.4: rejected-transient; by the service provider, presentation related; local limit exceeded.
        assert peer.receive() == (ASSOCIATE_RJ, bytes([0, 2, 3, 2]))
    for association in held:
        assert association.send_c_echo().Status == 0, "those there are not disturbed"
        association.release()


@pytest.mark.parametrize("max_length", [0, 64, 130, 4096, 2**32 - 1])
def test_pdus_are_as_large_as_the_peer_takes(hospital, max_length):
    came = []

    def keep(event):
        came.append(event.dataset)
        return 0

    association = hospital.associate(
        GET, (CTImageStorage, ExplicitVRLittleEndian), ext_neg=[build_role(CTImageStorage, scp_role=True)],
        evt_handlers=[(evt.EVT_C_STORE, keep), (evt.EVT_PDU_RECV, lambda event: lengths.append(event.pdu.pdu_length))],
        max_pdu=max_length)
    lengths = []
    *_, (status, _) = association.send_c_get(identifier("STUDY", StudyInstanceUID=STUDY), GET)
    association.release()
    assert status.Status == 0 and [ds.InstanceNumber for ds in came] == [1, 2, 3]
    assert max(lengths) <= (max_length or 2**32)


@pytest.mark.parametrize("max_length", [1, 6, 7])
def test_a_peer_that_takes_no_pdu_at_all_gets_none(hospital, max_length):
    with raw(hospital) as peer:
        peer.associate(Verification, max_length=max_length)
        peer.send(command(0x30, Verification, False))
        assert peer.is_over()


@pytest.mark.parametrize("max_length", [0, 64, 16382])
def test_what_is_sent_to_a_node_is_as_it_takes_it(hospital, max_length):
    hospital.cramped.ae.maximum_pdu_size = max_length
    hospital.archive.held.clear()
    answer = requests.post(f"{hospital.server.base}/api/v1/nodes/CRAMPED/store", json={"study": STUDY}, timeout=SECONDS)
    deadline = time.monotonic() + SECONDS
    while len(hospital.archive.held) < 3:
        job = requests.get(hospital.server.base + answer.headers["Location"], timeout=SECONDS).json()
        assert time.monotonic() < deadline and job["state"] != "failed", job
        time.sleep(0.1)
    assert hospital.archive.held[0] == make_ct(1, STUDY, f"{STUDY}.1", rows=400)
