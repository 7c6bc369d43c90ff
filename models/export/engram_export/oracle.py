"""The official SAM 2 video predictor with the weights of a bundle, and what it answers.

Needs the package `sam2` (requirements-parity.txt).
"""

from contextlib import contextmanager
from dataclasses import dataclass, field
from unittest import mock

import numpy as np
import sam2.modeling.sam2_base
import torch
from sam2.modeling.backbones.hieradet import Hiera
from sam2.modeling.backbones.image_encoder import FpnNeck, ImageEncoder
from sam2.modeling.memory_attention import MemoryAttention, MemoryAttentionLayer
from sam2.modeling.memory_encoder import CXBlock, Fuser, MaskDownSampler, MemoryEncoder
from sam2.modeling.position_encoding import PositionEmbeddingSine
from sam2.modeling.sam.mask_decoder import MaskDecoder
from sam2.modeling.sam.transformer import RoPEAttention, TwoWayTransformer
from sam2.sam2_video_predictor import SAM2VideoPredictor
from torch import Tensor
from transformers import Sam2VideoConfig, Sam2VideoModel

from engram_export.configs import STRIDE
from engram_export.weights import to_official

FAULTS = {
    "noise": "images differ by 1e-6: what rounding alone may do",
    "recent-times": "the nearest two recent memories change their temporal indices",
    "conditioning-time": "conditioning memories get the index of the farthest recent one",
    "distance": "every pointer is one slice farther away",
    "distance-sign": "pointer distances lose their sign or get another one",
    "last-pointer": "the last pointer is missing",
    "all-pointers": "every pointer is missing",
    "last-memory": "the nearest memory is missing",
    "absent-memory": "memories of absent objects are not marked",
    "absent-pointer": "absent objects have a pointer of zeros",
}


@dataclass
class Seen:
    """What the last call of the predictor looked at."""

    memories: int = 0
    distances: list[float] = field(default_factory=list)  # already divided
    stability: float | None = None  # of the single mask, where it counted


class Oracle(SAM2VideoPredictor):
    """The predictor with its memories kept as float32.

    The original rounds them to bfloat16 when it stores them, which is an economy of its GPU path
    and no part of the method: on a CPU, without autocast, it could not even attend to them where no
    pointer is there to widen them again.
    """

    def __init__(self, **options):
        super().__init__(**options)
        self.seen = Seen()
        self.memory_attention.register_forward_pre_hook(self._look, with_kwargs=True)

    def _look(self, module, args, given):
        cells = given["curr"][0].shape[0]
        self.seen.memories = (given["memory"].shape[0] - given["num_obj_ptr_tokens"]) // cells

    def _encode_new_memory(self, *args, **options):
        features, places = super()._encode_new_memory(*args, **options)
        self.exact = features.clone()
        return features, places

    def _run_single_frame_inference(self, *args, **options):
        self.seen = Seen()
        with self._listening():
            out, masks = super()._run_single_frame_inference(*args, **options)
        if out["maskmem_features"] is not None:
            out["maskmem_features"] = self.exact
        return out, masks

    def _run_memory_encoder(self, *args, **options):
        _, places = super()._run_memory_encoder(*args, **options)
        return self.exact, places

    @contextmanager
    def _listening(self):
        """Notes the pointers' distances and the single mask's stability on their way."""
        module, decoder = sam2.modeling.sam2_base, self.sam_mask_decoder
        sine, stability = module.get_1d_sine_pe, decoder._get_stability_scores

        def distances(away, *args, **options):
            self.seen.distances = away.tolist()
            return sine(away, *args, **options)

        def stable(logits):
            scores = stability(logits)
            self.seen.stability = float(scores.flatten()[0])
            return scores

        with (
            mock.patch.object(module, "get_1d_sine_pe", distances),
            mock.patch.object(decoder, "_get_stability_scores", stable),
        ):
            yield

    def begin(self, images: Tensor) -> dict:
        """What init_state returns, for images [F, 3, S, S] that are normalised already."""
        size, device = self.image_size, torch.device("cpu")
        if images.shape[2:] != (size, size):
            raise ValueError(f"images of {tuple(images.shape)} for a side of {size}")
        state = {key: {} for key in PER_SESSION}
        return state | {
            "images": images,
            "num_frames": len(images),
            "offload_video_to_cpu": False,
            "offload_state_to_cpu": False,
            "video_height": size,
            "video_width": size,
            "device": device,
            "storage_device": device,
            "obj_ids": [],
        }

    def output(self, state: dict, obj: int, frame: int) -> dict:
        """What is stored for an object on a slice, the answer to the last click first."""
        index = state["obj_id_to_idx"][obj]
        for place in ("temp_output_dict_per_obj", "output_dict_per_obj"):
            for kind in ("cond_frame_outputs", "non_cond_frame_outputs"):
                if frame in state[place][index][kind]:
                    return state[place][index][kind][frame]
        raise KeyError((obj, frame))


