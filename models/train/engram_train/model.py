"""The compact network: image encoder, memory encoder, memory attention, mask decoder, retrieval.

Shapes: B slices or objects, N memories, S image side (128), h embedding side (S / 8 = 16),
C channels of the image embedding, M channels of a memory. Images are grey in 0..1, replicated
to three channels at the graph boundary.
"""

from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

IMAGE_SIZE = 128
STRIDE = 8
GRID = IMAGE_SIZE // STRIDE


@dataclass(frozen=True)
class Shape:
    """Channel counts of the network; written into the manifest at export."""

    features: int = 128  # learnt channels of the embedding
    raw: int = STRIDE * STRIDE  # the slice itself, 8x8 pixels folded into each cell
    fine: int = 16  # width of a fine key, at S / 4; four are folded into each cell
    plain: int = 8  # of which the last are plain intensities, not learnt
    high_res_0: int = 32  # at S / 2
    high_res_1: int = 64  # at S / 4
    deep: int = 160  # at S / 16, inside the encoder only
    key: int = 64
    value: int = 64  # of which the last 16 are the mask itself, 4x4 bins a cell
    bins: int = 16
    cond: int = 128  # learnt channels of the conditioned embedding; `bins` more follow
    heads: int = 4
    time_indices: int = 7  # 0..5 recent slices, 6 exemplars
    retrieval_dim: int = 512  # half learnt, half 16x16 pixels

    @property
    def embed(self) -> int:
        return self.features + self.raw + 4 * self.fine

    @property
    def memory(self) -> int:
        return self.key + self.value + 4 * self.fine

    @property
    def conditioned(self) -> int:
        return self.cond + self.bins

    @property
    def embed_parts(self) -> list[int]:
        return [self.features, self.raw, 4 * self.fine]

    def as_dict(self) -> dict:
        return asdict(self)


def norm(channels: int) -> nn.GroupNorm:
    """Normalises each sample on its own: no running statistics to be wrong on real images."""
    return nn.GroupNorm(8, channels)


class Residual(nn.Module):
    """Two 3x3 convolutions with pre-normalisation; [B,c,y,x] -> [B,c,y,x]."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm1 = norm(channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = norm(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.relu(self.norm1(x)))
        return x + self.conv2(F.relu(self.norm2(y)))


def down(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride=2, padding=1)


def upsample(x: Tensor, factor: int) -> Tensor:
    return F.interpolate(x, scale_factor=float(factor), mode="bilinear", align_corners=False)


def intensities(grey: Tensor) -> Tensor:
    """What a place looks like, unlearnt: [B,1,S,S] in -1..1 -> [B,8,S/4,S/4] in units of grey.

    Its four quarters, the means of 12, 28 and 60 pixels around it, the deviation over 12.
    """
    grey = grey * 0.5
    quarters = F.pixel_unshuffle(F.avg_pool2d(grey, 2), 2)
    place = F.avg_pool2d(grey, 4)
    means = [F.avg_pool2d(place, k, 1, k // 2, count_include_pad=False) for k in (3, 7, 15)]
    square = F.avg_pool2d(F.avg_pool2d(grey * grey, 4), 3, 1, 1, count_include_pad=False)
    deviation = torch.sqrt(F.relu(square - means[0] * means[0]) + 1e-4)
    return torch.cat([quarters, *means, deviation], dim=1)


class ImageEncoder(nn.Module):
    """Residual CNN with one top-down step: [B,3,S,S] -> embedding and two finer levels."""

    def __init__(self, shape: Shape):
        super().__init__()
        self.stem = down(1, shape.high_res_0)
        self.level0 = Residual(shape.high_res_0)
        self.down1 = down(shape.high_res_0, shape.high_res_1)
        self.level1 = nn.Sequential(*[Residual(shape.high_res_1) for _ in range(2)])
        self.down2 = down(shape.high_res_1, shape.features)
        self.level2 = nn.Sequential(*[Residual(shape.features) for _ in range(3)])
        self.down3 = down(shape.features, shape.deep)
        self.level3 = nn.Sequential(*[Residual(shape.deep) for _ in range(2)])
        self.top = nn.Conv2d(shape.deep, shape.features, 1)
        self.merge = Residual(shape.features)
        self.lateral = nn.Conv2d(shape.features, shape.high_res_1, 1)
        self.smooth = nn.Conv2d(shape.high_res_1, shape.high_res_1, 3, padding=1)
        self.fine = nn.Conv2d(shape.high_res_1, shape.fine - shape.plain, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns image_embed [B,C,h,h], high_res_0 [B,c0,4h,4h], high_res_1 [B,c1,2h,2h]."""
        grey = image.mean(dim=1, keepdim=True) * 2.0 - 1.0
        fine = self.level0(self.stem(grey))
        middle = self.level1(self.down1(fine))
        coarse = self.level2(self.down2(middle))
        deep = self.level3(self.down3(F.relu(coarse)))
        features = self.merge(coarse + upsample(self.top(deep), 2))
        raw = F.pixel_unshuffle(grey, STRIDE)
        middle = self.smooth(F.relu(middle + upsample(self.lateral(features), 2)))
        key = self.fine(F.relu(middle))
        key = key * torch.rsqrt(key.square().sum(dim=1, keepdim=True) + 1e-6)
        key = F.pixel_unshuffle(torch.cat([key, intensities(grey)], dim=1), 2)
        return torch.cat([features, raw, key], dim=1), fine, middle


