"""A server that asks for tokens, holds a patient, and says what it can do."""

from dataclasses import dataclass

import requests

from serving import Server
from small_ct import make_ct, part10


@dataclass
class Described:
    """A server, the header that lets anyone do anything, and the OpenAPI document."""

    server: Server
    admin: dict[str, str]
    document: dict

    def store(self) -> None:
        """Stores the instances, those that are there already in vain."""
        for one in INSTANCES:
            answer = requests.post(f"{self.server.dicomweb}/studies", data=one, timeout=60,
                                   headers={"Content-Type": "application/dicom", **self.admin})
            assert answer.status_code == 200, answer.text


CT = make_ct(1)
INSTANCES = [part10(CT)]


