"""TLS from a certificate and a key file, HTTP/2 over it, and what is said where they are no good."""

import os
import shutil
import signal
import ssl
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import requests

from serving import skip_or_fail


@dataclass
class Pair:
    """A self-signed certificate for 127.0.0.1, and its key."""

    certificate: Path
    key: Path

    def settings(self) -> str:
        return f'[server]\ntls_certificate = "{self.certificate}"\ntls_key = "{self.key}"\n'


@pytest.fixture
def make_pair(tmp_path):
    if not shutil.which("openssl"):
        skip_or_fail("openssl is not installed")

    def make(name: str) -> Pair:
        pair = Pair(tmp_path / f"{name}.pem", tmp_path / f"{name}.key")
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
             "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=CA:FALSE",
             "-keyout", pair.key, "-out", pair.certificate], check=True, capture_output=True)
        return pair

    return make


@pytest.fixture
def secured(start_engram, make_pair, tmp_path):
    """A server with TLS, and its certificate."""
    pair = make_pair("server")
    config = tmp_path / "tls.toml"
    config.write_text(pair.settings())
    return start_engram(config=config, authority=pair.certificate), pair


def test_http_1_and_http_2_over_tls(secured):
    server, pair = secured
    answer = requests.get(f"{server.dicomweb}/studies", verify=str(pair.certificate), timeout=10)
    assert answer.status_code == 200 and answer.json() == []
    trust = ssl.create_default_context(cafile=pair.certificate)
    for http2, version in [(True, "HTTP/2"), (False, "HTTP/1.1")]:
        with httpx.Client(http2=http2, verify=trust) as client:
            answer = client.get(f"{server.dicomweb}/studies")
            assert answer.status_code == 200 and answer.http_version == version
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(f"{server.dicomweb}/studies", timeout=10)
    with pytest.raises(requests.exceptions.ConnectionError):
        requests.get(f"{server.dicomweb}/studies".replace("https", "http"), timeout=10)


def test_many_requests_share_one_connection(secured):
    server, pair = secured
    with httpx.Client(http2=True, verify=ssl.create_default_context(cafile=pair.certificate)) as client:
        answers = [client.get(f"{server.dicomweb}/studies") for _ in range(50)]
    assert {answer.status_code for answer in answers} == {200}
    assert len({id(answer.extensions["network_stream"]) for answer in answers}) == 1


def test_commands_speak_tls_too(secured, commands):
    server, pair = secured
    trusting = {**os.environ, "SSL_CERT_FILE": str(pair.certificate)}
    done = commands("tokens", "list", "--server", server.base, env=trusting)
    assert done.returncode == 0, done.stderr
    stranger = commands("tokens", "list", "--server", server.base)
    assert stranger.returncode == 1 and "certificate" in stranger.stderr


def test_a_renewed_certificate_is_read_on_hangup(secured, make_pair):
    server, pair = secured
    port = int(server.base.rsplit(":", 1)[1])
    renewed = make_pair("renewed")

    def shown() -> bytes:
        return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", port)))

    def wanted(of: Pair) -> bytes:
        return ssl.PEM_cert_to_DER_cert(of.certificate.read_text())

    assert shown() == wanted(pair)
    pair.key.write_text("damaged")
    server.process.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    assert shown() != wanted(renewed) and server.process.poll() is None, "what does not read changes nothing"
    shutil.copy(renewed.certificate, pair.certificate)
    shutil.copy(renewed.key, pair.key)
    server.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 10
    while shown() != wanted(renewed):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_files_that_are_no_good_are_named_at_start(commands, make_pair, tmp_path):
    pair, other = make_pair("one"), make_pair("other")
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    for wrong, said in [
        (Pair(tmp_path / "none.pem", pair.key), "none.pem"),
        (Pair(pair.certificate, tmp_path / "none.key"), "none.key"),
        (Pair(empty, pair.key), "empty.pem"),
        (Pair(pair.certificate, pair.certificate), "tls_key"),
        (Pair(pair.certificate, other.key), "other.key"),
    ]:
        assert said in commands.refusal_to_serve(wrong.settings())
    alone = commands.refusal_to_serve(f'[server]\ntls_key = "{pair.key}"')
    assert "tls_certificate and tls_key go together" in alone