class KeyProjection(nn.Module):
    """Key of a cell from learnt features and its raw intensities: [B,C,h,h] -> [B,key,h,h].

    Unit length within each head. Queries and memories share it.
    """

    def __init__(self, shape: Shape):
        super().__init__()
        self.shape = shape
        self.raw = nn.Sequential(nn.Conv2d(shape.raw, 32, 1), nn.ReLU())
        self.project = nn.Conv2d(shape.features + 32, shape.key, 1)

    def forward(self, embed: Tensor) -> Tensor:
        features, raw, _ = embed.split(self.shape.embed_parts, dim=1)
        key = self.project(torch.cat([features, self.raw(raw)], dim=1))
        batch, _, height, width = key.shape
        key = key.reshape(batch, self.shape.heads, -1, height * width)
        key = key * torch.rsqrt(key.square().sum(dim=2, keepdim=True) + 1e-6)
        return key.reshape(batch, -1, height, width)


class MemoryEncoder(nn.Module):
    """Key and value of an annotated slice: [B,C,h,h], [B,1,S,S], [B,1] -> [B,M,h,h].

    The value sees the mask beside the intensities it covers, at S / 2, before it is folded down.
    """

    def __init__(self, shape: Shape, key: KeyProjection):
        super().__init__()
        self.shape = shape
        self.key = key
        self.pair = nn.Sequential(
            down(2, 16), nn.ReLU(), down(16, 32), nn.ReLU(), down(32, 64), nn.ReLU()
        )
        self.join = nn.Conv2d(shape.features + 64 + shape.raw, 96, 1)
        self.mix = Residual(96)
        self.value = nn.Conv2d(96, shape.value - shape.bins, 1)
        self.presence = nn.Linear(1, shape.value - shape.bins)

    def forward(self, embed: Tensor, mask: Tensor, object_score: Tensor) -> Tensor:
        features, raw, fine = embed.split(self.shape.embed_parts, dim=1)
        grey = F.pixel_shuffle(raw, STRIDE)
        pair = self.pair(torch.cat([grey, mask * 2.0 - 1.0], dim=1))
        folded = F.pixel_unshuffle(mask, STRIDE)
        value = self.value(F.relu(self.mix(self.join(torch.cat([features, pair, folded], dim=1)))))
        presence = self.presence(torch.tanh(object_score / 4.0))
        value = value + presence[:, :, None, None]
        bins = F.pixel_unshuffle(F.avg_pool2d(mask, 2), 4)
        return torch.cat([self.key(embed), value, bins, fine], dim=1)


def attend(query: Tensor, key: Tensor, value: Tensor, plain: bool) -> Tensor:
    """softmax(q k^T) v without scaling; [B,heads,Q,d], [B,heads,T,d], [B,heads,T,e]."""
    if plain:
        return torch.softmax(query @ key.transpose(-1, -2), dim=-1) @ value
    missing = value.shape[-1] - query.shape[-1]
    if missing > 0:  # the fused kernel wants equal widths; zeros change no product
        query, key = F.pad(query, (0, missing)), F.pad(key, (0, missing))
    query, key, value = query.contiguous(), key.contiguous(), value.contiguous()
    return F.scaled_dot_product_attention(query, key, value, scale=1.0)


