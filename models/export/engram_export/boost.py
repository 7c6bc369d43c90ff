"""Random weights with which a fault shows.

With plain random weights a wrong temporal index or a missing pointer hardly changes a mask, masks are
empty or full, and every object is there. `boost` enlarges what tells memories and pointers apart, then
runs short trackings and shifts the last layers of the decoder's heads until masks are about half full,
object scores have both signs and each of the three mask tokens is chosen at times.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import Sam2VideoModel

from engram_export.graphs import (
    ImageEncoder,
    MaskDecoder,
    MaskDownsample,
    MemoryAttention,
    MemoryEncoder,
    PromptEncoder,
)
from engram_export.synthetic import sequence

ROUNDS = 4
LOGIT_SPREAD = 5.0  # standard deviation of a mask's logits over its pixels
SINGLE_SPREAD = 12.0  # of the single mask's: about as many are stable as are not
SCORE_SPREAD = 3.0  # of the object scores over slices
ABSENT = 0.4  # share of slices on which the object is to be absent
IOU_SPREAD = 1.5  # of the logits of the predicted IoU over slices


@dataclass
class Seen:
    """What the decoder computed on one slice."""

    plane: Tensor  # [C / 8], the mean over pixels of the finest features
    logits: Tensor  # [T, m, m]
    iou: Tensor  # [T], before the sigmoid
    score: float


def boost(model: Sam2VideoModel, seed: int) -> None:
    """Changes random weights in place; the same seed gives the same weights."""
    enlarge(model, seed)
    size = model.config.image_size
    sequences, frames, rounds = (4, 8, ROUNDS) if size <= 256 else (1, 4, 3)
    runs = [Tracking(model, seed + 3 + number, frames) for number in range(sequences)]
    for _ in range(rounds):
        balance(model, [seen for run in runs for seen in run.slices()])


@torch.no_grad()
def enlarge(model: Sam2VideoModel, seed: int) -> None:
    """Makes times, distances, pointers and absence count."""
    generator = torch.Generator().manual_seed(seed + 2)
    refill = {
        model.memory_temporal_positional_encoding: 1.5,
        model.no_object_pointer: 2.0,
        model.no_memory_embedding: 1.5,
        model.occlusion_spatial_embedding_parameter: 2.0,
    }
    for weight, spread in refill.items():
        weight.copy_(torch.randn(weight.shape, generator=generator) * spread)
    model.object_pointer_proj.proj_out.weight.mul_(6.0)
    model.temporal_positional_encoding_projection_layer.weight.mul_(16.0)
    for layer in model.memory_attention.layers:
        layer.cross_attn_image.o_proj.weight.mul_(2.0)


class Tracking:
    """Two objects followed over a drawn sequence, with one given mask each."""

    def __init__(self, model: Sam2VideoModel, seed: int, frames: int):
        self.config = model.config
        images, self.masks = sequence(seed, frames, model.config.image_size)
        self.model = model
        self.memory, self.attention = MemoryEncoder(model), MemoryAttention(model)
        self.prompts, self.decoder = PromptEncoder(model), MaskDecoder(model)
        self.downsample = MaskDownsample(model)
        with torch.no_grad():
            encoder = ImageEncoder(model)
            self.features = [encoder(torch.from_numpy(image)[None]) for image in images]

    @torch.no_grad()
    def slices(self) -> list[Seen]:
        """Every slice decoded once with what the weights are now."""
        seen = []
        for masks in self.masks:
            seen += self.follow(torch.from_numpy(masks).float())
            seen += self.click(torch.from_numpy(masks))
        return seen

    def decode(
        self, cond: Tensor, frame: int, points: Tensor, labels: Tensor, prompt: Tensor | None
    ) -> tuple[Seen, Tensor]:
        _, high_0, high_1 = self.features[frame]
        side = high_0.shape[-1]
        given = torch.zeros(1, 1, side, side) if prompt is None else prompt
        has = torch.tensor([[float(prompt is not None)]])
        sparse, dense = self.prompts(points, labels, given, has)
        planes: list[Tensor] = []
        head = self.model.mask_decoder.output_hypernetworks_mlps
        ious: list[Tensor] = []
        final = self.model.mask_decoder.activation
        hooks = [
            final.register_forward_hook(lambda m, i, o: planes.append(o)),
            self.model.mask_decoder.iou_prediction_head.proj_out.register_forward_hook(
                lambda m, i, o: ious.append(o)
            ),
        ]
        masks, _, score, pointers = self.decoder(cond, high_0, high_1, sparse, dense)
        for hook in hooks:
            hook.remove()
        plane = next(p for p in reversed(planes) if p.shape[1] == head[0].proj_out.out_features)
        return Seen(plane[0].mean((1, 2)), masks[0], ious[0][0], float(score)), pointers[0]

    def follow(self, masks: Tensor) -> list[Seen]:
        """Tracks one object from its mask on the first slice."""
        nothing = torch.zeros(1, 1, 2), torch.full((1, 1), -1)
        scale, bias = self.config.sigmoid_scale_for_mem_enc, self.config.sigmoid_bias_for_mem_enc
        given = masks[0][None, None]
        first, pointers = self.decode(
            self.features[0][0], 0, *nothing, prompt=self.downsample(given)
        )
        seen = [first]
        memories = [
            self.memory(self.features[0][0], given * scale + bias, torch.tensor([[10.0]]))
        ]
        kept = [pointers[0]]
        divisor = max(1, min(len(self.features), self.config.max_object_pointers_in_encoder) - 1)
        for frame in range(1, len(self.features)):
            recent = range(max(1, frame - self.config.num_maskmem + 1), frame)
            chosen = [memories[0]] + [memories[i] for i in recent]
            times = [self.config.num_maskmem - 1] + [frame - i - 1 for i in recent]
            order = [0, *range(frame - 1, 0, -1)]
            away = [frame - i for i in order]
            cond = self.attention(
                self.features[frame][0],
                torch.stack(chosen, dim=1),
                torch.tensor(times),
                torch.stack([kept[i] for i in order])[None],
                torch.tensor(away) / divisor,
            )
            found, pointers = self.decode(cond, frame, *nothing, prompt=None)
            best = 1 + int(found.iou[1:].argmax())
            here = found.score > 0
            logits = found.logits[best] if here else torch.full_like(found.logits[best], -1024.0)
            full = torch.nn.functional.interpolate(
                logits[None, None], size=given.shape[-2:], mode="bilinear"
            )
            memories.append(
                self.memory(
                    self.features[frame][0],
                    full.sigmoid() * scale + bias,
                    torch.tensor([[found.score]]),
                )
            )
            kept.append(pointers[best] if here else self.model.no_object_pointer[0])
            seen.append(found)
        return seen

    def click(self, masks: Tensor) -> list[Seen]:
        """One click, and a box, on each slice by itself."""
        seen = []
        for frame in range(0, len(self.features), 2):
            cond = self.features[frame][0] + self.model.no_memory_embedding[0, 0, :, None, None]
            rows, columns = torch.nonzero(masks[frame], as_tuple=True)
            if not len(rows):
                continue
            point = torch.stack([columns, rows], dim=1).float().mean(0)
            corner = [columns.min(), rows.min()], [columns.max(), rows.max()]
            box = torch.tensor(corner).float()
            seen.append(self.decode(cond, frame, point[None, None], torch.ones(1, 1).long(), None)[0])
            seen.append(self.decode(cond, frame, box[None], torch.tensor([[2, 3]]), None)[0])
        return seen


@torch.no_grad()
def balance(model: Sam2VideoModel, seen: list[Seen]) -> None:
    """Shifts and scales the last layers of the decoder's heads by what they gave."""
    decoder = model.mask_decoder
    plane = torch.stack([s.plane for s in seen]).mean(0)
    unit = plane / plane.norm()
    for token, head in enumerate(decoder.output_hypernetworks_mlps):
        logits = torch.stack([s.logits[token] for s in seen])
        spread = float(logits.flatten(1).std(1).mean())
        level = float(logits.mean())
        out = head.proj_out
        # What a slice's logits have in common is `weights . plane`: take most of it away, so that no
        # slice is all object or all ground.
        out.weight.sub_(0.9 * unit[:, None] * (unit @ out.weight)[None])
        out.bias.sub_(unit * level / plane.norm())
        wanted = LOGIT_SPREAD if token else SINGLE_SPREAD
        out.weight.mul_(wanted / spread)
        out.bias.mul_(wanted / spread)
    rescale(decoder.pred_obj_score_head.proj_out, [[s.score] for s in seen], SCORE_SPREAD, ABSENT)
    rescale(decoder.iou_prediction_head.proj_out, [s.iou.tolist() for s in seen], IOU_SPREAD, 0.5)


def rescale(layer: torch.nn.Linear, given: list[list[float]], spread: float, below: float) -> None:
    """Gives each output of a layer that standard deviation, and that share of numbers below 0."""
    values = torch.tensor(given)
    for row in range(layer.out_features):
        factor = spread / max(float(values[:, row].std()), 1e-3)
        factor = math.copysign(min(abs(factor), 1e3), factor)
        middle = float(values[:, row].quantile(below))
        layer.weight[row].mul_(factor)
        layer.bias[row].copy_((layer.bias[row] - middle) * factor)
