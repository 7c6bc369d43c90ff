"""Where weights come from: a published checkpoint, a file in the official naming, or a seed."""

import hashlib
import math
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import Dinov2Config, Dinov2Model, Sam2VideoConfig, Sam2VideoModel
from transformers.utils import logging

from engram_export.configs import DINO_NAMES, SAM_NAMES, TINY_TEST, at_size, dino_config, sam_config

OFFICIAL_FILES = (".pt", ".pth")
POINTS = "prompt_encoder.point_embed.weight"  # [4, C]; four embeddings in the official naming
UNUSED = ("shared_image_embedding.",)  # a second copy of the prompt encoder's matrix

# What a key of transformers' Sam2VideoModel is called in facebookresearch/sam2.
RENAMED = [
    (
        r"^vision_encoder\.backbone\.patch_embed\.projection\.",
        "image_encoder.trunk.patch_embed.proj.",
    ),
    (r"^vision_encoder\.backbone\.", "image_encoder.trunk."),
    (r"^vision_encoder\.neck\.convs\.(\d+)\.", r"image_encoder.neck.convs.\1.conv."),
    (r"^memory_encoder\.feature_projection\.", "memory_encoder.pix_feat_proj."),
    (r"^memory_encoder\.projection\.", "memory_encoder.out_proj."),
    (r"^memory_encoder\.memory_fuser\.", "memory_encoder.fuser."),
    (r"\.depthwise_conv\.", ".dwconv."),
    (r"\.pointwise_conv(\d)\.", r".pwconv\1."),
    (r"(fuser\.layers\.\d+)\.scale$", r"\1.gamma"),
    (r"\.layer_norm_final_attn\.", ".norm_final_attn."),
    (r"^prompt_encoder\.mask_embed\.conv1\.", "sam_prompt_encoder.mask_downscaling.0."),
    (r"^prompt_encoder\.mask_embed\.layer_norm1\.", "sam_prompt_encoder.mask_downscaling.1."),
    (r"^prompt_encoder\.mask_embed\.conv2\.", "sam_prompt_encoder.mask_downscaling.3."),
    (r"^prompt_encoder\.mask_embed\.layer_norm2\.", "sam_prompt_encoder.mask_downscaling.4."),
    (r"^prompt_encoder\.mask_embed\.conv3\.", "sam_prompt_encoder.mask_downscaling.6."),
    (
        r"^prompt_encoder\.shared_embedding\.positional_embedding$",
        "sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
    ),
    (r"^prompt_encoder\.", "sam_prompt_encoder."),
    (r"^mask_decoder\.upscale_conv1\.", "sam_mask_decoder.output_upscaling.0."),
    (r"^mask_decoder\.upscale_layer_norm\.", "sam_mask_decoder.output_upscaling.1."),
    (r"^mask_decoder\.upscale_conv2\.", "sam_mask_decoder.output_upscaling.3."),
    (r"^mask_decoder\.", "sam_mask_decoder."),
    (r"\.layer_norm(\d?)\.", r".norm\1."),
    (r"\.o_proj\.", ".out_proj."),
    (r"\.mlp\.proj_in\.", ".mlp.layers.0."),
    (r"\.mlp\.proj_out\.", ".mlp.layers.1."),
    (r"^no_memory_embedding$", "no_mem_embed"),
    (r"^no_memory_positional_encoding$", "no_mem_pos_enc"),
    (r"^memory_temporal_positional_encoding$", "maskmem_tpos_enc"),
    (r"^no_object_pointer$", "no_obj_ptr"),
    (r"^occlusion_spatial_embedding_parameter$", "no_obj_embed_spatial"),
    (r"^temporal_positional_encoding_projection_layer\.", "obj_ptr_tpos_proj."),
    (r"^object_pointer_proj\.", "obj_ptr_proj."),
]
# Three layers, of which transformers numbers only the middle one.
THREE_LAYERS = re.compile(
    r"(obj_ptr_proj|pred_obj_score_head|iou_prediction_head|output_hypernetworks_mlps\.\d+)\."
    r"(proj_in|layers\.0|proj_out)\."
)
PLACE = {"proj_in": "layers.0", "layers.0": "layers.1", "proj_out": "layers.2"}
DOWNSAMPLER = re.compile(
    r"^memory_encoder\.mask_downsampler\.(?:layers\.(\d+)\.(conv|layer_norm)|final_conv)\."
)
NO_MODEL = "the folder holds no such model in transformers' layout (config.json, model.safetensors)"
NO_DOWNLOAD = (
    "it could be neither downloaded nor found among earlier downloads; without a network, give the "
    "path of a folder that holds config.json and model.safetensors, or --random-init SEED for a "
    "bundle that only tests"
)


class Unusable(Exception):
    """A checkpoint could not be used; the message says what to do."""