PER_SESSION = (
    "point_inputs_per_obj",
    "mask_inputs_per_obj",
    "cached_features",
    "constants",
    "obj_id_to_idx",
    "obj_idx_to_id",
    "output_dict_per_obj",
    "temp_output_dict_per_obj",
    "frames_tracked_per_obj",
)


def oracle(model: Sam2VideoModel) -> Oracle:
    """The official predictor with this model's weights and its own builder's options."""
    config = model.config
    decoder = config.mask_decoder_config
    prompts = {
        "dynamic_multimask_via_stability": decoder.dynamic_multimask_via_stability,
        "dynamic_multimask_stability_delta": decoder.dynamic_multimask_stability_delta,
        "dynamic_multimask_stability_thresh": decoder.dynamic_multimask_stability_thresh,
    }
    predictor = Oracle(
        image_encoder=image_encoder(config),
        memory_attention=memory_attention(config),
        memory_encoder=memory_encoder(config),
        num_maskmem=config.num_maskmem,
        image_size=config.image_size,
        backbone_stride=STRIDE,
        sigmoid_scale_for_mem_enc=config.sigmoid_scale_for_mem_enc,
        sigmoid_bias_for_mem_enc=config.sigmoid_bias_for_mem_enc,
        binarize_mask_from_pts_for_mem_enc=True,
        use_mask_input_as_output_without_sam=True,
        directly_add_no_mem_embed=True,
        no_obj_embed_spatial=True,
        use_high_res_features_in_sam=True,
        multimask_output_in_sam=True,
        multimask_min_pt_num=0,
        multimask_max_pt_num=1,
        multimask_output_for_tracking=True,
        use_multimask_token_for_obj_ptr=True,
        iou_prediction_use_sigmoid=True,
        use_obj_ptrs_in_encoder=True,
        max_obj_ptrs_in_encoder=config.max_object_pointers_in_encoder,
        add_tpos_enc_to_obj_ptrs=True,
        proj_tpos_enc_in_obj_ptrs=True,
        use_signed_tpos_enc_to_obj_ptrs=True,
        only_obj_ptrs_in_the_past_for_eval=True,
        pred_obj_scores=True,
        pred_obj_scores_mlp=True,
        fixed_no_obj_ptr=True,
        use_mlp_for_obj_ptr_proj=True,
        fill_hole_area=0,
        add_all_frames_to_correct_as_cond=True,
        sam_mask_decoder_extra_args=prompts,
    )
    # SAM2Base fixes two widths of the decoder, which the tiny test configuration does not have.
    if (decoder.mlp_dim, decoder.iou_head_hidden_dim) != (2048, 256):
        predictor.sam_mask_decoder = mask_decoder(config, prompts)
    predictor.load_state_dict(to_official(model))
    return predictor.eval()


def image_encoder(config: Sam2VideoConfig) -> ImageEncoder:
    vision, hiera = config.vision_config, config.vision_config.backbone_config
    return ImageEncoder(
        trunk=Hiera(
            embed_dim=hiera.hidden_size,
            num_heads=hiera.num_attention_heads,
            stages=tuple(hiera.blocks_per_stage),
            global_att_blocks=tuple(hiera.global_attention_blocks),
            window_pos_embed_bkg_spatial_size=tuple(
                hiera.window_positional_embedding_background_size
            ),
            window_spec=tuple(hiera.window_size_per_stage),
        ),
        neck=FpnNeck(
            position_encoding=PositionEmbeddingSine(vision.fpn_hidden_size),
            d_model=vision.fpn_hidden_size,
            backbone_channel_list=vision.backbone_channel_list,
            fpn_top_down_levels=vision.fpn_top_down_levels,
            fpn_interp_model="nearest",
        ),
        scalp=1,
    )


def memory_attention(config: Sam2VideoConfig) -> MemoryAttention:
    hidden = config.memory_attention_hidden_size
    rotary = {
        "rope_theta": config.rope_parameters["rope_theta"],
        "feat_sizes": tuple(config.memory_attention_rope_feat_sizes),
        "embedding_dim": hidden,
        "num_heads": config.memory_attention_num_attention_heads,
        "downsample_rate": config.memory_attention_downsample_rate,
    }
    layer = MemoryAttentionLayer(
        activation=config.memory_attention_feed_forward_hidden_act,
        dim_feedforward=config.memory_attention_feed_forward_hidden_size,
        dropout=0.1,
        pos_enc_at_attn=False,
        self_attention=RoPEAttention(**rotary),
        d_model=hidden,
        pos_enc_at_cross_attn_keys=True,
        pos_enc_at_cross_attn_queries=False,
        cross_attention=RoPEAttention(
            **rotary, rope_k_repeat=True, kv_in_dim=config.memory_encoder_output_channels
        ),
    )
    return MemoryAttention(
        d_model=hidden,
        pos_enc_at_input=True,
        layer=layer,
        num_layers=config.memory_attention_num_layers,
    )


