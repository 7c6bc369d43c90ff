"""Random weights with which a mistake shows.

With plain random weights a wrong temporal index or a missing pointer hardly changes a mask, masks
are empty or full, and every object is there. `boost` enlarges what tells memories and pointers
apart, then runs short trackings and shifts the last layers of the decoder's heads until masks are
about half full, object scores have both signs and each of the three mask tokens is chosen at times.
"""

from collections.abc import Callable
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
ABSENT = 0.3  # share of slices on which the object is to be absent
IOU_SPREAD = 1.5  # of the logits of the predicted IoU over slices


@dataclass
class Seen:
    """What the decoder computed on one slice."""

    plane: Tensor  # [C / 8], the mean over pixels of the finest features
    logits: Tensor  # [T, m, m]
    iou: Tensor  # [T], before the sigmoid
    score: float
    hidden: Tensor  # what the last layer of the object score's head got
    kind: str  # given, tracked or prompted


def sequences(size: int) -> int:
    """How many sequences of `size` x `size` pixels the weights are balanced on."""
    return 4 if size <= 256 else 2


def sequence_seed(seed: int, number: int) -> int:
    """The seed of one of them, for the weights of a seed."""
    return seed + 3 + number


def boost(model: Sam2VideoModel, seed: int) -> None:
    """Changes random weights in place; the same seed gives the same weights."""
    enlarge(model, seed)
    size = model.config.image_size
    small = size <= 256
    frames, rounds, objects = (8, ROUNDS, 3) if small else (3, 2, 2)
    runs = [
        Tracking(model, sequence_seed(seed, number), frames, objects)
        for number in range(sequences(size))
    ]
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
    """Objects followed over a drawn sequence, with one given mask each."""

    def __init__(self, model: Sam2VideoModel, seed: int, frames: int, objects: int):
        self.config = model.config
        images, masks = sequence(seed, frames, model.config.image_size)
        self.masks = masks[:objects]
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
        self,
        cond: Tensor,
        frame: int,
        points: Tensor,
        labels: Tensor,
        prompt: Tensor | None,
        kind: str,
    ) -> tuple[Seen, Tensor]:
        """What the decoder makes of a slice, and the pointers [T, C]."""
        _, high_0, high_1 = self.features[frame]
        side = high_0.shape[-1]
        given = torch.zeros(1, 1, side, side) if prompt is None else prompt
        has = torch.tensor([[float(prompt is not None)]])
        sparse, dense = self.prompts(points, labels, given, has)
        net, caught = self.model.mask_decoder, {}

        def catch(name: str, wanted: Callable):
            return lambda module, given, result: caught.update({name: wanted(given, result)})

        hooks = [
            # It runs twice; the second time after the finest upscaling.
            net.activation.register_forward_hook(catch("plane", lambda g, r: r[0].mean((1, 2)))),
            net.iou_prediction_head.proj_out.register_forward_hook(catch("iou", lambda g, r: r[0])),
            net.pred_obj_score_head.proj_out.register_forward_hook(
                catch("hidden", lambda g, r: g[0][0])
            ),
        ]
        masks, _, score, pointers = self.decoder(cond, high_0, high_1, sparse, dense)
        for hook in hooks:
            hook.remove()
        return Seen(logits=masks[0], score=float(score), kind=kind, **caught), pointers[0]

    def follow(self, masks: Tensor) -> list[Seen]:
        """Tracks one object from its mask on the first slice."""
        nothing = torch.zeros(1, 1, 2), torch.full((1, 1), -1)
        scale, bias = self.config.sigmoid_scale_for_mem_enc, self.config.sigmoid_bias_for_mem_enc
        given = masks[0][None, None]
        first, pointers = self.decode(
            self.features[0][0], 0, *nothing, self.downsample(given), "given"
        )
        seen = [first]
        memories = [self.memory(self.features[0][0], given * scale + bias, torch.tensor([[10.0]]))]
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
            found, pointers = self.decode(cond, frame, *nothing, None, "tracked")
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
            for points, labels in (
                (point[None, None], torch.ones(1, 1).long()),
                (box[None], torch.tensor([[2, 3]])),
            ):
                seen.append(self.decode(cond, frame, points, labels, None, "prompted")[0])
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
        # What a slice's logits have in common is `weights . plane`: take most of it away, so that
        # no slice is all object or all ground.
        out.weight.sub_(0.9 * unit[:, None] * (unit @ out.weight)[None])
        out.bias.sub_(unit * level / plane.norm())
        wanted = LOGIT_SPREAD if token else SINGLE_SPREAD
        out.weight.mul_(wanted / spread)
        out.bias.mul_(wanted / spread)
    out = decoder.pred_obj_score_head.proj_out
    scores = forget_kind(out, seen)
    rescale(out, scores, SCORE_SPREAD, ABSENT)
    rescale(decoder.iou_prediction_head.proj_out, [s.iou.tolist() for s in seen], IOU_SPREAD, 0.5)


def forget_kind(out: torch.nn.Linear, seen: list[Seen]) -> list[list[float]]:
    """Takes from the object score what only tells tracked slices from prompted ones, so that
    neither kind is always there; returns what the scores are then."""
    hidden = torch.stack([s.hidden for s in seen])
    kinds = sorted({s.kind for s in seen})
    means = [hidden[[s.kind == kind for s in seen]].mean(0) for kind in kinds]
    apart = torch.stack([mean - means[0] for mean in means[1:]])
    _, sizes, directions = torch.linalg.svd(apart, full_matrices=False)
    directions = directions[sizes > 1e-6 * sizes[0]]
    out.weight.sub_(out.weight @ directions.T @ directions)
    return (hidden @ out.weight.T + out.bias).tolist()


def rescale(layer: torch.nn.Linear, given: list[list[float]], spread: float, below: float) -> None:
    """Gives each output of a layer that standard deviation, and that share of numbers below 0."""
    values = torch.tensor(given)
    for row in range(layer.out_features):
        factor = min(spread / max(float(values[:, row].std()), 1e-3), 1e3)
        middle = float(values[:, row].quantile(below))
        layer.weight[row].mul_(factor)
        layer.bias[row].copy_((layer.bias[row] - middle) * factor)