@dataclass
class Loaded:
    """A model in evaluation mode and where its weights come from."""

    model: nn.Module
    source: str  # for people: a repository and its commit, a file and its hash, or a seed


def official_name(key: str, mask_layers: int) -> str:
    """What facebookresearch/sam2 calls a key of transformers' Sam2VideoModel.

    `mask_layers`: how many strided layers the memory encoder's mask downsampler has.
    """
    if match := DOWNSAMPLER.match(key):
        layer = mask_layers if match[1] is None else int(match[1])
        place = 3 * layer + (match[2] == "layer_norm")
        return f"memory_encoder.mask_downsampler.encoder.{place}.{key[match.end() :]}"
    for pattern, name in RENAMED:
        key = re.sub(pattern, name, key)
    return THREE_LAYERS.sub(lambda m: f"{m[1]}.{PLACE[m[2]]}.", key)


def to_official(model: Sam2VideoModel) -> dict[str, Tensor]:
    """The model's weights under their official names."""
    state, mask_layers = {}, len(model.memory_encoder.mask_downsampler.layers)
    for key, value in model.state_dict().items():
        if key.startswith(UNUSED):
            continue
        if key == POINTS:
            for label, embedding in enumerate(value):
                name = f"sam_prompt_encoder.point_embeddings.{label}.weight"
                state[name] = embedding[None].clone()
        else:
            state[official_name(key, mask_layers)] = value.clone()
    return state


@torch.no_grad()
def from_official(model: Sam2VideoModel, state: dict[str, Tensor], origin: str) -> None:
    """Fills the model from weights under their official names.

    Raises Unusable where one is missing, left over, or of another shape.
    """
    wanted = to_official(model)
    missing = sorted(wanted.keys() - state.keys())
    left = sorted(state.keys() - wanted.keys())
    if missing or left:
        hint = ""
        if set(missing) <= {
            "no_obj_embed_spatial",
            "obj_ptr_tpos_proj.weight",
            "obj_ptr_tpos_proj.bias",
        }:
            hint = "; it looks like SAM 2.0, and only SAM 2.1 can be exported"
        raise Unusable(
            f"{origin} is not the architecture that --sam-config names{hint} "
            f"(missing: {some(missing)}; not known: {some(left)})"
        )
    wrong = sorted(key for key in wanted if wanted[key].shape != state[key].shape)
    if wrong:
        raise Unusable(
            f"{origin} is not the architecture that --sam-config names "
            f"(other shapes: {some(wrong)})"
        )
    filled, mask_layers = {}, len(model.memory_encoder.mask_downsampler.layers)
    for key in model.state_dict():
        if key.startswith(UNUSED):
            filled[key] = state["sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"]
        elif key == POINTS:
            parts = [state[f"sam_prompt_encoder.point_embeddings.{i}.weight"] for i in range(4)]
            filled[key] = torch.cat(parts)
        else:
            filled[key] = state[official_name(key, mask_layers)]
    model.load_state_dict({key: value.float() for key, value in filled.items()})


def some(names: list[str]) -> str:
    """The first few of some names, for a message."""
    return (
        ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") or "none"
    )


def sam_model(config: Sam2VideoConfig) -> Sam2VideoModel:
    """An untrained SAM 2.1, which the caller fills."""
    config._attn_implementation = "sdpa"
    model = Sam2VideoModel(config)
    memory = config.memory_encoder_output_channels
    for layer in model.memory_attention.layers:
        cross = layer.cross_attn_image
        if cross.k_proj.in_features != memory:  # transformers builds it for 64 channels only
            cross.k_proj = nn.Linear(memory, cross.internal_dim)
            cross.v_proj = nn.Linear(memory, cross.internal_dim)
    return model.eval()


def load_sam(source: str, architecture: str | None, size: int, seed: int | None) -> Loaded:
    """SAM 2.1 for `size` x `size` pixels.

    `source`: a published name, a folder in transformers' layout, or a checkpoint file in the
    official naming, whose architecture `architecture` says (a published name or such a folder).
    With a `seed`, random weights of a published name's or the tiny test's architecture.
    """
    if seed is not None:
        if source not in SAM_NAMES:
            raise Unusable(
                f"--random-init knows no architecture {source}: use {', '.join(SAM_NAMES)}"
            )
        model = sam_model(sam_config(source, size))
        randomise(model, seed)
        return Loaded(model, f"{source} with random weights, seed {seed}")
    if source == TINY_TEST:
        raise Unusable(f"--sam {TINY_TEST} has no checkpoint: add --random-init SEED")
    if source.endswith(OFFICIAL_FILES):
        return load_official(Path(source), architecture, size)
    config = fetch(Sam2VideoConfig, source)
    model = fetch(Sam2VideoModel, source, config=at_size(config, size), dtype=torch.float32)
    return Loaded(model.eval(), published(source, config))


