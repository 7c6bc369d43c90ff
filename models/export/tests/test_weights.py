"""Weights under their official names, and what is said where they do not fit."""

import pytest
import torch

from engram_export.configs import TINY_TEST
from engram_export.weights import Unusable, load_dino, load_sam, to_official

SIZE = 128


def test_a_checkpoint_in_the_official_naming_comes_back(sam, tmp_path):
    path = tmp_path / "tuned.pt"
    torch.save({"model": to_official(sam)}, path)
    loaded = load_sam(str(path), TINY_TEST, SIZE, None)
    assert "sha256" in loaded.source
    for key, value in sam.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[key], value), key


def test_a_folder_in_transformers_layout_is_read(sam, dino, tmp_path):
    dino.save_pretrained(tmp_path / "dino")
    loaded = load_dino(str(tmp_path / "dino"), None)
    assert "sha256" in loaded.source
    for key, value in dino.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[key], value), key


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("no_obj_ptr"), "missing: no_obj_ptr"),
        (lambda s: s.pop("no_obj_embed_spatial"), "looks like SAM 2.0"),
        (lambda s: s.update(extra=torch.zeros(1)), "not known: extra"),
        (lambda s: s.update(no_obj_ptr=torch.zeros(3)), "other shapes: no_obj_ptr"),
    ],
)
def test_what_does_not_fit_is_named(sam, tmp_path, change, message):
    state = to_official(sam)
    change(state)
    path = tmp_path / "tuned.pt"
    torch.save({"model": state}, path)
    with pytest.raises(Unusable, match=message):
        load_sam(str(path), TINY_TEST, SIZE, None)


def test_a_file_that_is_no_checkpoint(tmp_path):
    path = tmp_path / "tuned.pt"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(Unusable, match="could not be read"):
        load_sam(str(path), TINY_TEST, SIZE, None)


def test_the_same_seed_gives_the_same_weights():
    one, other = (load_sam(TINY_TEST, None, SIZE, 3).model.state_dict() for _ in range(2))
    assert all(torch.equal(one[key], other[key]) for key in one)
