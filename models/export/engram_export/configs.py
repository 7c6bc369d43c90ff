"""The architectures that can be built without a checkpoint, for a square of any side."""

from dataclasses import dataclass

from transformers import Dinov2Config, Sam2VideoConfig

TINY_TEST = "tiny-test"
STRIDE = 16  # pixels a cell of the coarsest features that are used

HIERA = {
    "facebook/sam2.1-hiera-tiny": {"width": 96, "heads": 1, "blocks": [1, 2, 7, 2]},
    "facebook/sam2.1-hiera-small": {
        "width": 96,
        "heads": 1,
        "blocks": [1, 2, 11, 2],
        "global": [7, 10, 13],
    },
    "facebook/sam2.1-hiera-base-plus": {
        "width": 112,
        "heads": 2,
        "blocks": [2, 3, 16, 3],
        "global": [12, 16, 20],
        "background": 14,
    },
    "facebook/sam2.1-hiera-large": {
        "width": 144,
        "heads": 2,
        "blocks": [2, 6, 36, 4],
        "global": [23, 33, 43],
        "windows": [8, 4, 16, 8],
    },
    # Every kind of module of the real ones, padded windows among them, in a hundredth of the size.
    TINY_TEST: {
        "width": 8,
        "heads": 1,
        "blocks": [1, 2, 3, 1],
        "global": [4, 5],
        "windows": [8, 4, 6, 3],
        "hidden": 32,
        "memory": 8,
        "attention_layers": 2,
        "attention_ff": 32,
        "decoder_ff": 32,
        "iou_hidden": 32,
        "mask_stride": 4,
    },
}

DINO = {
    "facebook/dinov2-small": {"width": 384, "layers": 12, "heads": 6},
    "facebook/dinov2-base": {"width": 768, "layers": 12, "heads": 12},
    "facebook/dinov2-large": {"width": 1024, "layers": 24, "heads": 16},
    "facebook/dinov2-giant": {"width": 1536, "layers": 40, "heads": 24, "swiglu": True},
    TINY_TEST: {"width": 24, "layers": 2, "heads": 2, "pretrained": 98},
}

SAM_NAMES = tuple(HIERA)
DINO_NAMES = tuple(DINO)


@dataclass(frozen=True)
class Sizes:
    """Sides in pixels of the image encoder's square and of the retrieval model's."""

    image: int
    retrieval: int


def sizes(sam: str, dino: str, size: int | None) -> Sizes:
    """What is used where no size is given: 1024, or 128 for the tiny test; 224, or 56."""
    image = size or (128 if sam == TINY_TEST else 1024)
    return Sizes(image=image, retrieval=56 if dino == TINY_TEST else 224)


def sam_config(name: str, size: int) -> Sam2VideoConfig:
    """The configuration of a published SAM 2.1, or of the tiny test, for `size` x `size` pixels."""
    spec = HIERA[name]
    widths = [spec["width"] << stage for stage in range(4)]
    hidden = spec.get("hidden", 256)
    backbone = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": widths[0],
        "num_attention_heads": spec["heads"],
        "blocks_per_stage": spec["blocks"],
        "embed_dim_per_stage": widths,
        "num_attention_heads_per_stage": [spec["heads"] << stage for stage in range(4)],
        "window_size_per_stage": spec.get("windows", [8, 4, 14, 7]),
        "global_attention_blocks": spec.get("global", [5, 7, 9]),
        "window_positional_embedding_background_size": [spec.get("background", 7)] * 2,
    }
    config = Sam2VideoConfig(
        vision_config={
            "model_type": "sam2_vision_model",
            "backbone_config": backbone,
            "backbone_channel_list": widths[::-1],
            "fpn_hidden_size": hidden,
        },
        prompt_encoder_config={"hidden_size": hidden},
        mask_decoder_config={
            "hidden_size": hidden,
            "mlp_dim": spec.get("decoder_ff", 2048),
            "iou_head_hidden_dim": spec.get("iou_hidden", 256),
        },
        memory_attention_hidden_size=hidden,
        memory_attention_num_layers=spec.get("attention_layers", 4),
        memory_attention_feed_forward_hidden_size=spec.get("attention_ff", 2048),
        memory_encoder_hidden_size=hidden,
        memory_encoder_output_channels=spec.get("memory", 64),
        mask_downsampler_embed_dim=hidden,
        mask_downsampler_stride=spec.get("mask_stride", 2),
        memory_fuser_embed_dim=hidden,
        memory_fuser_intermediate_dim=4 * hidden,
    )
    return at_size(config, size)


def at_size(config: Sam2VideoConfig, size: int) -> Sam2VideoConfig:
    """The configuration, changed in place, with all that follows the image's side set to it."""
    cells = size // STRIDE
    config.image_size = size
    config.vision_config.backbone_config.image_size = [size, size]
    config.vision_config.backbone_feature_sizes = [[cells * scale] * 2 for scale in (4, 2, 1)]
    config.prompt_encoder_config.image_size = size
    config.memory_attention_rope_feat_sizes = [cells, cells]
    return config


def dino_config(name: str) -> Dinov2Config:
    """The configuration of a published DINOv2, or of the tiny test."""
    spec = DINO[name]
    return Dinov2Config(
        hidden_size=spec["width"],
        num_hidden_layers=spec["layers"],
        num_attention_heads=spec["heads"],
        use_swiglu_ffn=spec.get("swiglu", False),
        image_size=spec.get("pretrained", 518),
        patch_size=14,
    )
