"""The compact network: image encoder, memory encoder, memory attention, mask decoder, retrieval.

Shapes: B slices or objects, N memories, S image side (128), h embedding side (S / 8 = 16),
C channels of the image embedding, M channels of a memory. Images are grey in 0..1, replicated
to three channels at the graph boundary.
"""

import functools
import math
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engram_train.anatomy import interpolation

IMAGE_SIZE = 128
STRIDE = 8
GRID = IMAGE_SIZE // STRIDE


@dataclass(frozen=True)
class Shape:
    """Channel counts of the network; written into the manifest at export."""

    features: int = 128  # learnt channels of the embedding
    raw: int = STRIDE * STRIDE  # the slice itself, 8x8 pixels folded into each cell
    high_res_0: int = 32  # at S / 2
    high_res_1: int = 64  # at S / 4
    deep: int = 160  # at S / 16, inside the encoder only
    coarse_blocks: int = 4  # residual blocks at S / 8
    deep_blocks: int = 4  # and at S / 16
    key: int = 64
    value: int = 48  # of which the last 16 are the mask itself, 4x4 bins a cell
    bins: int = 16
    grey: int = 16  # the slice at S / 2, 4x4 pixels a cell
    cond: int = 128  # channels of the conditioned embedding
    heads: int = 4
    time_indices: int = 7  # 0..5 recent slices, 6 exemplars

    @property
    def embed(self) -> int:
        return self.features + self.raw

    @property
    def learnt(self) -> int:
        """Channels of a memory that attention reads; the grey ones after them are for the vote."""
        return self.key + self.value

    @property
    def memory(self) -> int:
        return self.learnt + self.grey

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
        nn.init.zeros_(self.conv2.weight)  # starts as the identity: a trained net can grow by it

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.relu(self.norm1(x)))
        return x + self.conv2(F.relu(self.norm2(y)))


def blocks(channels: int, count: int) -> nn.Sequential:
    return nn.Sequential(*[Residual(channels) for _ in range(count)])


def down(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride=2, padding=1)


@functools.cache
def enlargement(inputs: int, factor: int, device: torch.device) -> Tensor:
    """Matrix [inputs * factor, inputs] of linear interpolation between pixel centres."""
    return torch.from_numpy(interpolation(inputs * factor, inputs)).to(device)


def upsample(x: Tensor, factor: int) -> Tensor:
    """[..., n, n] -> [..., n * factor, n * factor]"""
    if x.is_cuda:  # the same by products: bilinear kernels took a third of a step there (log.md)
        matrix = enlargement(x.shape[-1], factor, x.device)
        return matrix @ x @ matrix.T
    return F.interpolate(x, scale_factor=float(factor), mode="bilinear", align_corners=False)


class ImageEncoder(nn.Module):
    """Residual CNN with one top-down step: [B,3,S,S] -> embedding and two finer levels."""

    def __init__(self, shape: Shape):
        super().__init__()
        self.stem = down(1, shape.high_res_0)
        self.level0 = Residual(shape.high_res_0)
        self.down1 = down(shape.high_res_0, shape.high_res_1)
        self.level1 = Residual(shape.high_res_1)
        self.down2 = down(shape.high_res_1, shape.features)
        self.level2 = blocks(shape.features, shape.coarse_blocks)
        self.down3 = down(shape.features, shape.deep)
        self.level3 = blocks(shape.deep, shape.deep_blocks)
        self.top = nn.Conv2d(shape.deep, shape.features, 1)
        self.merge = Residual(shape.features)
        self.lateral = nn.Conv2d(shape.features, shape.high_res_1, 1)
        self.smooth = nn.Conv2d(shape.high_res_1, shape.high_res_1, 3, padding=1)

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
        return torch.cat([features, raw], dim=1), fine, middle


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
        features, raw = embed.split([self.shape.features, self.shape.raw], dim=1)
        key = self.project(torch.cat([features, self.raw(raw)], dim=1))
        batch, _, height, width = key.shape
        key = key.float().reshape(batch, self.shape.heads, -1, height * width)
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
        features, raw = embed.split([self.shape.features, self.shape.raw], dim=1)
        grey = F.pixel_shuffle(raw, STRIDE)
        pair = self.pair(torch.cat([grey, mask * 2.0 - 1.0], dim=1))
        folded = F.pixel_unshuffle(mask, STRIDE)
        value = self.value(F.relu(self.mix(self.join(torch.cat([features, pair, folded], dim=1)))))
        presence = self.presence(torch.tanh(object_score / 4.0))
        value = value + presence[:, :, None, None]
        bins = F.pixel_unshuffle(F.avg_pool2d(mask, 2), 4)
        return torch.cat([self.key(embed), value, bins, half_size(raw)], dim=1)


