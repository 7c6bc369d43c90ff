"""A bundle is complete, its hashes hold, and it appears whole or not at all."""

import hashlib
import tomllib

import numpy as np
import onnx
import pytest

from engram_export import bundle as writing
from engram_export.bundle import Inexact, quoted, write_bundle

ENDS = {
    "retrieval": (["image"], ["cls", "patches"]),
    "image_encoder": (["image"], ["image_embed", "high_res_0", "high_res_1"]),
    "mask_downsample": (["mask"], ["mask_prompt"]),
    "memory_encoder": (["image_embed", "mask_for_mem", "object_score"], ["memory"]),
    "memory_attention": (
        ["image_embed", "memories", "tpos_idx", "obj_ptrs", "ptr_tdiff"],
        ["cond_embed"],
    ),
    "prompt_encoder": (["points", "labels", "mask_input", "has_mask"], ["sparse", "dense"]),
    "mask_decoder": (
        ["cond_embed", "high_res_0", "high_res_1", "sparse", "dense"],
        ["masks", "iou", "object_score", "obj_ptr"],
    ),
}
WHOLE_NUMBERS = {"tpos_idx", "labels"}


def read(folder):
    return tomllib.loads((folder / "bundle.toml").read_text(encoding="utf-8"))


def test_every_file_is_named_and_its_hash_holds(bundle):
    manifest = read(bundle)
    files = {"bundle.toml"}
    for entry in [*manifest["graphs"].values(), *manifest["tensors"].values()]:
        data = (bundle / entry["file"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == entry["sha256"]
        files.add(entry["file"])
    assert {path.name for path in bundle.iterdir()} == files
    assert set(manifest["graphs"]) == set(ENDS)
    assert manifest["source"] == 'a "test"'


@pytest.mark.parametrize("name", ENDS)
def test_a_graph_has_the_contracts_ends(bundle, name):
    graph = onnx.load(bundle / f"{name}.onnx").graph
    inputs, outputs = ENDS[name]
    assert [end.name for end in graph.input] == inputs
    assert [end.name for end in graph.output] == outputs
    for end in [*graph.input, *graph.output]:
        kind = onnx.TensorProto.INT64 if end.name in WHOLE_NUMBERS else onnx.TensorProto.FLOAT
        assert end.type.tensor_type.elem_type == kind


def test_the_tensors_are_the_models(bundle, sam):
    for key, weight in {
        "no_obj_ptr": sam.no_object_pointer,
        "no_mem_embed": sam.no_memory_embedding,
    }.items():
        stored = np.fromfile(bundle / f"{key}.f32", "<f4")
        assert np.array_equal(stored, weight.detach().flatten().numpy())


def test_numbers_fit_each_other(bundle):
    manifest = read(bundle)
    features, cells = manifest["features"], manifest["input"]["image_size"] // 16
    assert features["embed_size"] == features["memory_size"] == cells
    assert features["mask_size"] == features["high_res_0_size"] == 4 * cells
    assert manifest["pointers"]["dim"] % features["memory_channels"] == 0
    assert manifest["memory"]["conditioning_tpos"] == manifest["memory"]["recent_memories"] == 6


def test_halves_stay_near(sam, dino, tmp_path):
    said = []
    out = tmp_path / "halves"
    write_bundle(
        sam,
        dino,
        56,
        out,
        name="halves",
        source="test",
        made_by="pytest",
        precision="fp16",
        say=said.append,
    )
    assert read(out)["precision"] == "fp16"
    ends = onnx.load(out / "memory_attention.onnx").graph.input
    assert ends[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT


def test_a_failed_export_leaves_nothing(sam, dino, tmp_path, monkeypatch):
    monkeypatch.setitem(writing.TOLERANCE, "fp32", 0.0)
    with pytest.raises(Inexact, match="differs from torch"):
        write_bundle(sam, dino, 56, tmp_path / "b", name="b", source="", made_by="", say=str)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_weights_that_an_onnx_file_does_not_hold_lie_beside_it(
    sam, dino, tmp_path, monkeypatch, precision
):
    monkeypatch.setattr(writing, "LARGEST", 100_000)
    out = tmp_path / "b"
    write_bundle(
        sam, dino, 56, out, name="b", source="", made_by="", precision=precision, say=str
    )  # which compares with torch
    encoder = read(out)["graphs"]["image_encoder"]
    (weights,) = encoder["external"]
    assert weights == {
        "file": "image_encoder.weights",
        "sha256": writing.digest(out / "image_encoder.weights"),
    }
    modes = {(out / name).stat().st_mode for name in (weights["file"], encoder["file"])}
    assert len(modes) == 1
    assert (out / "image_encoder.weights").stat().st_size > 20 * (
        out / encoder["file"]
    ).stat().st_size / 100
    assert "external" not in read(out)["graphs"]["mask_downsample"]
    named = {file.name for file in out.iterdir()}
    assert not [name for name in named if not name.endswith((".onnx", ".weights", ".f32", ".toml"))]


def test_text_is_quoted_as_toml_has_it():
    text = 'a "b" \\ \t \n é'
    assert tomllib.loads(f"x = {quoted(text)}") == {"x": text}
