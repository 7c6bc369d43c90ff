"""Engram with a DIMSE port, and a node that it sends to."""

import queue
from dataclasses import dataclass, field
from pathlib import Path

import pydicom
from pynetdicom import AE

from serving import Server

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
    reports: queue.SimpleQueue = field(default_factory=queue.SimpleQueue)

    def handle(self, event):
        self.received.append(event)
        return self.status

    def hear(self, event):
        """Takes a report of storage commitment: event type and data set."""
        self.reports.put((event.event_type, event.event_information))
        return 0, None

    def objects(self) -> list[pydicom.Dataset]:
        """What has arrived since it was asked last."""
        found = []
        for event in self.received:
            event.dataset.file_meta = event.file_meta
            found.append(event.dataset)
        self.received.clear()
        return found
