import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def transfer_syntaxes():
    """The folder of real files. Absent: the test is skipped, or fails where ENGRAM_STRICT asks for it."""
    shared = Path(os.environ.get("ENGRAM_SHARED", REPOSITORY.parent / "shared"))
    folder = shared / "data/transfer-syntaxes"
    if not folder.is_dir():
        if os.environ.get("ENGRAM_STRICT") == "1":
            pytest.fail("../shared is absent")
        pytest.skip("../shared is absent")
    return folder


@pytest.fixture(scope="session")
def dump_pixels(tmp_path_factory):
    """Decodes a file by the crate's example (`cargo build -p engram-imaging --example dump_pixels` makes it): the
    error's text, or a dictionary with `stored` (frames, rows, columns, samples), `photometric`, and `rgb` where there
    is one."""
    folder = os.environ.get("ENGRAM_BIN_DIR")
    if folder is None:
        metadata = ["cargo", "metadata", "--format-version", "1", "--no-deps"]
        target = json.loads(subprocess.check_output(metadata, cwd=REPOSITORY))["target_directory"]
        folder = Path(target) / "debug" / "examples"
    program = Path(folder) / "dump_pixels"
    assert program.exists(), f"{program} is not built: cargo build -p engram-imaging --example dump_pixels"
    scratch = tmp_path_factory.mktemp("pixels")

    def dump(file):
        done = subprocess.run([program, scratch, file], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        line = json.loads(done.stdout)
        if "error" in line:
            return line["error"]
        arrays = {
            name: np.fromfile(line[name], dtype=line["dtype"]).reshape(line["shape"])
            for name in ("stored", "rgb")
            if name in line
        }
        return arrays | {"photometric": line["photometric"]}

    return dump
