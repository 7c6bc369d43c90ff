"""Writes the bundle: ONNX graphs, checked against torch, and their manifest."""

import argparse
import copy
import hashlib
import os
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn

from engram_train.model import GRID, IMAGE_SIZE, Compact, Retrieval, Shape, Vote
from engram_train.train import HALF, weights

OPSET = 17
TOLERANCE = 1e-5  # of an output's largest number
SMALL = 1024  # numbers; what is smaller stays as it is
VERSION = "0.8.2"

# How the runtime should use the bundle; chosen on the development protocols (log.md).
USE = {
    "recent_memories": 6,
    "exemplars_per_slice": 24,
    "crop_margin": 0.5,
    "crop_max_extent": 0.6,
}


class AttentionGraph(nn.Module):
    """memory_attention as the contract has it: one tpos_idx [N] for the whole batch.

    The vote goes along as the last channels of the conditioned embedding.
    """

    def __init__(self, model: Compact):
        super().__init__()
        self.attention = model.attention
        self.vote = Vote(model.shape)

    def forward(self, image_embed: Tensor, memories: Tensor, tpos_idx: Tensor) -> Tensor:
        time = tpos_idx[None].expand(memories.shape[0], -1)
        cond = self.attention(image_embed, memories, time)
        return torch.cat([cond, self.vote(image_embed, memories, tpos_idx)], dim=1)