def grid_positions(side: int) -> Tensor:
    """Cell centres in -0.5..0.5: [side * side, 2] as (y, x)."""
    axis = (torch.arange(side) + 0.5) / side - 0.5
    return torch.stack(torch.meshgrid(axis, axis, indexing="ij"), dim=-1).reshape(-1, 2)


def position_code(side: int, channels: int) -> Tensor:
    """Sines and cosines of the cell centres: [channels, side * side]."""
    position = grid_positions(side)
    frequency = 2.0 * torch.pi * 2.0 ** torch.linspace(-1.0, 2.5, channels // 4)
    angle = position[:, :, None] * frequency
    return torch.cat([angle.sin(), angle.cos()], dim=-1).reshape(side * side, -1).T.contiguous()


class ReadOut(nn.Module):
    """Cosine memory read-out with a Gaussian spatial prior and a bias per time index, per head.

    The prior and the biases enter the dot product as extra channels, so one attention call
    serves: -|p-q|^2 / 2s^2 = p.q / s^2 - |p|^2 / 2s^2 - |q|^2 / 2s^2.
    """

    def __init__(self, shape: Shape):
        super().__init__()
        self.shape = shape
        self.temperature = nn.Parameter(torch.full((shape.heads,), 2.3))
        self.log_sigma = nn.Parameter(torch.tensor([0.06, 0.12, 0.25, 0.8]).log())
        self.time_bias = nn.Parameter(torch.zeros(shape.time_indices, shape.heads))
        self.time_value = nn.Parameter(torch.zeros(shape.time_indices, shape.value))
        self.register_buffer("position", grid_positions(GRID), persistent=False)

    def forward(self, query: Tensor, memories: Tensor, time: Tensor, plain: bool) -> Tensor:
        """query [B,key,h,h], memories [B,N,M,h,h], time i64 [B,N] -> [B,heads*value,h,h]."""
        shape, cells = self.shape, GRID * GRID
        batch, count = memories.shape[0], memories.shape[1]
        keys, values = memories[:, :, : shape.key + shape.value].split(
            [shape.key, shape.value], dim=2
        )
        width = shape.key // shape.heads
        q = query.reshape(batch, shape.heads, width, cells).transpose(2, 3)
        k = keys.reshape(batch, count, shape.heads, width, cells)
        k = k.permute(0, 2, 1, 4, 3)  # [B,heads,N,cells,width]
        scaled = self.position[None] * torch.exp(-self.log_sigma)[:, None, None]  # [heads,cells,2]
        half = -0.5 * scaled.square().sum(-1, keepdim=True)  # [heads,cells,1]
        bias = self.time_bias[time].transpose(1, 2)  # [B,heads,N]
        ones = torch.ones_like(half)
        near_q = torch.cat([scaled, ones], dim=-1)[None].expand(batch, -1, -1, -1)
        q = torch.cat([q * torch.exp(self.temperature)[:, None, None], near_q], dim=-1)
        near_k = scaled[None, :, None].expand(batch, -1, count, -1, -1)
        bias_k = half[None, :, None] + bias[..., None, None]
        k = torch.cat([k, near_k, bias_k], dim=-1)
        v = values.reshape(batch, count, shape.value, cells) + self.time_value[time][..., None]
        v = v.transpose(2, 3)[:, None].expand(-1, shape.heads, -1, -1, -1)
        k = k.reshape(batch, shape.heads, count * cells, width + 3)
        v = v.reshape(batch, shape.heads, count * cells, shape.value)
        out = attend(q, k, v, plain)  # [B,heads,cells,value]
        return out.transpose(2, 3).reshape(batch, -1, GRID, GRID)


class FineReadOut(nn.Module):
    """The mask of the memories carried over at S / 4: [B,C,h,h], [B,N,M,h,h] -> [B,bins,h,h].

    Cosine of learnt keys, Gaussians of intensity differences and of distance; what is read is the
    mask, 2x2 bins a place. Untrained it is a soft nearest-neighbour vote on intensity and
    position, so training starts from there.
    """

    def __init__(self, shape: Shape):
        super().__init__()
        self.shape = shape
        self.temperature = nn.Parameter(torch.tensor(0.7))
        sigma = torch.tensor([0.2, 0.2, 0.2, 0.2, 0.10, 0.12, 0.15, 0.08])
        self.log_spread = nn.Parameter(sigma.log())
        self.log_sigma = nn.Parameter(torch.tensor(0.08).log())
        self.time_bias = nn.Parameter(torch.zeros(shape.time_indices))
        self.register_buffer("position", grid_positions(2 * GRID), persistent=False)

    def forward(self, embed: Tensor, memories: Tensor, time: Tensor, plain: bool) -> Tensor:
        shape, places = self.shape, 4 * GRID * GRID
        batch, count = memories.shape[0], memories.shape[1]
        width, side = shape.fine, 2 * GRID
        q = F.pixel_shuffle(embed[:, -4 * width :], 2).reshape(batch, width, places)
        ratio = torch.cat(
            [torch.exp(self.temperature).expand(width - shape.plain), torch.exp(-self.log_spread)]
        )
        q = q.transpose(1, 2) * ratio
        k = F.pixel_shuffle(memories[:, :, -4 * width :].flatten(0, 1), 2)
        k = k.reshape(batch, count, width, places).transpose(2, 3)
        learnt, looks = k.split([width - shape.plain, shape.plain], dim=-1)
        looks = looks * torch.exp(-self.log_spread)
        k = torch.cat([learnt, looks], dim=-1)
        first = shape.key + shape.value - shape.bins
        bins = memories[:, :, first : first + shape.bins].flatten(0, 1)
        v = F.pixel_unshuffle(F.pixel_shuffle(bins, 4), 2).reshape(batch, count, 4, places)
        v = v.transpose(2, 3)
        scaled = self.position * torch.exp(-self.log_sigma)  # [places, 2]
        half = -0.5 * scaled.square().sum(-1, keepdim=True)
        near_q = torch.cat([scaled, torch.ones_like(half)], dim=-1)
        q = torch.cat([q, near_q[None].expand(batch, -1, -1)], dim=-1)
        near_k = scaled[None, None].expand(batch, count, -1, -1)
        bias = half + self.time_bias[time][..., None, None]
        bias = bias - 0.5 * looks.square().sum(-1, keepdim=True)
        k = torch.cat([k, near_k, bias], dim=-1).reshape(batch, 1, count * places, width + 3)
        v = v.reshape(batch, 1, count * places, 4)
        if not plain:  # the fused kernel wants equal widths
            v = F.pad(v, (0, width + 3 - 4))
        out = attend(q[:, None], k, v, plain)[:, 0, :, :4].transpose(1, 2)
        out = F.pixel_shuffle(out.reshape(batch, 4, side, side), 2)
        return F.pixel_unshuffle(out, 4)


class Pointwise(nn.Module):
    """A two-layer perceptron in each cell; [B,c,y,x] -> [B,c,y,x]."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = norm(channels)
        self.wide = nn.Conv2d(channels, 2 * channels, 1)
        self.narrow = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.narrow(F.relu(self.wide(self.norm(x))))


class AttentionBlock(nn.Module):
    """Cross-attention to the memories, self-attention, mixing; [B,c,h,h] -> [B,c,h,h]."""

    def __init__(self, shape: Shape, mix: nn.Module):
        super().__init__()
        channels = shape.cond
        self.shape = shape
        self.cross_norm = norm(channels)
        self.cross_q = nn.Conv2d(channels, channels, 1)
        self.cross_kv = nn.Linear(shape.memory, 2 * channels)
        self.cross_time = nn.Parameter(torch.zeros(shape.time_indices, channels))
        self.cross_out = nn.Conv2d(channels, channels, 1)
        self.self_norm = norm(channels)
        self.self_qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.self_out = nn.Conv2d(channels, channels, 1)
        self.mix = mix
        self.register_buffer("code", position_code(GRID, channels), persistent=False)
        nn.init.zeros_(self.cross_out.weight)
        nn.init.zeros_(self.self_out.weight)

    def heads(self, x: Tensor) -> Tensor:
        """[B,c,T] -> [B,heads,T,c/heads]"""
        batch, channels = x.shape[0], x.shape[1]
        width = channels // self.shape.heads
        return x.reshape(batch, self.shape.heads, width, -1).transpose(2, 3)

    def forward(self, x: Tensor, memories: Tensor, time: Tensor, plain: bool) -> Tensor:
        channels, cells = self.shape.cond, GRID * GRID
        batch, count = memories.shape[0], memories.shape[1]
        scale = (channels // self.shape.heads) ** -0.5

        query = self.cross_q(self.cross_norm(x)).reshape(batch, channels, cells) + self.code
        tokens = memories.reshape(batch, count, self.shape.memory, cells).transpose(2, 3)
        key, value = self.cross_kv(tokens).split(channels, dim=-1)  # [B,N,cells,c]
        key = key + self.code.T + self.cross_time[time][:, :, None]
        key = self.heads(key.reshape(batch, count * cells, channels).transpose(1, 2))
        value = self.heads(value.reshape(batch, count * cells, channels).transpose(1, 2))
        query = self.heads(query) * scale
        out = attend(query, key, value, plain).transpose(2, 3).reshape(batch, channels, GRID, GRID)
        x = x + self.cross_out(out)

        q, k, v = self.self_qkv(self.self_norm(x)).split(channels, dim=1)
        q = self.heads(q.reshape(batch, channels, cells) + self.code) * scale
        k = self.heads(k.reshape(batch, channels, cells) + self.code)
        v = self.heads(v.reshape(batch, channels, cells))
        out = attend(q, k, v, plain).transpose(2, 3).reshape(batch, channels, GRID, GRID)
        x = x + self.self_out(out)
        return self.mix(x)


class MemoryAttention(nn.Module):
    """Conditions a slice on memories: [B,C,h,h], [B,N,M,h,h], i64 [B,N] -> [B,C2,h,h].

    The last `bins` channels of the result are the mask as carried over by the fine read-out.
    """

    def __init__(self, shape: Shape, key: KeyProjection):
        super().__init__()
        self.key = key
        self.read = ReadOut(shape)
        self.carry = FineReadOut(shape)
        wide = shape.features + shape.heads * shape.value + shape.bins
        self.join = nn.Conv2d(wide, shape.cond, 1)
        self.first = Residual(shape.cond)
        mixes = [Pointwise(shape.cond), Residual(shape.cond)]
        self.blocks = nn.ModuleList([AttentionBlock(shape, mix) for mix in mixes])
        self.shape = shape
        self.plain = False  # True at export: attention as matrix products

    def forward(self, embed: Tensor, memories: Tensor, time: Tensor) -> Tensor:
        read = self.read(self.key(embed), memories, time, self.plain)
        features = embed[:, : self.shape.features]
        carried = self.carry(embed, memories, time, self.plain)
        x = self.first(self.join(torch.cat([features, read, carried * 4.0 - 2.0], dim=1)))
        for block in self.blocks:
            x = block(x, memories, time, self.plain)
        return torch.cat([x, carried], dim=1)


class MaskDecoder(nn.Module):
    """Conditioned embedding and finer levels -> mask logits [B,1,S,S], iou [B,1], score [B,1].

    Products of the upsampled condition with the finer features let what was read from memory
    say which fine intensities belong to the object.
    """

    def __init__(self, shape: Shape):
        super().__init__()
        c0, c1 = shape.high_res_0, shape.high_res_1
        self.pre = norm(shape.cond)
        self.to1 = nn.Conv2d(shape.cond, 2 * c1, 1)
        self.skip1 = nn.Conv2d(c1, c1, 1)
        self.join1 = nn.Conv2d(3 * c1 + 4, c1, 1)
        self.mix1 = Residual(c1)
        self.to0 = nn.Conv2d(c1, 2 * c0, 1)
        self.skip0 = nn.Conv2d(c0, c0, 1)
        self.join0 = nn.Conv2d(3 * c0 + 1, c0, 1)
        self.mix0 = Residual(c0)
        self.out = nn.Conv2d(c0, 4, 3, padding=1)
        with torch.no_grad():
            self.out.weight *= 0.1
        self.gain = nn.Parameter(torch.tensor(1.5))
        self.coarse = nn.Conv2d(shape.cond, 1, 1)
        self.shape = shape
        self.judge = nn.Sequential(nn.Linear(2 * shape.cond + 3, 64), nn.ReLU(), nn.Linear(64, 2))

    def forward(
        self, cond: Tensor, high_res_0: Tensor, high_res_1: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        logits, iou, score, _ = self.detailed(cond, high_res_0, high_res_1)
        return logits, torch.sigmoid(iou), score

    def detailed(
        self, cond: Tensor, high_res_0: Tensor, high_res_1: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """As forward, but iou is a logit, and the coarse logits [B,1,h,h] come too."""
        cond, carried = cond.split([self.shape.cond, self.shape.bins], dim=1)
        cond = self.pre(cond)
        carried = F.pixel_shuffle(carried, 4) * 4.0 - 2.0  # [B,1,S/2,S/2]
        a, b = upsample(self.to1(cond), 2).chunk(2, dim=1)
        skip = self.skip1(high_res_1)
        parts = [a, skip, b * skip, F.pixel_unshuffle(carried, 2)]
        x = self.mix1(self.join1(torch.cat(parts, dim=1)))
        a, b = upsample(self.to0(x), 2).chunk(2, dim=1)
        skip = self.skip0(high_res_0)
        x = F.relu(self.mix0(self.join0(torch.cat([a, skip, b * skip, carried], dim=1))))
        logits = F.pixel_shuffle(self.out(x), 2) + self.gain * upsample(carried, 2)

        coarse = self.coarse(cond)
        inside = torch.sigmoid(F.avg_pool2d(logits.detach(), STRIDE))
        area = inside.mean(dim=(2, 3))
        pooled = (cond * inside).mean(dim=(2, 3)) / (area + 1e-3)
        probability = torch.sigmoid(logits.detach())
        sure = (probability.square().mean(dim=(2, 3)) + 1e-5) / (
            probability.mean(dim=(2, 3)) + 1e-5
        )
        facts = [cond.mean(dim=(2, 3)), pooled, area.sqrt(), sure, inside.amax(dim=(2, 3))]
        iou, score = self.judge(torch.cat(facts, dim=1)).split(1, dim=1)
        return logits, iou, score, coarse


class Retrieval(nn.Module):
    """A small encoder for finding like slices: [B,3,s,s] -> cls [B,D] of unit length, patches.

    Half of the descriptor is an 8x8 grid of 4 learnt channels, so that where things lie counts;
    the other half is the slice itself at 16x16, whose product is plain correlation.
    """

    def __init__(self, shape: Shape):
        super().__init__()
        self.layers = nn.Sequential(
            down(1, 16), nn.ReLU(), down(16, 32), Residual(32), nn.ReLU(),
            down(32, 64), Residual(64), Residual(64),
        )  # fmt: skip
        self.deep = nn.Sequential(nn.ReLU(), down(64, 96), Residual(96))
        self.out = nn.Conv2d(96, shape.retrieval_dim // 128, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Returns cls [B,D] and patches [B,64,96]."""
        grey = image.mean(dim=1, keepdim=True) * 2.0 - 1.0
        deep = self.deep(self.layers(grey))
        learnt = unit(self.out(F.relu(deep)).flatten(1))
        pixels = unit(F.avg_pool2d(grey, IMAGE_SIZE // 16).flatten(1))
        cls = torch.cat([learnt, pixels], dim=1) * 0.5**0.5
        return cls, deep.flatten(2).transpose(1, 2)


def unit(x: Tensor) -> Tensor:
    """Vectors [B,d] less their means, of unit length."""
    x = x - x.mean(dim=1, keepdim=True)
    return x * torch.rsqrt(x.square().sum(dim=1, keepdim=True) + 1e-8)


class Compact(nn.Module):
    """Everything the bundle holds but retrieval."""

    def __init__(self, shape: Shape | None = None):
        super().__init__()
        self.shape = shape or Shape()
        self.encoder = ImageEncoder(self.shape)
        self.key = KeyProjection(self.shape)
        self.memory = MemoryEncoder(self.shape, self.key)
        self.attention = MemoryAttention(self.shape, self.key)
        self.decoder = MaskDecoder(self.shape)
