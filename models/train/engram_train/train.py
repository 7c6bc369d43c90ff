"""Trains the compact network on cached synthetic tasks; stop and start it as you like."""

import argparse
import math
import os
import time
from pathlib import Path

import numpy as np
import onnx
import torch
import torch.distributed as dist
import torch.multiprocessing
import torch.nn.functional as F
from onnx import numpy_helper
from torch import Tensor

from engram_train.episodes import (
    SLICES,
    Batch,
    Cache,
    choose_memories,
    compose,
    corrupt,
    draw,
)
from engram_train.model import STRIDE, Compact

SCORE_LIMIT = 10.0


def losses(logits: Tensor, iou: Tensor, score: Tensor, coarse: Tensor, truth: Tensor) -> dict:
    """Terms of the loss for logits, truth [B,1,S,S], iou and score [B,1], coarse [B,1,h,h]."""
    logits, iou, score, coarse = (x.float() for x in (logits, iou, score, coarse))
    present = (truth.sum(dim=(1, 2, 3)) > 0).float()
    probability = torch.sigmoid(logits)
    overlap = (probability * truth).sum(dim=(1, 2, 3))
    total = probability.sum(dim=(1, 2, 3)) + truth.sum(dim=(1, 2, 3))
    dice = 2 * overlap / (total + 1.0)
    cross = F.binary_cross_entropy_with_logits(logits, truth)
    rough = F.binary_cross_entropy_with_logits(coarse, F.avg_pool2d(truth, STRIDE))
    with torch.no_grad():
        hard = (logits > 0).float()
        area = hard.sum(dim=(1, 2, 3)) + truth.sum(dim=(1, 2, 3))
        reached = (2 * (hard * truth).sum(dim=(1, 2, 3)) + 1e-3) / (area + 1e-3)
    presence = F.binary_cross_entropy_with_logits(score[:, 0], present)
    quality = F.binary_cross_entropy_with_logits(iou[:, 0], reached)
    return {
        "dice": ((1 - dice) * present).sum() / present.sum().clamp(min=1),
        "cross": cross,
        "rough": rough,
        "presence": presence,
        "quality": quality,
        "hard": (reached * present).sum() / present.sum().clamp(min=1),
    }


READ_OUT = "attention.read."
COUNTS = [1, 3, 6, 9, 11]  # exemplars a target
WEIGHTS = {"dice": 1.0, "cross": 2.0, "rough": 0.7, "presence": 0.1, "quality": 0.1}


class Step:
    """One forward pass over a batch: targets from exemplars, then neighbours with recent ones."""

    def __init__(self, model: Compact, random: torch.Generator):
        self.model = model
        self.random = random

    def __call__(
        self, batch: Batch, again: float, common: np.random.Generator
    ) -> tuple[Tensor, dict]:
        model, truth = self.model, batch.masks
        device = truth.device
        groups = len(batch.images) // SLICES
        embed, fine, middle = model.encoder(batch.images)
        present = (truth.sum(dim=(2, 3)) > 0).float()
        memory = model.memory(embed, truth, (present * 2 - 1) * SCORE_LIMIT)
        levels = (embed, fine, middle)

        targets = np.arange(SLICES)
        plan = choose_memories(batch, int(common.choice(COUNTS)), common, targets, recent=False)
        out = self.decode(levels, memory, groups, targets, plan)
        terms = losses(*out, truth)
        loss = sum(WEIGHTS[key] * terms[key] for key in WEIGHTS)

        neighbours = np.flatnonzero(batch.patients == 0)
        if len(neighbours) > 1 and common.random() < again:
            every = torch.arange(len(truth), device=device).reshape(groups, SLICES)
            rows = every[:, torch.from_numpy(neighbours).to(device)].reshape(-1)
            soft, score = self.earlier(out, truth, present, rows)
            recent = memory.clone()
            recent[rows] = model.memory(embed[rows], soft, score).to(recent.dtype)
            both = torch.cat(
                [x.reshape(groups, SLICES, *x.shape[1:]) for x in (memory, recent)], dim=1
            ).flatten(0, 1)
            plan = choose_memories(
                batch, int(common.integers(2, SLICES - 2)), common, neighbours, recent=True
            )
            out = self.decode(levels, both, groups, neighbours, plan)
            more = losses(*out, truth[rows])
            share = len(neighbours) / SLICES
            loss = loss + share * sum(WEIGHTS[key] * more[key] for key in WEIGHTS)
            terms["hard_recent"] = more["hard"]
        return loss, terms

    def earlier(self, out: tuple, truth: Tensor, present: Tensor, rows: Tensor) -> tuple:
        """Masks and scores of the slices `rows` as an earlier pass would leave them: mostly what
        the network just said, sometimes a spoilt truth."""
        more = {"generator": self.random, "device": truth.device}
        own = torch.sigmoid(out[0][rows].detach().float())
        own_score = out[2][rows].detach().float().clamp(-SCORE_LIMIT, SCORE_LIMIT)
        use = torch.rand((len(rows), 1), **more) < 0.85
        soft = torch.where(use[..., None, None], own, corrupt(truth[rows], self.random))
        told = (present[rows] * 2 - 1) * (1 + 7 * torch.rand((len(rows), 1), **more))
        return soft, torch.where(use, own_score, told)

    def decode(self, levels, memory: Tensor, groups: int, targets: np.ndarray, plan) -> tuple:
        """Decodes the targets of every group; memory is [groups * m, M, h, h]."""
        device = memory.device
        source, when = (torch.from_numpy(x).to(device) for x in plan)
        memory = memory.reshape(groups, -1, *memory.shape[1:])
        memories = memory.index_select(1, source.flatten())
        # [groups * targets, N, M, h, h]
        memories = memories.reshape(-1, source.shape[1], *memory.shape[2:])
        when = when[None].expand(groups, -1, -1).flatten(0, 1)
        pick = levels
        if len(targets) < SLICES:
            rows = torch.from_numpy(targets).to(device)
            pick = [x.reshape(groups, SLICES, *x.shape[1:])[:, rows].flatten(0, 1) for x in levels]
        cond = self.model.attention(pick[0], memories, when)
        return self.model.decoder.detailed(cond, pick[1], pick[2])


