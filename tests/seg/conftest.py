import json
import os
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def shared(shared):
    """Where the sets lie, within the folder of real data."""
    return shared / "data"


@pytest.fixture(scope="session")
def seg_tool():
    """Runs the crate's example: `cargo build -p engram-seg --example seg_tool` makes it."""
    folder = os.environ.get("ENGRAM_BIN_DIR")
    if folder is None:
        metadata = ["cargo", "metadata", "--format-version", "1", "--no-deps"]
        target = json.loads(subprocess.check_output(metadata, cwd=REPOSITORY))["target_directory"]
        folder = Path(target) / "debug" / "examples"
    program = Path(folder) / "seg_tool"
    assert program.exists(), f"{program} is not built: cargo build -p engram-seg --example seg_tool"

    def run(*arguments):
        return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)

    return run
