"""One tiny model, one bundle and its parity cases, made once for all tests."""

import pytest
import torch

from engram_export.boost import boost
from engram_export.bundle import write_bundle
from engram_export.configs import TINY_TEST
from engram_export.weights import load_dino, load_sam

torch.set_num_threads(1)  # more would wait for each other longer than these small models compute
SEED = 7
SIZE = 128


@pytest.fixture(scope="session")
def sam():
    model = load_sam(TINY_TEST, None, SIZE, SEED).model
    boost(model, SEED)
    return model


@pytest.fixture(scope="session")
def dino():
    return load_dino(TINY_TEST, SEED).model


@pytest.fixture(scope="session")
def bundle(sam, dino, tmp_path_factory):
    out = tmp_path_factory.mktemp("bundles") / "tiny"
    write_bundle(
        sam, dino, 56, out, name="tiny", source='a "test"', made_by="pytest", say=lambda line: None
    )
    return out


@pytest.fixture(scope="session")
def predictor(sam):
    pytest.importorskip("sam2", reason="requirements-parity.txt is not installed")
    from engram_export.oracle import oracle

    return oracle(sam)