def save(path: Path, state: dict) -> None:
    partial = path.with_suffix(".tmp")
    torch.save(state, partial)
    os.replace(partial, path)


# Graphs of a bundle, and what their weights are called in the network.
GRAPHS = {
    "image_encoder": "encoder.",
    "memory_encoder": "memory.",
    "memory_attention": "",
    "mask_decoder": "",
}
NOT_EXPORTED = "decoder.coarse."  # only the loss wants it; it is soon learnt anew
HALF = ".half"  # ends the names of weights stored as halves
# Blocks that version 0.5.0 added: a bundle from before has none.
ADDED = tuple(
    [f"encoder.level{level}.{block}." for level in (2, 3) for block in (2, 3)]
    + ["attention.blocks.2.", "decoder.more1."]
)


def weights(source: Path) -> dict[str, Tensor]:
    """Averaged weights from a checkpoint, or from the folder of an exported bundle. Blocks that
    the source has not are new ones, which change nothing yet."""
    state = Compact().state_dict()
    if not source.is_dir():
        found = torch.load(source, map_location="cpu", weights_only=False)["average"]
    else:
        found = {}
        for graph, prefix in GRAPHS.items():
            for weight in onnx.load(source / f"{graph}.onnx").graph.initializer:
                name = prefix + weight.name.removesuffix(HALF)
                values = numpy_helper.to_array(weight).astype(np.float32)
                found[name] = torch.from_numpy(values)
        for key in [key for key in state if key.startswith("key.")]:  # shared by both of these
            found[key] = found[f"attention.{key}"]
        found |= {key: state[key] for key in state if key.startswith(NOT_EXPORTED)}
    missing = state.keys() - found.keys()
    if strange := [key for key in missing if not key.startswith(ADDED)]:
        raise ValueError(f"{source} lacks the weights {', '.join(sorted(strange))}")
    return {key: found.get(key, state[key]).float() for key in state}


def share_gradients(model: Compact, workers: int) -> None:
    """Averages the gradients over the workers, in one message."""
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    flat = torch.cat([g.reshape(-1) for g in gradients])
    dist.all_reduce(flat)
    flat /= workers
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.reshape(gradient.shape))


def make_optimiser(model: Compact, rate: float) -> torch.optim.Optimizer:
    """AdamW in three groups, each with the `scale` of its rate."""
    named = list(model.named_parameters())
    # The few numbers that shape the read-outs must travel far: they get a rate of their own.
    shaping = [p for name, p in named if name.startswith(READ_OUT) and p.numel() < 64]
    shaped = {id(p) for p in shaping}
    decay = [p for _, p in named if p.dim() > 1 and id(p) not in shaped]
    plain = [p for _, p in named if p.dim() <= 1 and id(p) not in shaped]
    return torch.optim.AdamW(
        [
            {"params": decay, "weight_decay": 0.02, "scale": 1.0},
            {"params": plain, "weight_decay": 0.0, "scale": 1.0},
            {"params": shaping, "weight_decay": 0.0, "scale": 10.0},
        ],
        lr=rate,
        betas=(0.9, 0.98),
        fused=next(model.parameters()).is_cuda,
    )


class Averages:
    """Exponential averages of the weights, the shorter while there are few steps."""

    def __init__(self, model: Compact, decay: float):
        self.decay = decay
        self.values = {key: value.clone() for key, value in model.state_dict().items()}

    @torch.no_grad()
    def take(self, model: Compact, step: int) -> None:
        keep = min(self.decay, (step + 1) / (step + 20))
        state = model.state_dict()
        torch._foreach_lerp_(list(self.values.values()), [state[k] for k in self.values], 1 - keep)


