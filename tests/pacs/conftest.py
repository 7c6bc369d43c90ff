"""Engram with rules, and the nodes that its results go to."""

import pytest

from serving import free_port
from ward import ENGRAM, Engram, Pacs


@pytest.fixture
def pacs():
    """A PACS of pynetdicom, which takes everything until it is told otherwise."""
    pacs = Pacs(free_port())
    pacs.start()
    yield pacs
    pacs.stop()


@pytest.fixture
def house(engram, start_engram, tmp_path):
    """A function that starts Engram with these lines of configuration, a DIMSE port, short waits and a bank of three
    patients."""

    def start(*lines: str, taught: int = 3) -> Engram:
        port = free_port()
        config = tmp_path / "config.toml"
        config.write_text("\n".join([
            "[dimse]", f'bind = "127.0.0.1:{port}"', f'ae_title = "{ENGRAM}"',
            "[outbox]", "first_retry_seconds = 1", "longest_retry_seconds = 1", *lines]))
        house = Engram(start_engram(config=config), port, config)
        house.teach(taught)
        return house

    return start