class DecoderGraph(nn.Module):
    """mask_decoder as the contract has it, joined with the vote."""

    def __init__(self, model: Compact):
        super().__init__()
        self.decoder = model.decoder
        self.vote = Vote(model.shape)

    def forward(
        self, cond_embed: Tensor, high_res_0: Tensor, high_res_1: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        shape = self.decoder.shape
        cond, share = cond_embed.split([shape.cond, shape.bins], dim=1)
        logits, iou, score = self.decoder(cond, high_res_0, high_res_1)
        return self.vote.join(logits, share), iou, score


def graphs(model: Compact, retrieval: Retrieval) -> dict:
    """Name -> (module, inputs, outputs, maker of example inputs for a batch B and N memories)."""
    s = model.shape
    image = lambda b, n: (torch.rand(b, 3, IMAGE_SIZE, IMAGE_SIZE),)  # noqa: E731
    embed = lambda b: torch.randn(b, s.embed, GRID, GRID) * 0.5  # noqa: E731
    return {
        "retrieval": (retrieval, ["image"], ["cls", "patches"], image),
        "image_encoder": (
            model.encoder,
            ["image"],
            ["image_embed", "high_res_0", "high_res_1"],
            image,
        ),
        "memory_encoder": (
            model.memory,
            ["image_embed", "mask_for_mem", "object_score"],
            ["memory"],
            lambda b, n: (
                embed(b),
                torch.rand(b, 1, IMAGE_SIZE, IMAGE_SIZE),
                torch.randn(b, 1) * 5,
            ),
        ),
        "memory_attention": (
            AttentionGraph(model),
            ["image_embed", "memories", "tpos_idx"],
            ["cond_embed"],
            lambda b, n: (
                embed(b),
                torch.randn(b, n, s.memory, GRID, GRID) * 0.5,
                torch.randint(0, s.time_indices, (n,)),
            ),
        ),
        "mask_decoder": (
            DecoderGraph(model),
            ["cond_embed", "high_res_0", "high_res_1"],
            ["masks", "iou", "object_score"],
            lambda b, n: (
                torch.randn(b, s.cond + s.bins, GRID, GRID),
                torch.randn(b, s.high_res_0, 4 * GRID, 4 * GRID),
                torch.randn(b, s.high_res_1, 2 * GRID, 2 * GRID),
            ),
        ),
    }


def check(path: Path, module: nn.Module, inputs: list[str], make) -> float:
    """Largest difference between ONNX Runtime and torch over several B and N, as a share of the
    output's largest number (of 1, if all are smaller)."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    worst = 0.0
    for batch, count in [(1, 1), (3, 2), (2, 8), (5, 14)]:
        example = make(batch, count)
        feed = {name: value.numpy() for name, value in zip(inputs, example, strict=True)}
        with torch.no_grad():
            expected = module(*example)
        if isinstance(expected, Tensor):
            expected = (expected,)
        for got, want in zip(session.run(None, feed), expected, strict=True):
            if got.shape != tuple(want.shape):
                raise RuntimeError(f"{path.name}: {got.shape} instead of {tuple(want.shape)}")
            size = max(1.0, float(want.abs().max()))
            worst = max(worst, float(np.abs(got - want.numpy()).max()) / size)
    return worst


@dataclass(frozen=True)
class Origin:
    """What the manifest says of the bundle."""

    name: str
    source: str
    made_by: str


def export(model: Compact, retrieval: Retrieval, out: Path, origin: Origin) -> dict[str, float]:
    """Writes every graph and bundle.toml into `out`, the manifest last; returns the errors."""
    model.eval()
    retrieval.eval()
    model.attention.plain = True
    out.mkdir(parents=True, exist_ok=True)
    errors, digests = {}, {}
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".export-") as folder:
        scratch = Path(folder)
        for name, (module, inputs, outputs, make) in graphs(model, retrieval).items():
            path = scratch / f"{name}.onnx"
            axes = {key: {0: "B"} for key in inputs + outputs}
            if name == "memory_attention":
                axes["memories"] = {0: "B", 1: "N"}
                axes["tpos_idx"] = {0: "N"}
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                torch.onnx.export(
                    module,
                    make(2, 3),
                    str(path),
                    input_names=inputs,
                    output_names=outputs,
                    dynamic_axes=axes,
                    opset_version=OPSET,
                    do_constant_folding=False,  # weights keep their names (`weights`)
                    dynamo=False,
                )
            store_halves(path)
            onnx.checker.check_model(str(path))
            errors[name] = check(path, module, inputs, make)
            if errors[name] > TOLERANCE:
                raise RuntimeError(f"{name}: ONNX differs from torch by {errors[name]:.2e}")
            digests[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        (scratch / "bundle.toml").write_text(manifest(model.shape, digests, origin))
        for name in digests:
            os.replace(scratch / f"{name}.onnx", out / f"{name}.onnx")
        os.replace(scratch / "bundle.toml", out / "bundle.toml")
    model.attention.plain = False
    return errors


def manifest(s: Shape, digests: dict[str, str], origin: Origin) -> str:
    """The text of bundle.toml."""
    text = f"""\
format = 1
name = "{origin.name}"
version = "{VERSION}"
architecture = "compact"
licence = "MIT OR Apache-2.0"
source = "{origin.source}"
made_by = "{origin.made_by}"
precision = "fp32"
opset = {OPSET}

[input]
image_size = {IMAGE_SIZE}
mean = [0.0, 0.0, 0.0]
std = [1.0, 1.0, 1.0]
ct_window_hu = [-160.0, 240.0]
percentiles = [0.5, 99.5]

[retrieval]
image_size = {IMAGE_SIZE}
mean = [0.0, 0.0, 0.0]
std = [1.0, 1.0, 1.0]
embedding_dim = {Retrieval.DIM}

[features]
embed_channels = {s.embed}
embed_size = {GRID}
high_res_0_channels = {s.high_res_0}
high_res_0_size = {4 * GRID}
high_res_1_channels = {s.high_res_1}
high_res_1_size = {2 * GRID}
cond_channels = {s.cond + s.bins}
memory_channels = {s.memory}
memory_size = {GRID}
mask_size = {IMAGE_SIZE}
mask_tokens = 1

[memory]
mask_scale = 1.0
mask_bias = 0.0
binarise_exemplar = true
binarise_predicted = false
conditioning_tpos = {s.time_indices - 1}
recent_memories = {USE["recent_memories"]}
exemplars_per_slice = {USE["exemplars_per_slice"]}
crop_margin = {USE["crop_margin"]}
crop_max_extent = {USE["crop_max_extent"]}

[pointers]
used = false
dim = 0

[prompts]
used = false
"""
    for name, digest in digests.items():
        text += f'\n[graphs.{name}]\nfile = "{name}.onnx"\nsha256 = "{digest}"\n'
    return text


def load(checkpoint: Path | None) -> Compact:
    """The averaged weights of a training checkpoint, or seeded random ones."""
    torch.manual_seed(0)
    model = Compact()
    if checkpoint:
        model.load_state_dict(weights(checkpoint))
    return rounded(model).eval()


@torch.no_grad()
def rounded(model: Compact) -> Compact:
    """The model with the weights that are stored as halves rounded to them."""
    for weight in model.parameters():
        if weight.numel() >= SMALL:
            weight.copy_(weight.half())
    return model


def load_retrieval(model: Compact, fitted: Path | None) -> Retrieval:
    """The descriptor over the model's own encoder, `fitted` by engram_train.retrieval or as an
    exported bundle has it."""
    encoder = copy.deepcopy(model.encoder)
    features = model.shape.features
    state = {"mean": torch.zeros(features), "components": torch.eye(Retrieval.COMPONENTS, features)}
    if fitted and fitted.is_dir():
        graph = onnx.load(fitted / "retrieval.onnx").graph
        kept = {w.name: numpy_helper.to_array(w) for w in graph.initializer}
        state = {name: torch.from_numpy(kept[name].copy()).squeeze() for name in state}
    elif fitted:
        state = torch.load(fitted, map_location="cpu", weights_only=False)
    return Retrieval(encoder, model.shape, state["mean"], state["components"]).eval()


def store_halves(path: Path) -> None:
    """Stores the weights of a graph as halves, which lose nothing if they are rounded already."""
    model = onnx.load(path)
    casts = []
    for weight in model.graph.initializer:
        values = numpy_helper.to_array(weight)
        if values.dtype != np.float32 or values.size < SMALL:
            continue
        halves = values.astype(np.float16)
        if not np.array_equal(halves.astype(np.float32), values):
            continue
        name = weight.name
        weight.CopyFrom(numpy_helper.from_array(halves, name + HALF))
        casts.append(helper.make_node("Cast", [weight.name], [name], to=onnx.TensorProto.FLOAT))
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(casts + nodes)
    onnx.save(model, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, help="from engram_train.train, or a bundle")
    parser.add_argument("--retrieval", type=Path, help="from engram_train.retrieval, or a bundle")
    parser.add_argument("--out", type=Path, required=True, help="bundle folder")
    parser.add_argument("--name", default="compact")
    parser.add_argument(
        "--source",
        default="trained by models/train on synthetic images only",
        help="what the manifest says of it",
    )
    args = parser.parse_args()
    origin = Origin(
        args.name, args.source, "python -m engram_train.export (models/train/README.md)"
    )
    torch.manual_seed(1)
    model = load(args.checkpoint)
    errors = export(model, load_retrieval(model, args.retrieval), args.out, origin)
    for name, error in errors.items():
        size = (args.out / f"{name}.onnx").stat().st_size / 1e6
        print(f"{name:17s} {size:6.2f} MB   largest error {error:.1e}")


if __name__ == "__main__":
    main()