def memory_encoder(config: Sam2VideoConfig) -> MemoryEncoder:
    hidden, memory = config.memory_encoder_hidden_size, config.memory_encoder_output_channels
    return MemoryEncoder(
        out_dim=memory,
        in_dim=hidden,
        position_encoding=PositionEmbeddingSine(memory),
        mask_downsampler=MaskDownSampler(
            embed_dim=config.mask_downsampler_embed_dim,
            kernel_size=config.mask_downsampler_kernel_size,
            stride=config.mask_downsampler_stride,
            padding=config.mask_downsampler_padding,
            total_stride=config.mask_downsampler_total_stride,
        ),
        fuser=Fuser(
            CXBlock(
                config.memory_fuser_embed_dim,
                kernel_size=config.memory_fuser_kernel_size,
                padding=config.memory_fuser_padding,
            ),
            num_layers=config.memory_fuser_num_layers,
        ),
    )


def mask_decoder(config: Sam2VideoConfig, prompts: dict) -> MaskDecoder:
    decoder = config.mask_decoder_config
    return MaskDecoder(
        num_multimask_outputs=decoder.num_multimask_outputs,
        transformer=TwoWayTransformer(
            depth=decoder.num_hidden_layers,
            embedding_dim=decoder.hidden_size,
            mlp_dim=decoder.mlp_dim,
            num_heads=decoder.num_attention_heads,
        ),
        transformer_dim=decoder.hidden_size,
        iou_head_depth=decoder.iou_head_depth,
        iou_head_hidden_dim=decoder.iou_head_hidden_dim,
        use_high_res_features=True,
        iou_prediction_use_sigmoid=True,
        pred_obj_scores=True,
        pred_obj_scores_mlp=True,
        use_multimask_token_for_obj_ptr=True,
        **prompts,
    )


@contextmanager
def faulty(predictor: Oracle, fault: str):
    """The predictor with one mistake, of those in FAULTS, for as long as the context lasts."""
    times, module = predictor.maskmem_tpos_enc, sam2.modeling.sam2_base
    sine = module.get_1d_sine_pe
    kept = {
        name: getattr(predictor, name).detach().clone()
        for name in ("maskmem_tpos_enc", "no_obj_embed_spatial", "no_obj_ptr")
    }
    patches, hook = [], None
    with torch.no_grad():
        if fault == "recent-times":
            times[[0, 1]] = times[[1, 0]]
        elif fault == "conditioning-time":
            times[-1] = times[-2]
        elif fault == "absent-memory":
            predictor.no_obj_embed_spatial.zero_()
        elif fault == "absent-pointer":
            predictor.no_obj_ptr.zero_()
        elif fault == "distance":
            patches = [lambda away, *a, **o: sine(away + 1 / 15, *a, **o)]
        elif fault == "distance-sign":
            patches = [lambda away, *a, **o: sine(-away, *a, **o)]
        elif fault in ("last-pointer", "all-pointers", "last-memory"):
            hook = predictor.memory_attention.register_forward_pre_hook(
                lambda m, a, given: (a, dropped(predictor, fault, given)), with_kwargs=True
            )
    try:
        if patches:
            with mock.patch.object(module, "get_1d_sine_pe", patches[0]):
                yield
        else:
            yield
    finally:
        if hook:
            hook.remove()
        with torch.no_grad():
            for name, value in kept.items():
                getattr(predictor, name).copy_(value)


def dropped(predictor: Oracle, fault: str, given: dict) -> dict:
    """The arguments of memory attention without some of its tokens."""
    pointers, tokens = given["num_obj_ptr_tokens"], given["memory"].shape[0]
    cells, parts = given["curr"][0].shape[0], predictor.hidden_dim // predictor.mem_dim
    keep = np.ones(tokens, bool)
    if fault == "last-memory":
        if tokens - pointers > cells:
            keep[tokens - pointers - cells : tokens - pointers] = False
    else:
        count = min(pointers, parts if fault == "last-pointer" else pointers)
        keep[tokens - count :] = False
        pointers -= count
    keep = torch.from_numpy(keep)
    return given | {
        "memory": given["memory"][keep],
        "memory_pos": given["memory_pos"][keep],
        "num_obj_ptr_tokens": pointers,
    }
