"""A certificate authority for tests, by openssl."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from programs import program

KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


@dataclass
class Pair:
    """A certificate and its key, PEM."""

    certificate: Path
    key: Path


@dataclass
class Authority:
    """Makes certificates in its folder."""

    folder: Path
    root: Pair

    def certify(self, name: str, *hosts: str) -> Pair:
        """A certificate for hosts, such as `IP:127.0.0.1`."""
        pair, request = pair_in(self.folder, name), self.folder / f"{name}.csr"
        extensions = self.folder / f"{name}.cnf"
        extensions.write_text("basicConstraints=CA:FALSE\n" + (f"subjectAltName={','.join(hosts)}\n" if hosts else ""))
        openssl("req", *KEY, "-subj", f"/CN={name}", "-keyout", pair.key, "-out", request)
        openssl("x509", "-req", "-in", request, "-CA", self.root.certificate, "-CAkey", self.root.key, "-CAcreateserial",
                "-days", "2", "-extfile", extensions, "-out", pair.certificate)
        return pair


def make_authority(folder: Path, name: str) -> Authority:
    root = pair_in(folder, name)
    openssl("req", "-x509", *KEY, "-days", "2", "-subj", f"/CN={name}", "-keyout", root.key, "-out", root.certificate)
    return Authority(folder, root)


def pair_in(folder: Path, name: str) -> Pair:
    return Pair(folder / f"{name}.pem", folder / f"{name}.key")


def openssl(*arguments):
    subprocess.run([program("openssl"), *arguments], check=True, capture_output=True)
