"""Commands over a data folder of a test's own."""

import pytest

from guarding import Commands
from serving import free_port


@pytest.fixture
def commands(engram, tmp_path) -> Commands:
    (tmp_path / "data").mkdir(exist_ok=True)
    return Commands(engram, tmp_path / "data")


@pytest.fixture
def outside() -> str:
    """An address that other machines could reach."""
    return f"0.0.0.0:{free_port()}"