class Training:
    """One of `args.workers` processes. On a CPU each has one thread: on a busy machine they wait
    for each other once a step, where the threads of one process would wait at every operation.
    On a GPU there is one."""

    def __init__(self, rank: int, args: argparse.Namespace):
        self.args = args
        self.device = torch.device(args.device)
        self.path = args.out / "checkpoint.pt"
        args.out.mkdir(parents=True, exist_ok=True)
        self.step, self.elapsed = 0, 0.0
        self.model = Compact().train().to(self.device)
        self.optimiser = make_optimiser(self.model, args.rate)
        self.scaler = torch.amp.GradScaler(
            self.device.type, init_scale=2.0**14, enabled=args.precision == "fp16"
        )
        if not self.path.exists() and args.start:
            self.model.load_state_dict(weights(args.start))
        self.averages = Averages(self.model, args.decay)
        if self.path.exists():
            self.resume()
        self.cache = Cache(args.cache, args.capacity, self.device, rank, args.workers)
        seed = args.seed * 1000003 + self.step * 64 + rank
        self.random = torch.Generator(self.device).manual_seed(seed)
        self.forward = Step(self.model, self.random)

    def resume(self) -> None:
        state = torch.load(self.path, map_location=self.device, weights_only=False)
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.averages.values = state["average"]
        self.step, self.elapsed = state["step"], state["elapsed"]

    def save(self) -> None:
        state = {"model": self.model.state_dict(), "optimiser": self.optimiser.state_dict()}
        state |= {"average": self.averages.values, "step": self.step, "elapsed": self.elapsed}
        save(self.path, state)

    def rate(self) -> float:
        """A short rise, then half a cosine of the clock."""
        progress = self.elapsed / (self.args.minutes * 60)
        rate = self.args.rate * min(1.0, (self.step + 1) / 100)
        return rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))

    def advance(self) -> dict[str, Tensor]:
        """One step; returns the terms of the loss."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate() * group["scale"]
        # The workers share what decides how much work a batch is: none waits for another.
        common = np.random.default_rng([self.args.seed, 1, self.step])
        batch = draw(self.cache, self.args.groups, self.random, *compose(common))
        with autocast(self.device, self.args.precision):
            loss, terms = self.forward(batch, self.args.again, common)
        self.optimiser.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        if self.args.workers > 1:
            share_gradients(self.model, self.args.workers)
        self.scaler.unscale_(self.optimiser)
        size = torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        if self.scaler.is_enabled() or torch.isfinite(size):  # the scaler looks by itself
            self.scaler.step(self.optimiser)
        self.scaler.update()
        self.step += 1
        self.averages.take(self.model, self.step)
        if self.step % self.args.refresh == 0:
            self.cache.refresh()
        return terms

    def report(self, seen: dict[str, list[Tensor]]) -> None:
        text = " ".join(f"{key} {torch.stack(v).mean():.3f}" for key, v in seen.items())
        facts = f"step {self.step} {self.elapsed:.0f} s rate {self.rate():.1e}"
        print(f"{facts} anatomies {len(self.cache)} {text}", flush=True)


def train(rank: int, args: argparse.Namespace) -> None:
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")  # on a GPU
    if args.workers > 1:
        meeting = f"tcp://127.0.0.1:{args.port}"
        dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=args.workers)
    training = Training(rank, args)
    print(f"worker {rank}: {len(training.cache)} anatomies, from step {training.step}", flush=True)
    seen: dict[str, list[Tensor]] = {}
    start = saved = time.time() - training.elapsed
    while training.elapsed < args.minutes * 60:
        for key, value in training.advance().items():
            seen.setdefault(key, []).append(value.detach())
        training.elapsed = shared_clock(start, args.workers)
        if training.step % 25 == 0:
            if rank == 0:
                training.report(seen)
            seen.clear()
        over = training.elapsed >= args.minutes * 60
        if rank == 0 and (time.time() - saved > 120 or over):
            saved = time.time()
            training.save()


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Computes in halves what torch thinks safe, if `precision` is fp16."""
    return torch.autocast(device.type, torch.float16, enabled=precision == "fp16")


def shared_clock(start: float, workers: int) -> float:
    """Seconds since the start, the same in all workers, so that all stop at the same step."""
    clock = torch.tensor([time.time() - start], dtype=torch.float64)
    if workers > 1:
        dist.broadcast(clock, 0)
    return float(clock)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="checkpoints")
    parser.add_argument(
        "--start", type=Path, help="weights to begin from: a checkpoint or a bundle"
    )
    parser.add_argument("--minutes", type=float, default=80, help="length of the schedule")
    parser.add_argument("--groups", type=int, default=1, help="anatomies a step and worker")
    parser.add_argument("--again", type=float, default=0.3, help="share of steps with propagation")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--decay", type=float, default=0.998)
    parser.add_argument("--capacity", type=int, default=8000, help="anatomies held at a time")
    parser.add_argument("--refresh", type=int, default=200, help="steps between looks for new ones")
    parser.add_argument("--device", default="cpu", help="cpu, or cuda with one worker")
    parser.add_argument("--precision", choices=["fp32", "fp16"], default="fp32")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--port", type=int, default=29511, help="where they meet, on loopback")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.workers > 1:
        torch.multiprocessing.spawn(train, (args,), args.workers)
    else:
        train(0, args)


if __name__ == "__main__":
    main()
