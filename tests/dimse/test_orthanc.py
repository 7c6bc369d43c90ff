"""Debian's Orthanc as a node: asked, queried, sent to, retrieved from, over TLS too; and Engram as Orthanc's modality."""

import json
import subprocess
import time
from dataclasses import dataclass

import pytest
import requests

from authority import make_authority
from hospital import OURS
from programs import program
from serving import Server, free_port, start_server
from small_ct import make_ct, part10

SECONDS = 60
STUDY, SERIES = "2.25.5501", "2.25.5501.1"


@dataclass
class Beside:
    """A server, and an Orthanc that knows it as `engram`; the server knows that as `orthanc`."""

    server: Server
    orthanc: str

    def at(self, path: str, body=None) -> requests.Response:
        return requests.post(f"{self.server.base}/api/v1/nodes/orthanc/{path}", json=body, timeout=SECONDS)

    def ended(self, answer: requests.Response) -> dict:
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            job = requests.get(self.server.base + answer.headers["Location"], timeout=SECONDS).json()
            if job["state"] not in ("queued", "running"):
                return job
            time.sleep(0.1)
        pytest.fail(f"it does not end: {job}")

    def of_orthanc(self) -> set[str]:
        """SOP instances that Orthanc has."""
        found = requests.get(f"{self.orthanc}/instances?expand", timeout=SECONDS).json()
        return {one["MainDicomTags"]["SOPInstanceUID"] for one in found}


@pytest.fixture(scope="module", params=["", "over TLS"])
def beside(engram, tmp_path_factory, request):
    folder = tmp_path_factory.mktemp("orthanc")
    http, dicom, port = free_port(), free_port(), free_port()
    settings, ours, modality = {}, f'bind = "127.0.0.1:{port}"', {}
    node = f'name = "orthanc"\nae_title = "ORTHANC"\naddress = "127.0.0.1:{dicom}"\n'
    if request.param:
        authority = make_authority(folder, "authority")
        pairs = {name: authority.certify(name, "IP:127.0.0.1") for name in ("orthanc", "engram")}
        root = authority.root.certificate
        settings = {
            "DicomTlsEnabled": True, "DicomTlsRemoteCertificateRequired": True, "DicomTlsTrustedCertificates": str(root),
            "DicomTlsCertificate": str(pairs["orthanc"].certificate), "DicomTlsPrivateKey": str(pairs["orthanc"].key)}
        modality = {"UseDicomTls": True}
        ours = f'tls_bind = "127.0.0.1:{port}"\ntls_client_ca = "{root}"\n'
        ours += f'tls_certificate = "{pairs["engram"].certificate}"\ntls_key = "{pairs["engram"].key}"'
        node += f'tls = true\ntls_ca = "{root}"\n'
    (folder / "orthanc.json").write_text(json.dumps({
        "StorageDirectory": str(folder / "db"), "IndexDirectory": str(folder / "db"), "HttpPort": http, "DicomPort": dicom,
        "DicomAet": "ORTHANC", "RemoteAccessAllowed": False, "AuthenticationEnabled": False, "Plugins": [],
        # Only a modality that it knows, from its address, may ask anything.
        "DicomCheckModalityHost": True, "DicomAlwaysAllowStore": False, "DicomAlwaysAllowEcho": False,
        "DicomModalities": {"engram": {"AET": OURS, "Host": "127.0.0.1", "Port": port, **modality}}, **settings}))
    with (folder / "orthanc.log").open("w") as log:
        process = subprocess.Popen([program("Orthanc"), folder / "orthanc.json"], stdout=log, stderr=log)
    config = folder / "config.toml"
    config.write_text(f"[dimse]\n{ours}\n[[dimse.nodes]]\n{node}")
    server = start_server(folder / "data", config=config)
    orthanc = f"http://127.0.0.1:{http}"
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            requests.get(f"{orthanc}/system", timeout=SECONDS).raise_for_status()
            break
        except requests.ConnectionError:
            assert time.monotonic() < deadline and process.poll() is None, (folder / "orthanc.log").read_text()
            time.sleep(0.1)
    yield Beside(server, orthanc)
    server.stop()
    process.terminate()
    process.wait()


@pytest.fixture
def held(beside) -> list[str]:
    """Three slices that Orthanc has, and the server has not."""
    requests.delete(f"{beside.server.dicomweb}/studies/{STUDY}", timeout=SECONDS)
    slices = [make_ct(number, STUDY, SERIES) for number in (1, 2, 3)]
    for ds in slices:
        requests.post(f"{beside.orthanc}/instances", data=part10(ds), timeout=SECONDS).raise_for_status()
    return [ds.SOPInstanceUID for ds in slices]


def test_orthanc_is_there(beside):
    assert beside.at("echo").json() == {"status": 0}
    # And the other way round.
    assert requests.post(f"{beside.orthanc}/modalities/engram/echo", data="{}", timeout=SECONDS).status_code == 200


def test_orthanc_tells_what_it_has(beside, held):
    (study,) = beside.at("query", {"level": "STUDY", "keys": {"PatientName": "doe*"}}).json()
    assert study["0020000D"]["Value"] == [STUDY] and study["00100010"]["Value"] == [{"Alphabetic": "Doe^Jane"}]
    assert [int(count) for count in study["00201208"]["Value"]] == [3]
    keys = {"StudyInstanceUID": STUDY, "SeriesInstanceUID": SERIES}
    images = beside.at("query", {"level": "INSTANCE", "keys": keys}).json()
    assert {one["00080018"]["Value"][0] for one in images} == set(held)
    assert beside.at("query", {"level": "PATIENT", "keys": {"PatientID": "P9"}}).json() == []


def test_orthanc_sends_what_is_asked_for(beside, held):
    job = beside.ended(beside.at("retrieve", {"study": STUDY}))
    assert job["state"] == "succeeded", job
    stored = requests.get(f"{beside.server.dicomweb}/studies/{STUDY}/instances", timeout=SECONDS).json()
    assert {one["00080018"]["Value"][0] for one in stored} == set(held)


def test_orthanc_takes_what_is_sent(beside, held):
    assert beside.ended(beside.at("retrieve", {"study": STUDY}))["state"] == "succeeded"
    for study in requests.get(f"{beside.orthanc}/studies", timeout=SECONDS).json():
        requests.delete(f"{beside.orthanc}/studies/{study}", timeout=SECONDS)
    objects = {"study": STUDY, "series": [SERIES], "instances": held[:2]}
    assert beside.ended(beside.at("store", objects))["result"]["instances"] == 2
    assert beside.of_orthanc() == set(held[:2])
