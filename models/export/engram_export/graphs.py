"""The seven graphs of the bundle contract, around the modules of transformers.

Where transformers deviates from facebookresearch/sam2, these follow facebookresearch/sam2: every
mask token has its own pointer, nothing is rounded to bfloat16, and the runtime chooses among masks.
B, N, P and K are free; all that depends on the image's side alone is a constant.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Dinov2Model, Sam2VideoModel

from engram_export.configs import STRIDE

CHUNK = 512  # queries that memory attention compares at once
TEMPERATURE = 10000.0
POSITION_SHARE = (
    0.1  # of the positions' encoding, added to the slice that memory attention conditions
)
DINO_OFFSET = 0.1  # cells; facebookresearch/dinov2 adds it before it scales the positions' encoding


def sine_grid(channels: int, side: int) -> Tensor:
    """The encoding [channels, side, side] of a grid's positions: rows, then columns."""
    half = channels // 2
    place = torch.arange(1, side + 1, dtype=torch.float32)
    place = place / (place[-1] + 1e-6) * (2 * math.pi)
    divisor = TEMPERATURE ** (2 * (torch.arange(half) // 2).float() / half)
    angle = place[:, None] / divisor
    encoded = torch.stack([angle[:, 0::2].sin(), angle[:, 1::2].cos()], dim=2).flatten(1).T
    rows = encoded[:, :, None].expand(half, side, side)
    columns = encoded[:, None, :].expand(half, side, side)
    return torch.cat([rows, columns])


def sine_distance(distance: Tensor, channels: int) -> Tensor:
    """The encoding [P, channels] of temporal distances [P]."""
    half = channels // 2
    divisor = TEMPERATURE ** (2 * (torch.arange(half) // 2).float() / half)
    angle = distance[:, None] / divisor
    return torch.cat([angle.sin(), angle.cos()], dim=1)


def rotation(channels: int, side: int, theta: float) -> tuple[Tensor, Tensor]:
    """Cosine and sine [side * side, channels] of the axial rotary encoding, columns first."""
    step = torch.arange(0, channels, 4)[: channels // 4].float() / channels
    frequency = 1.0 / theta**step
    cell = torch.arange(side * side)
    columns = (cell % side).float()[:, None] * frequency
    rows = (cell // side).float()[:, None] * frequency
    angle = torch.cat([columns, rows], dim=1).repeat_interleave(2, dim=1)
    return angle.cos(), angle.sin()


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """x [..., cells, channels], each pair of channels rotated by its cell's angle."""
    even, odd = x[..., 0::2], x[..., 1::2]
    turned = torch.stack([-odd, even], dim=-1).flatten(-2)
    return x * cosine + turned * sine


class Retrieval(nn.Module):
    """DINOv2: cls [B, D] and patches [B, T, D], both after the last normalisation."""

    def __init__(self, model: Dinov2Model, size: int):
        super().__init__()
        patch = model.config.patch_size
        if size % patch:
            raise ValueError(f"{size} px are no whole number of patches of {patch} px")
        self.embeddings, self.encoder, self.norm = model.embeddings, model.encoder, model.layernorm
        positions = model.embeddings.position_embeddings.detach()
        trained = math.isqrt(positions.shape[1] - 1)
        cells = size // patch
        grid = positions[:, 1:].reshape(1, trained, trained, -1).permute(0, 3, 1, 2)
        if cells != trained:
            scale = (cells + DINO_OFFSET) / trained
            grid = F.interpolate(grid, scale_factor=(scale, scale), mode="bicubic")
        self.register_buffer("cls_position", positions[:, :1].clone())
        self.register_buffer("positions", grid.flatten(2).transpose(1, 2).contiguous())

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        patches = self.embeddings.patch_embeddings.projection(image).flatten(2).transpose(1, 2)
        patches = patches + self.positions
        cls = (self.embeddings.cls_token + self.cls_position).expand(image.shape[0], -1, -1)
        x = torch.cat([cls, patches], dim=1)
        for layer in self.encoder.layer:
            x = layer(x)
        x = self.norm(x)
        return x[:, 0], x[:, 1:]


class ImageEncoder(nn.Module):
    """Hiera, its pyramid, and the decoder's projections of the two finer levels."""

    def __init__(self, model: Sam2VideoModel):
        super().__init__()
        self.backbone = model.vision_encoder.backbone
        self.neck = model.vision_encoder.neck
        self.conv_s0, self.conv_s1 = model.mask_decoder.conv_s0, model.mask_decoder.conv_s1
        side = model.config.image_size // self.backbone.config.patch_stride[0]
        with torch.no_grad():
            self.register_buffer("positions", self.backbone._get_pos_embed((side, side)).clone())

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = self.backbone.patch_embed(image) + self.positions
        levels = []
        for index, block in enumerate(self.backbone.blocks):
            x = block(x)
            if index in self.backbone.stage_ends:
                levels.append(x.permute(0, 3, 1, 2))
        above, pyramid = None, []
        for level in range(len(levels) - 1, -1, -1):
            here = self.neck.convs[len(levels) - 1 - level](levels[level])
            if above is not None and level in self.neck.fpn_top_down_levels:
                here = here + F.interpolate(above, scale_factor=2.0, mode="nearest")
            above = here
            pyramid.insert(0, here)
        return pyramid[2], self.conv_s0(pyramid[0]), self.conv_s1(pyramid[1])


class MaskDownsample(nn.Module):
    """A given mask, 0 or 1, as the mask prompt of the decoder that yields its pointer."""

    def __init__(self, model: Sam2VideoModel):
        super().__init__()
        self.conv = model.mask_downsample

    def forward(self, mask: Tensor) -> Tensor:
        return self.conv(mask)


class MemoryEncoder(nn.Module):
    """An image's features and a mask, already scaled, as one memory."""

    def __init__(self, model: Sam2VideoModel):
        super().__init__()
        encoder = model.memory_encoder
        self.downsampler, self.features = encoder.mask_downsampler, encoder.feature_projection
        self.fuser, self.projection = encoder.memory_fuser, encoder.projection
        self.absent = model.occlusion_spatial_embedding_parameter

    def forward(self, image_embed: Tensor, mask_for_mem: Tensor, object_score: Tensor) -> Tensor:
        x = self.features(image_embed) + self.downsampler(mask_for_mem)
        memory = self.projection(self.fuser(x))
        absent = (object_score <= 0).to(memory.dtype) * self.absent  # [B, M]
        return memory + absent[:, :, None, None]


class MemoryAttention(nn.Module):
    """An image's features conditioned on N memories and P pointers."""

    def __init__(self, model: Sam2VideoModel, chunk: int = CHUNK):
        super().__init__()
        config = model.config
        if config.memory_attention_num_attention_heads != 1:
            raise ValueError("memory attention with more than one head is no SAM 2.1")
        self.layers, self.norm = model.memory_attention.layers, model.memory_attention.layer_norm
        self.time = model.memory_temporal_positional_encoding  # [7, 1, 1, M]
        self.distance = model.temporal_positional_encoding_projection_layer
        self.side = config.image_size // STRIDE
        self.channels = config.memory_attention_hidden_size
        self.memory_channels = config.memory_encoder_output_channels
        self.chunk = min(chunk, self.side * self.side)
        theta = config.rope_parameters["rope_theta"]
        inner = self.channels // config.memory_attention_downsample_rate
        cosine, sine = rotation(inner, self.side, theta)
        self.register_buffer("cosine", cosine)
        self.register_buffer("sine", sine)
        own = sine_grid(self.channels, self.side).flatten(1).T
        self.register_buffer("own_position", own.contiguous())
        remembered = sine_grid(self.memory_channels, self.side).flatten(1).T
        self.register_buffer("memory_position", remembered.contiguous())

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attention of q [B, cells, D] over k and v, a chunk of the queries at a time."""
        scale = 1.0 / math.sqrt(q.shape[-1])
        keys = k.transpose(1, 2)
        parts = []
        for start in range(0, self.side * self.side, self.chunk):
            part = q[:, start : start + self.chunk] * scale
            parts.append(torch.softmax(part @ keys, dim=-1) @ v)
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    def forward(
        self,
        image_embed: Tensor,
        memories: Tensor,
        tpos_idx: Tensor,
        obj_ptrs: Tensor,
        ptr_tdiff: Tensor,
    ) -> Tensor:
        batch, count, cells = memories.shape[0], memories.shape[1], self.side * self.side
        remembered = memories.flatten(3).transpose(2, 3)  # [B, N, cells, M]
        time = self.time[:, 0, 0][tpos_idx]  # [N, M]
        place = self.memory_position + time[:, None]  # [N, cells, M]
        pointers, parts = obj_ptrs.shape[1], self.channels // self.memory_channels
        tokens = obj_ptrs.reshape(batch, pointers * parts, self.memory_channels)
        away = self.distance(sine_distance(ptr_tdiff, self.channels))  # [P, M]
        away = away[:, None].expand(-1, parts, -1).reshape(pointers * parts, self.memory_channels)

        values = remembered.reshape(batch, count * cells, self.memory_channels)
        values = torch.cat([values, tokens], dim=1)
        x = image_embed.flatten(2).transpose(1, 2) + POSITION_SHARE * self.own_position
        for layer in self.layers:
            normed = layer.layer_norm1(x)
            own = layer.self_attn
            q = rotate(own.q_proj(normed), self.cosine, self.sine)
            k = rotate(own.k_proj(normed), self.cosine, self.sine)
            x = x + own.o_proj(self.attend(q, k, own.v_proj(normed)))

            normed = layer.layer_norm2(x)
            cross = layer.cross_attn_image
            q = rotate(cross.q_proj(normed), self.cosine, self.sine)
            k = rotate(cross.k_proj(remembered + place), self.cosine, self.sine)
            k = k.reshape(batch, count * cells, cross.internal_dim)
            k = torch.cat([k, cross.k_proj(tokens + away)], dim=1)
            x = x + cross.o_proj(self.attend(q, k, cross.v_proj(values)))

            normed = layer.layer_norm3(x)
            x = x + layer.linear2(layer.activation(layer.linear1(normed)))
        x = self.norm(x).transpose(1, 2)
        return x.reshape(batch, self.channels, self.side, self.side)


class PromptEncoder(nn.Module):
    """Points (and boxes as two points) and an earlier mask, as the decoder's tokens and plane."""

    def __init__(self, model: Sam2VideoModel):
        super().__init__()
        encoder = model.prompt_encoder
        self.matrix = encoder.shared_embedding.positional_embedding  # [2, C / 2]
        self.kinds, self.padding = encoder.point_embed.weight, encoder.not_a_point_embed.weight
        self.mask_embed, self.no_mask = encoder.mask_embed, encoder.no_mask_embed.weight
        self.size = float(model.config.image_size)

    def forward(
        self, points: Tensor, labels: Tensor, mask_input: Tensor, has_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        place = (points + 0.5) / self.size * 2 - 1
        angle = 2 * math.pi * (place @ self.matrix)
        encoded = torch.cat([angle.sin(), angle.cos()], dim=-1) + self.kinds[labels.clamp(min=0)]
        sparse = torch.where((labels < 0)[..., None], self.padding, encoded)
        end = self.padding[None].expand(points.shape[0], -1, -1)
        sparse = torch.cat([sparse, end], dim=1)
        given = has_mask[:, :, None, None] > 0
        dense = torch.where(given, self.mask_embed(mask_input), self.no_mask[:, :, None, None])
        return sparse, dense


class MaskDecoder(nn.Module):
    """Every mask token's logits, predicted IoU and pointer, and whether the object is there."""

    def __init__(self, model: Sam2VideoModel):
        super().__init__()
        self.decoder, self.pointer = model.mask_decoder, model.object_pointer_proj
        self.tokens = model.mask_decoder.num_mask_tokens
        side = model.config.image_size // STRIDE
        centre = (torch.arange(side) + 0.5) / side * 2 - 1
        grid = torch.stack(torch.meshgrid(centre, centre, indexing="xy"), dim=-1)
        matrix = model.prompt_encoder.shared_embedding.positional_embedding.detach()
        angle = 2 * math.pi * (grid @ matrix)
        place = torch.cat([angle.sin(), angle.cos()], dim=-1).permute(2, 0, 1)[None]
        self.register_buffer("place", place.contiguous())

    def forward(
        self,
        cond_embed: Tensor,
        high_res_0: Tensor,
        high_res_1: Tensor,
        sparse: Tensor,
        dense: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        decoder, batch = self.decoder, cond_embed.shape[0]
        own = [decoder.obj_score_token.weight, decoder.iou_token.weight, decoder.mask_tokens.weight]
        own = torch.cat(own)[None].expand(batch, -1, -1)
        tokens, plane = decoder.transformer(
            point_embeddings=torch.cat([own, sparse], dim=1)[:, None],
            image_embeddings=cond_embed + dense,
            image_positional_embeddings=self.place,
            attention_similarity=None,
        )
        tokens = tokens[:, 0]
        plane = plane[:, 0].transpose(1, 2).reshape(cond_embed.shape)
        masks = tokens[:, 2 : 2 + self.tokens]

        fine = decoder.upscale_layer_norm(decoder.upscale_conv1(plane) + high_res_1)
        fine = decoder.upscale_conv2(decoder.activation(fine)) + high_res_0
        fine = decoder.activation(fine)
        heads = zip(decoder.output_hypernetworks_mlps, masks.unbind(1), strict=True)
        weights = torch.stack([head(token) for head, token in heads], dim=1)
        side = fine.shape[-1]
        logits = (weights @ fine.flatten(2)).reshape(batch, self.tokens, side, side)
        iou = decoder.iou_prediction_head(tokens[:, 1])
        score = decoder.pred_obj_score_head(tokens[:, 0])
        return logits, iou, score, self.pointer(masks)
