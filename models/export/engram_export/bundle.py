"""Writes a bundle: ONNX graphs, each compared with torch, two tensors and the manifest.

docs/bundle.md is the contract. A bundle appears whole or not at all.
"""

import hashlib
import itertools
import json
import shutil
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn
from transformers import Dinov2Model, Sam2VideoModel

from engram_export.configs import STRIDE
from engram_export.graphs import (
    ImageEncoder,
    MaskDecoder,
    MaskDownsample,
    MemoryAttention,
    MemoryEncoder,
    PromptEncoder,
    Retrieval,
)

VERSION = "1.0.0"
OPSET = 17
TOLERANCE = {"fp32": 1e-5, "fp16": 2e-2}  # of an output's largest number
LARGEST = 1_800_000_000  # bytes of weights in an ONNX file, which ends at 2 GiB
ALWAYS_FP32 = ("prompt_encoder",)  # halves would round the pixel that was clicked
MEAN = [0.485, 0.456, 0.406]
STD = [0.229, 0.224, 0.225]

# How the runtime uses a bundle of this architecture; the rest of [memory] is SAM 2's own.
USE = {"exemplars_per_slice": 8, "crop_margin": 0.5, "crop_max_extent": 0.6}


class Inexact(Exception):
    """A graph does not compute what torch computes."""


@dataclass
class Graph:
    """A module, its ends, and inputs for B rows, N memories, P pointers and K points."""

    module: nn.Module
    inputs: dict[str, dict[int, str]]  # name -> free axes
    outputs: dict[str, dict[int, str]]
    example: Callable[[int, int, int, int], tuple[Tensor, ...]]
    cases: list[tuple[int, int, int, int]]  # B, N, P, K


@dataclass
class Made:
    """What is said about a graph when it is written."""

    name: str
    bytes: int
    error: float