def load_official(path: Path, architecture: str | None, size: int) -> Loaded:
    """SAM 2.1 from a checkpoint file as facebookresearch/sam2 and fine-tunings of it write them."""
    if architecture is None:
        raise Unusable(
            f"a checkpoint file does not say its architecture: add --sam-config, one of "
            f"{', '.join(SAM_NAMES[:-1])}"
        )
    if not path.is_file():
        raise Unusable(f"there is no file {path}")
    if architecture in SAM_NAMES:
        config = sam_config(architecture, size)
    else:
        config = at_size(fetch(Sam2VideoConfig, architecture), size)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever torch and pickle find in a file that is none
        raise Unusable(f"{path} could not be read as a checkpoint: {error}") from error
    state = state.get("model", state) if isinstance(state, dict) else None
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise Unusable(f'{path} holds no weights: expected {{"model": state_dict}}')
    model = sam_model(config)
    from_official(model, state, str(path))
    return Loaded(model, f"{path.name} (sha256 {digest}; architecture {architecture})")


def load_dino(source: str, seed: int | None) -> Loaded:
    """DINOv2: a published name or a folder in transformers' layout; with a seed, random weights."""
    if seed is not None:
        if source not in DINO_NAMES:
            raise Unusable(
                f"--random-init knows no architecture {source}: use {', '.join(DINO_NAMES)}"
            )
        config = dino_config(source)
        config._attn_implementation = "sdpa"
        model = Dinov2Model(config).eval()
        randomise(model, seed + 1)
        return Loaded(model, f"{source} with random weights, seed {seed}")
    if source == TINY_TEST:
        raise Unusable(f"--dino {TINY_TEST} has no checkpoint: add --random-init SEED")
    config = fetch(Dinov2Config, source)
    model = fetch(Dinov2Model, source, config=config, dtype=torch.float32)
    return Loaded(model.eval(), published(source, config))


def fetch(kind: type, source: str, **options):
    """`kind.from_pretrained`, with an error that says what to do, and no weight left unset."""
    logging.set_verbosity_error()
    loads = issubclass(kind, nn.Module)
    try:
        if not loads:
            return kind.from_pretrained(source)
        model, report = kind.from_pretrained(source, output_loading_info=True, **options)
    except (OSError, ValueError) as error:
        advice = NO_MODEL if Path(source).is_dir() else NO_DOWNLOAD
        reason = str(error).strip().splitlines()
        raise Unusable(f"{source}: {advice} ({reason[0] if reason else error!r})") from error
    missing = [key for key in report["missing_keys"] if not key.startswith(UNUSED)]
    wrong = [str(key) for key in report.get("mismatched_keys", [])]
    if missing or wrong:
        raise Unusable(
            f"{source} is no complete {kind.__name__} "
            f"(missing: {some(sorted(missing))}; other shapes: {some(sorted(wrong))})"
        )
    return model


def published(source: str, config) -> str:
    """A source and, where it is known, the commit that was used."""
    if Path(source).is_dir():
        weights = Path(source) / "model.safetensors"
        if weights.is_file():
            digest = hashlib.sha256(weights.read_bytes()).hexdigest()
            return f"{Path(source).resolve().name} (model.safetensors sha256 {digest})"
        return Path(source).resolve().name
    commit = getattr(config, "_commit_hash", None)
    return f"{source} (commit {commit})" if commit else source


@torch.no_grad()
def randomise(model: nn.Module, seed: int) -> None:
    """Fills every weight from a seed, none of them zero, so that no module is idle."""
    generator = torch.Generator().manual_seed(seed)
    tensors = list(model.named_parameters())
    tensors += [(k, v) for k, v in model.named_buffers() if k.endswith("positional_embedding")]
    for key, value in tensors:
        noise = torch.randn(value.shape, generator=generator)
        if key.endswith("positional_embedding"):
            value.copy_(noise)
        elif "norm" in key.split(".")[-2:][0] and key.endswith("weight"):
            value.copy_(1 + 0.1 * noise)
        elif key.endswith(("lambda1", "scale")):
            value.copy_(0.3 + 0.1 * noise)
        elif value.dim() == 1:
            value.copy_(0.1 * noise)
        elif is_embedding(key):
            value.copy_(0.5 * noise)
        else:
            value.copy_(noise / math.sqrt(value[0].numel()))
    shared = getattr(model, "shared_image_embedding", None)
    if shared is not None:
        shared.positional_embedding.copy_(
            model.prompt_encoder.shared_embedding.positional_embedding
        )


def is_embedding(key: str) -> bool:
    """Whether a weight is a vector that is added, not a matrix that multiplies."""
    parts = key.split(".")
    name = parts[-2] if parts[-1] == "weight" else parts[-1]
    return name.endswith(
        ("_embed", "_embedding", "_embeddings", "_token", "_tokens", "_window")
    ) or (len(parts) == 1)