def half_size(raw: Tensor) -> Tensor:
    """The slice at S / 2 in 0..1, folded into cells: [B,raw,h,h] -> [B,grey,h,h]."""
    grey = F.avg_pool2d(F.pixel_shuffle(raw, STRIDE), 2) * 0.5 + 0.5
    return F.pixel_unshuffle(grey, STRIDE // 2)


def attend(query: Tensor, key: Tensor, value: Tensor, plain: bool) -> Tensor:
    """softmax(q k) v^T without scaling: [B,heads,Q,d], [B,heads,d,T], [B,heads,e,T] ->
    [B,heads,Q,e]. Tokens stand in columns, as memories hold them. Values [B,1,e,T] serve all heads.
    """
    batch, heads, queries, _ = query.shape
    if plain:
        share = torch.softmax(query @ key, dim=-1)
        share = share.reshape(batch, value.shape[1], -1, key.shape[-1])  # heads of shared values
        return (share @ value.transpose(-1, -2)).reshape(batch, heads, queries, -1)
    key, value = key.transpose(2, 3), value.transpose(2, 3).expand(-1, heads, -1, -1)
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
        learnt = memories[:, :, : shape.learnt].reshape(batch, count, -1, cells)
        keys, values = learnt.split([shape.key, shape.value], dim=2)
        width = shape.key // shape.heads
        q = query.reshape(batch, shape.heads, width, cells).transpose(2, 3)
        k = keys.reshape(batch, count, shape.heads, width, cells)
        scaled = self.position[None] * torch.exp(-self.log_sigma)[:, None, None]  # [heads,cells,2]
        half = -0.5 * scaled.square().sum(-1, keepdim=True)  # [heads,cells,1]
        bias = self.time_bias[time]  # [B,N,heads]
        ones = torch.ones_like(half)
        near_q = torch.cat([scaled, ones], dim=-1)[None].expand(batch, -1, -1, -1)
        q = torch.cat([q * torch.exp(self.temperature)[:, None, None], near_q], dim=-1)
        near_k = scaled.transpose(1, 2).expand(batch, count, -1, -1, -1)
        bias_k = half.transpose(1, 2) + bias[..., None, None]
        k = torch.cat([k, near_k, bias_k], dim=3)  # [B,N,heads,width + 3,cells]
        k = k.permute(0, 2, 3, 1, 4).reshape(batch, shape.heads, width + 3, count * cells)
        v = values + self.time_value[time][..., None]
        v = v.transpose(1, 2).reshape(batch, 1, shape.value, count * cells)
        out = attend(q, k, v, plain)  # [B,heads,cells,value]
        return out.transpose(2, 3).reshape(batch, -1, GRID, GRID)


class Pointwise(nn.Module):
    """A two-layer perceptron in each cell; [B,c,y,x] -> [B,c,y,x]."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = norm(channels)
        self.wide = nn.Conv2d(channels, 2 * channels, 1)
        self.narrow = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.narrow(F.relu(self.wide(self.norm(x))))


def split_heads(heads: int, x: Tensor) -> Tensor:
    """[B,c,T] -> [B,heads,c/heads,T]"""
    return x.reshape(x.shape[0], heads, x.shape[1] // heads, -1)


class CrossAttention(nn.Module):
    """The memories read once more, in the light of the first reading; [B,c,h,h] -> [B,c,h,h]."""

    def __init__(self, shape: Shape):
        super().__init__()
        channels = shape.cond
        self.shape = shape
        self.cross_norm = norm(channels)
        self.cross_q = nn.Conv2d(channels, channels, 1)
        self.cross_kv = nn.Linear(shape.learnt, 2 * channels)
        self.cross_time = nn.Parameter(torch.zeros(shape.time_indices, channels))
        self.cross_out = nn.Conv2d(channels, channels, 1)
        self.register_buffer("code", position_code(GRID, channels), persistent=False)
        nn.init.zeros_(self.cross_out.weight)

    def forward(self, x: Tensor, memories: Tensor, time: Tensor, plain: bool) -> Tensor:
        channels, cells = self.shape.cond, GRID * GRID
        batch, count = memories.shape[0], memories.shape[1]
        scale = (channels // self.shape.heads) ** -0.5

        query = self.cross_q(self.cross_norm(x)).reshape(batch, channels, cells) + self.code
        query = split_heads(self.shape.heads, query).transpose(2, 3) * scale
        tokens = memories[:, :, : self.shape.learnt].reshape(batch, count, -1, cells)
        to_key, to_value = self.cross_kv.weight.split(channels)
        key_bias, value_bias = self.cross_kv.bias.split(channels)
        when = (self.cross_time[time] + key_bias)[..., None]
        key = to_key @ tokens + when + self.code  # [B,N,c,cells]
        value = to_value @ tokens + value_bias[:, None]
        in_columns = [x.transpose(1, 2).reshape(batch, channels, -1) for x in (key, value)]
        key, value = (split_heads(self.shape.heads, x) for x in in_columns)
        out = attend(query, key, value, plain).transpose(2, 3).reshape(batch, channels, GRID, GRID)
        return x + self.cross_out(out)


class SelfAttention(nn.Module):
    """Cells of the slice among themselves, then mixing; [B,c,h,h] -> [B,c,h,h]."""

    def __init__(self, shape: Shape, mix: nn.Module):
        super().__init__()
        channels = shape.cond
        self.shape = shape
        self.self_norm = norm(channels)
        self.self_qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.self_out = nn.Conv2d(channels, channels, 1)
        self.mix = mix
        self.register_buffer("code", position_code(GRID, channels), persistent=False)
        nn.init.zeros_(self.self_out.weight)

    def forward(self, x: Tensor, plain: bool) -> Tensor:
        batch, channels, cells = x.shape[0], self.shape.cond, GRID * GRID
        scale = (channels // self.shape.heads) ** -0.5
        q, k, v = self.self_qkv(self.self_norm(x)).split(channels, dim=1)
        q = split_heads(self.shape.heads, q.reshape(batch, channels, cells) + self.code)
        q = q.transpose(2, 3) * scale
        k = split_heads(self.shape.heads, k.reshape(batch, channels, cells) + self.code)
        v = split_heads(self.shape.heads, v.reshape(batch, channels, cells))
        out = attend(q, k, v, plain).transpose(2, 3).reshape(batch, channels, GRID, GRID)
        x = x + self.self_out(out)
        return self.mix(x)


class MemoryAttention(nn.Module):
    """Conditions a slice on memories: [B,C,h,h], [B,N,M,h,h], i64 [B,N] -> [B,C2,h,h]."""

    def __init__(self, shape: Shape, key: KeyProjection):
        super().__init__()
        self.key = key
        self.read = ReadOut(shape)
        wide = shape.features + shape.heads * shape.value
        self.join = nn.Conv2d(wide, shape.cond, 1)
        self.first = Residual(shape.cond)
        self.cross = CrossAttention(shape)
        mixes = [Pointwise(shape.cond), Residual(shape.cond), Residual(shape.cond)]
        self.blocks = nn.ModuleList([SelfAttention(shape, mix) for mix in mixes])
        self.shape = shape
        self.plain = False  # True at export: attention as matrix products

    def forward(self, embed: Tensor, memories: Tensor, time: Tensor) -> Tensor:
        read = self.read(self.key(embed), memories, time, self.plain)
        features = embed[:, : self.shape.features]
        x = self.first(self.join(torch.cat([features, read], dim=1)))
        x = self.cross(x, memories, time, self.plain)
        for block in self.blocks:
            x = block(x, self.plain)
        return x


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
        self.join1 = nn.Conv2d(3 * c1, c1, 1)
        self.mix1 = Residual(c1)
        self.more1 = Residual(c1)
        self.to0 = nn.Conv2d(c1, 2 * c0, 1)
        self.skip0 = nn.Conv2d(c0, c0, 1)
        self.join0 = nn.Conv2d(3 * c0, c0, 1)
        self.mix0 = Residual(c0)
        self.out = nn.Conv2d(c0, 4, 3, padding=1)
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
        cond = self.pre(cond)
        a, b = upsample(self.to1(cond), 2).chunk(2, dim=1)
        skip = self.skip1(high_res_1)
        x = self.more1(self.mix1(self.join1(torch.cat([a, skip, b * skip], dim=1))))
        a, b = upsample(self.to0(x), 2).chunk(2, dim=1)
        skip = self.skip0(high_res_0)
        x = F.relu(self.mix0(self.join0(torch.cat([a, skip, b * skip], dim=1))))
        logits = F.pixel_shuffle(self.out(x), 2)

        coarse = self.coarse(cond)
        said = logits.detach().float()
        inside = torch.sigmoid(F.avg_pool2d(said, STRIDE))
        area = inside.mean(dim=(2, 3))
        pooled = (cond * inside).mean(dim=(2, 3)) / (area + 1e-3)
        probability = torch.sigmoid(said)
        sure = (probability.square().mean(dim=(2, 3)) + 1e-5) / (
            probability.mean(dim=(2, 3)) + 1e-5
        )
        facts = [cond.mean(dim=(2, 3)), pooled, area.sqrt(), sure, inside.amax(dim=(2, 3))]
        iou, score = self.judge(torch.cat(facts, dim=1)).split(1, dim=1)
        return logits, iou, score, coarse


class Vote(nn.Module):
    """A second opinion, nothing learnt: which pixels of the memories are alike and near, and what
    the masks say there. [B,C,h,h], [B,N,M,h,h] -> probability [B,bins,h,h], 4x4 pixels of S / 2 in
    each cell.

    Likeness is that of small patches: of the intensity, of its mean around, and of how it stands
    out against that; nearness that of the place (non-local patch-based label fusion, Coupe et al.
    2011). The kernel is Gaussian. Of the patches within reach every third of each row and column
    votes, and of these every other one, as the black squares of a chessboard lie.
    """

    SPREAD = 0.06  # of the kernel, in units of grey
    PLACE = 1.5  # grey that a whole side of the slice is worth
    REACH = 6  # pixels of S / 2
    STEP = 3  # pixels from voter to voter; denser ones change little (log.md)
    PATCH = 1  # pixels on each side of a patch's middle
    CONTRAST = 0.15  # grey that a standard deviation from the mean around is worth
    DOUBT = 0.156  # voices of nobody, half for, half against: where little is alike, none decides
    WEIGHT = 0.5  # of the vote against the network, in logits
    SIDE = IMAGE_SIZE // 2

    def __init__(self, shape: Shape):
        super().__init__()
        self.shape = shape

    @staticmethod
    def looks(grey: Tensor) -> Tensor:
        """The intensity, its mean around, and the contrast between: [n,1,y,x] -> [n,3,y,x]."""
        around = F.pad(grey, (2, 2, 2, 2), mode="replicate")
        mean = F.avg_pool2d(around, 5, 1)
        variance = (F.avg_pool2d(around.square(), 5, 1) - mean.square()).clamp(min=0.0)
        contrast = Vote.CONTRAST * (grey - mean) / (variance + 1e-3).sqrt()
        return torch.cat([grey, mean, contrast], dim=1)

    def forward(self, embed: Tensor, memories: Tensor, time: Tensor) -> Tensor:
        """`time` [N]: the temporal index of each memory. Exemplars alone vote: a slice's neighbours
        look so much like it that they would outvote them, right or wrong.
        """
        side, reach, width = self.SIDE, self.REACH, 2 * self.PATCH + 1
        grey = half_size(embed[:, self.shape.features :])
        told = memories[:, :, self.shape.learnt - self.shape.bins :]
        may_vote = time == self.shape.time_indices - 1
        batch = told.shape[0]
        sharpness = 0.5 / self.SPREAD**2
        scale = (3 * sharpness) ** 0.5  # makes a mean over three looks the kernel's exponent
        query = scale * self.looks(F.pixel_shuffle(grey, 4))[:, None]
        bins, grey = told.flatten(0, 1).split([self.shape.bins, self.shape.grey], dim=1)
        looks = self.looks(F.pixel_shuffle(grey, 4)).reshape(batch, -1, 3, side, side)
        masks = F.pixel_shuffle(bins, 4).reshape(batch, -1, side, side)
        beyond = 9.0  # like nothing
        looks = scale * torch.where(may_vote[:, None, None, None], looks, beyond)
        looks = F.pad(looks, (reach, reach, reach, reach), value=scale * beyond)
        masks = F.pad(masks, (reach, reach, reach, reach))
        ayes, voices = 0.5 * self.DOUBT, self.DOUBT
        for y, x in self.shifts():
            away = ((y - reach) ** 2 + (x - reach) ** 2) * (self.PLACE / side) ** 2
            unlike = (looks[..., y : y + side, x : x + side] - query).square().flatten(0, 1)
            unlike = F.avg_pool3d(
                unlike[:, None],
                (3, width, width),
                stride=1,
                padding=(0, self.PATCH, self.PATCH),
                count_include_pad=False,
            )
            voice = torch.exp(-unlike).reshape(batch, -1, side, side)
            near = math.exp(-sharpness * away)
            voices = voices + near * voice.sum(dim=1)
            ayes = ayes + near * (voice * masks[..., y : y + side, x : x + side]).sum(dim=1)
        return F.pixel_unshuffle((ayes / voices)[:, None], 4)

    def shifts(self) -> list[tuple[int, int]]:
        """Where the voting patches lie, (y, x) from the corner of what is within reach."""
        steps = range(0, 2 * self.REACH + 1, self.STEP)
        return [(y, x) for y in steps for x in steps if (y + x) // self.STEP % 2 == 0]

    def join(self, logits: Tensor, share: Tensor) -> Tensor:
        """The network's logits [B,1,S,S] and the vote [B,bins,h,h] as one."""
        share = upsample(F.pixel_shuffle(share, 4), 2).clamp(0.01, 0.99)
        vote = torch.log(share) - torch.log(1 - share)
        return (1 - self.WEIGHT) * logits.clamp(-6, 6) + self.WEIGHT * vote


class Retrieval(nn.Module):
    """Finds like slices: [B,3,S,S] -> cls [B,576] of unit length, patches [B,h*h,features].

    The descriptor is what the image encoder sees, the gradients of the slice, and its intensities,
    all over a grid of 8x8 places, so that where things lie counts.
    """

    PLACES = 8
    COMPONENTS = 4
    DIRECTIONS = 4
    DIM = PLACES * PLACES * (COMPONENTS + DIRECTIONS + 1)
    SHARES = (0.4, 0.4, 0.2)  # of the three in the likeness (log.md)

    def __init__(self, encoder: ImageEncoder, shape: Shape, mean: Tensor, components: Tensor):
        """`components` [COMPONENTS, features] project `seen` less its `mean` [features]."""
        super().__init__()
        self.encoder = encoder
        self.shape = shape
        self.register_buffer("mean", mean[None, :, None, None])
        self.register_buffer("components", components[:, :, None, None])

    @staticmethod
    def seen(encoder: ImageEncoder, shape: Shape, image: Tensor) -> Tensor:
        """What the encoder sees: [B,3,S,S] -> [B,features,h,h], not negative."""
        return F.relu(encoder(image)[0][:, : shape.features])

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        seen = self.seen(self.encoder, self.shape, image)
        pooled = F.avg_pool2d(seen, GRID // self.PLACES) - self.mean
        learnt = unit(F.conv2d(pooled, self.components).flatten(1))
        grey = image.mean(dim=1, keepdim=True)
        edges = unit(gradients(grey, self.DIRECTIONS, self.PLACES))
        coarse = unit(F.avg_pool2d(grey, IMAGE_SIZE // self.PLACES).flatten(1))
        parts = zip(self.SHARES, (learnt, edges, coarse), strict=True)
        cls = torch.cat([share**0.5 * part for share, part in parts], dim=1)
        return cls, seen.flatten(2).transpose(1, 2)


def gradients(grey: Tensor, directions: int, places: int) -> Tensor:
    """How strong the edges of each direction are in each place: [B,1,S,S] -> [B,dirs*places^2].

    Histograms of oriented gradients (Dalal and Triggs, 2005) with smooth bins; roots of the sums.
    """
    grey = F.pad(grey, (4, 4, 4, 4), mode="replicate")
    for _ in range(3):
        grey = F.avg_pool2d(grey, 3, 1)
    across = grey[..., 1:-1, 2:] - grey[..., 1:-1, :-2]
    along = grey[..., 2:, 1:-1] - grey[..., :-2, 1:-1]
    strength = torch.sqrt(across * across + along * along + 1e-8)
    even, odd = across * across - along * along, 2 * across * along  # of the doubled angle
    angles = [2 * math.pi * index / directions for index in range(directions)]
    bins = [F.relu(even * math.cos(a) + odd * math.sin(a)) / strength for a in angles]
    return torch.sqrt(F.avg_pool2d(torch.cat(bins, dim=1), IMAGE_SIZE // places)).flatten(1)


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