def graphs(sam: Sam2VideoModel, dino: Dinov2Model, retrieval_size: int) -> dict[str, Graph]:
    """Every graph of the bundle by its name in the contract."""
    config = sam.config
    size, cells = config.image_size, config.image_size // STRIDE
    hidden, memory = config.memory_attention_hidden_size, config.memory_encoder_output_channels
    rows = {0: "B"}

    def ends(*names: str, **free: dict[int, str]) -> dict[str, dict[int, str]]:
        return {name: rows for name in names} | free

    def embed(b: int) -> Tensor:
        return torch.randn(b, hidden, cells, cells)

    def fine(b: int) -> tuple[Tensor, Tensor]:
        return (
            torch.randn(b, hidden // 8, 4 * cells, 4 * cells),
            torch.randn(b, hidden // 4, 2 * cells, 2 * cells),
        )

    def mask(b: int) -> Tensor:
        return (torch.rand(b, 1, size, size) > 0.5).float()

    large = cells > 32  # minutes a call on a CPU: fewer, smaller cases
    rows_only = [(1, 1, 0, 1), (2, 1, 0, 1)] + ([] if large else [(5, 1, 0, 1)])
    if large:
        memories = [(1, 1, 0, 1), (1, 2, 3, 1), (2, 3, 1, 1)]
    else:
        memories = [(1, 1, 0, 1), (1, 2, 1, 1), (2, 3, 0, 1), (3, 7, 16, 1), (1, 14, 29, 1)]
    return {
        "retrieval": Graph(
            Retrieval(dino, retrieval_size),
            ends("image"),
            ends("cls", "patches"),
            lambda b, n, p, k: (torch.randn(b, 3, retrieval_size, retrieval_size),),
            rows_only,
        ),
        "image_encoder": Graph(
            ImageEncoder(sam),
            ends("image"),
            ends("image_embed", "high_res_0", "high_res_1"),
            lambda b, n, p, k: (torch.randn(b, 3, size, size),),
            rows_only,
        ),
        "mask_downsample": Graph(
            MaskDownsample(sam),
            ends("mask"),
            ends("mask_prompt"),
            lambda b, n, p, k: (mask(b),),
            rows_only,
        ),
        "memory_encoder": Graph(
            MemoryEncoder(sam),
            ends("image_embed", "mask_for_mem", "object_score"),
            ends("memory"),
            lambda b, n, p, k: (embed(b), mask(b) * 20 - 10, torch.randn(b, 1) * 5),
            rows_only,
        ),
        "memory_attention": Graph(
            MemoryAttention(sam),
            ends(
                "image_embed",
                memories={0: "B", 1: "N"},
                tpos_idx={0: "N"},
                obj_ptrs={0: "B", 1: "P"},
                ptr_tdiff={0: "P"},
            ),
            ends("cond_embed"),
            lambda b, n, p, k: (
                embed(b),
                torch.randn(b, n, memory, cells, cells),
                torch.randint(0, config.num_maskmem, (n,)),
                torch.randn(b, p, hidden),
                torch.rand(p) * 2 - 1,
            ),
            memories,
        ),
        "prompt_encoder": Graph(
            PromptEncoder(sam),
            ends(
                "mask_input",
                "has_mask",
                points={0: "B", 1: "K"},
                labels={0: "B", 1: "K"},
            ),
            ends("dense", sparse={0: "B", 1: "K_1"}),
            lambda b, n, p, k: (
                torch.rand(b, k, 2) * size,
                torch.randint(-1, 4, (b, k)),
                torch.randn(b, 1, 4 * cells, 4 * cells) * 8,
                torch.randint(0, 2, (b, 1)).float(),
            ),
            [(1, 1, 0, 1), (2, 1, 0, 2), (3, 1, 0, 7), (1, 1, 0, 24)],
        ),
        "mask_decoder": Graph(
            MaskDecoder(sam),
            ends("cond_embed", "high_res_0", "high_res_1", "dense", sparse={0: "B", 1: "K"}),
            ends("masks", "iou", "object_score", "obj_ptr"),
            lambda b, n, p, k: (embed(b), *fine(b), torch.randn(b, k, hidden), embed(b)),
            [(1, 1, 0, 2), (2, 1, 0, 3), (3, 1, 0, 8)],
        ),
    }


# The order of each module's arguments and results, which `ends` does not keep.
ORDER = {
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


def write_graph(graph: Graph, name: str, path: Path, precision: str) -> None:
    """Writes one graph as ONNX; halves are computed with inside, floats go in and come out. Weights
    that do not fit into the file go into one beside it, see `beside`."""
    inputs, outputs = ORDER.get(name, (list(graph.inputs), list(graph.outputs)))
    large = 4 * sum(weight.numel() for weight in graph.module.parameters()) > LARGEST
    torch.manual_seed(0)
    # torch puts the weights of a large graph into many files of its own choosing.
    with tempfile.TemporaryDirectory(dir=path.parent) as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = Path(folder) / path.name
        torch.onnx.export(
            graph.module,
            graph.example(2, 3, 2, 2),
            str(exported),
            input_names=inputs,
            output_names=outputs,
            dynamic_axes=graph.inputs | graph.outputs,
            opset_version=OPSET,
            dynamo=False,
        )
        if large:
            # The conversion to halves needs the shapes, and cannot find them in so large a model.
            onnx.shape_inference.infer_shapes_path(str(exported))
        model = onnx.load(exported)
    if precision == "fp16" and name not in ALWAYS_FP32:
        from onnxruntime.transformers.float16 import convert_float_to_float16

        model = convert_float_to_float16(model, keep_io_types=True, disable_shape_infer=large)
        sort_nodes(model.graph)
    if large:
        onnx.save_model(model, path, save_as_external_data=True, location=beside(path).name)
        beside(path).chmod(path.stat().st_mode)  # for whoever may read the graph
    else:
        onnx.save(model, path)
    onnx.checker.check_model(str(path))


def beside(graph: Path) -> Path:
    """Where a large graph's weights are."""
    return graph.with_suffix(".weights")


def sort_nodes(graph: onnx.GraphProto) -> None:
    """Puts every node behind those whose results it takes; the conversion to halves does not."""
    waiting, ready = list(graph.node), {value.name for value in [*graph.input, *graph.initializer]}
    ready.add("")  # an input that is left out
    placed: list[onnx.NodeProto] = []
    while waiting:
        later = []
        for node in waiting:
            if all(name in ready for name in node.input):
                placed.append(node)
                ready.update(node.output)
            else:
                later.append(node)
        if len(later) == len(waiting):
            raise Inexact("the conversion to halves left a graph that runs in circles")
        waiting = later
    del graph.node[:]
    graph.node.extend(placed)


@torch.no_grad()
def check(graph: Graph, name: str, path: Path) -> float:
    """The largest difference between ONNX Runtime and torch over the graph's cases, as a share of
    the output's largest number (of 1, if all are smaller)."""
    inputs, outputs = ORDER.get(name, (list(graph.inputs), list(graph.outputs)))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    worst = 0.0
    for number, case in enumerate(graph.cases):
        torch.manual_seed(1 + number)
        example = graph.example(*case)
        wanted = graph.module(*example)
        wanted = (wanted,) if isinstance(wanted, Tensor) else wanted
        feed = {key: value.numpy() for key, value in zip(inputs, example, strict=True)}
        for key, got, want in zip(outputs, session.run(outputs, feed), wanted, strict=True):
            if got.shape != tuple(want.shape):
                raise Inexact(f"{name}: {key} is {got.shape} instead of {tuple(want.shape)}")
            if not np.isfinite(got).all():
                raise Inexact(f"{name}: {key} is not finite (B, N, P, K = {case})")
            largest = max(float(want.abs().max()), 1.0)
            worst = max(worst, float(np.abs(got - want.numpy()).max()) / largest)
    return worst


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_bundle(
    sam: Sam2VideoModel,
    dino: Dinov2Model,
    retrieval_size: int,
    out: Path,
    *,
    name: str,
    source: str,
    made_by: str,
    licence: str = "Apache-2.0",
    precision: str = "fp32",
    force: bool = False,
    say: Callable[[str], None] = print,
) -> list[Made]:
    """Writes the bundle `out`, whole or not at all.

    Raises Inexact where a graph is further from torch than its precision allows; FileExistsError
    where `out` is there already and `force` is not.
    """
    if out.exists() and not force:
        raise FileExistsError(out)
    parts = graphs(sam, dino, retrieval_size)
    out.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        made, hashes = [], {}
        for key, graph in parts.items():
            path = scratch / f"{key}.onnx"
            write_graph(graph, key, path, precision)
            error = check(graph, key, path)
            files = [file for file in (path, beside(path)) if file.exists()]
            size = sum(file.stat().st_size for file in files)
            made.append(Made(key, size, error))
            hashes[key] = {file.name: digest(file) for file in files}
            say(f"{key:17s} {size / 1e6:8.2f} MB   largest error {error:.1e}")
            limit = TOLERANCE["fp32" if key in ALWAYS_FP32 else precision]
            if error > limit:
                raise Inexact(f"{key} differs from torch by {error:.1e}, more than {limit:.0e}")
        tensors = {}
        for key, value in {
            "no_obj_ptr": sam.no_object_pointer,
            "no_mem_embed": sam.no_memory_embedding,
        }.items():
            path = scratch / f"{key}.f32"
            path.write_bytes(value.detach().flatten().numpy().astype("<f4").tobytes())
            tensors[key] = digest(path)
        text = manifest(
            sam,
            dino,
            retrieval_size,
            name,
            source,
            made_by,
            licence,
            precision,
            hashes,
            tensors,
        )
        (scratch / "bundle.toml").write_text(text, encoding="utf-8")
        scratch.chmod(0o755)
        replace(scratch, out)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    return made


def replace(scratch: Path, out: Path) -> None:
    """Puts a finished folder in the place of `out`, which may be there."""
    if not out.exists():
        scratch.rename(out)
        return
    names = (out.with_name(f".{out.name}-old-{i}") for i in itertools.count())
    old = next(name for name in names if not name.exists())
    out.rename(old)
    try:
        scratch.rename(out)
    except BaseException:
        old.rename(out)
        raise
    shutil.rmtree(old)


def manifest(
    sam: Sam2VideoModel,
    dino: Dinov2Model,
    retrieval_size: int,
    name: str,
    source: str,
    made_by: str,
    licence: str,
    precision: str,
    graph_hashes: dict[str, dict[str, str]],
    tensor_hashes: dict[str, str],
) -> str:
    """The text of bundle.toml. A graph's hashes: of its file, and of the one beside it if any."""
    config = sam.config
    cells = config.image_size // STRIDE
    hidden, memory = config.memory_attention_hidden_size, config.memory_encoder_output_channels
    decoder = config.mask_decoder_config
    text = f"""\
format = 1
name = {quoted(name)}
version = "{VERSION}"
architecture = "sam2.1"
licence = {quoted(licence)}
source = {quoted(source)}
made_by = {quoted(made_by)}
precision = "{precision}"
opset = {OPSET}

[input]
image_size = {config.image_size}
mean = {MEAN}
std = {STD}
ct_window_hu = [-160.0, 240.0]
percentiles = [0.5, 99.5]

[retrieval]
image_size = {retrieval_size}
mean = {MEAN}
std = {STD}
embedding_dim = {dino.config.hidden_size}

[features]
embed_channels = {hidden}
embed_size = {cells}
high_res_0_channels = {hidden // 8}
high_res_0_size = {4 * cells}
high_res_1_channels = {hidden // 4}
high_res_1_size = {2 * cells}
cond_channels = {hidden}
memory_channels = {memory}
memory_size = {cells}
mask_size = {4 * cells}
mask_tokens = {decoder.num_multimask_outputs + 1}
attention_chunk = {MemoryAttention(sam).chunk}

[memory]
mask_scale = {config.sigmoid_scale_for_mem_enc}
mask_bias = {config.sigmoid_bias_for_mem_enc}
binarise_exemplar = true
binarise_predicted = false
binarise_prompted = true
given_through_mask_size = true
absent_logit = -1024.0
conditioning_tpos = {config.num_maskmem - 1}
recent_memories = {config.num_maskmem - 1}
exemplars_per_slice = {USE["exemplars_per_slice"]}
crop_margin = {USE["crop_margin"]}
crop_max_extent = {USE["crop_max_extent"]}

[pointers]
used = true
dim = {hidden}
most = {config.max_object_pointers_in_encoder}
exemplar_distance = 1

[prompts]
used = true
stability_delta = {decoder.dynamic_multimask_stability_delta}
stability_threshold = {decoder.dynamic_multimask_stability_thresh}
"""
    for key, hashes in graph_hashes.items():
        (file, value), *others = hashes.items()
        text += f'\n[graphs.{key}]\nfile = "{file}"\nsha256 = "{value}"\n'
        for file, value in others:
            text += f'external = [{{ file = "{file}", sha256 = "{value}" }}]\n'
    for key, value in tensor_hashes.items():
        text += f'\n[tensors.{key}]\nfile = "{key}.f32"\nsha256 = "{value}"\n'
    return text


def quoted(text: str) -> str:
    """A TOML string: JSON's escapes are among TOML's."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
