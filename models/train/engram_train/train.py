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

from engram_train.episodes import SLICES, Batch, Cache, choose_memories, corrupt, draw
from engram_train.model import STRIDE, Compact

SCORE_LIMIT = 10.0


def losses(logits: Tensor, iou: Tensor, score: Tensor, coarse: Tensor, truth: Tensor) -> dict:
    """Terms of the loss for logits, truth [B,1,S,S], iou and score [B,1], coarse [B,1,h,h]."""
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
WEIGHTS = {"dice": 1.0, "cross": 2.0, "rough": 0.7, "presence": 0.1, "quality": 0.1}


class Step:
    """One forward pass over a batch: targets from exemplars, then neighbours with recent ones."""

    def __init__(self, model: Compact, rng: np.random.Generator):
        self.model = model
        self.rng = rng

    def __call__(
        self, batch: Batch, most: int, again: float, common: np.random.Generator
    ) -> tuple[Tensor, dict]:
        model, rng = self.model, self.rng
        groups = len(batch.images) // SLICES
        embed, fine, middle = model.encoder(batch.images)
        truth = batch.masks
        present = (truth.sum(dim=(2, 3)) > 0).float()
        memory = model.memory(embed, truth, (present * 2 - 1) * SCORE_LIMIT)
        levels = (embed, fine, middle)

        count = int(common.choice([1, most - 1, most, most]))
        targets = np.arange(SLICES)
        plan = choose_memories(batch, count, rng, targets, recent=False)
        out = self.decode(levels, memory, groups, targets, plan)
        terms = losses(*out, truth)
        loss = sum(WEIGHTS[key] * terms[key] for key in WEIGHTS)

        neighbours = np.flatnonzero(batch.patients == 0)
        if len(neighbours) > 1 and common.random() < again:
            own = torch.sigmoid(out[0].detach())
            own_score = out[2].detach().clamp(-SCORE_LIMIT, SCORE_LIMIT)
            use = torch.from_numpy(rng.random(len(truth)) < 0.85)
            soft = torch.where(use[:, None, None, None], own, corrupt(truth, rng))
            told = (present * 2 - 1) * float(rng.uniform(1, 8))
            score = torch.where(use[:, None], own_score, told)
            rows = torch.arange(len(truth)).reshape(groups, SLICES)[:, neighbours].reshape(-1)
            recent = memory.clone()
            recent[rows] = model.memory(embed[rows], soft[rows], score[rows])
            both = torch.cat(
                [x.reshape(groups, SLICES, *x.shape[1:]) for x in (memory, recent)], dim=1
            ).flatten(0, 1)
            count = int(common.integers(2, most + 1))
            plan = choose_memories(batch, count, rng, neighbours, recent=True)
            out = self.decode(levels, both, groups, neighbours, plan)
            more = losses(*out, truth[rows])
            share = len(neighbours) / SLICES
            loss = loss + share * sum(WEIGHTS[key] * more[key] for key in WEIGHTS)
            terms["hard_recent"] = more["hard"]
        return loss, terms

    def decode(self, levels, memory: Tensor, groups: int, targets: np.ndarray, plan) -> tuple:
        """Decodes the targets of every group; memory is [groups * m, M, h, h]."""
        source, when = (torch.from_numpy(x) for x in plan)
        memory = memory.reshape(groups, -1, *memory.shape[1:])
        memories = memory[:, source].flatten(0, 1)  # [groups * targets, N, M, h, h]
        when = when[None].expand(groups, -1, -1).flatten(0, 1)
        pick = [x.reshape(groups, SLICES, *x.shape[1:])[:, targets].flatten(0, 1) for x in levels]
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


def weights(source: Path) -> dict[str, Tensor]:
    """Averaged weights from a checkpoint, or from the folder of an exported bundle."""
    if not source.is_dir():
        return torch.load(source, map_location="cpu", weights_only=False)["average"]
    state = Compact().state_dict()
    found = {}
    for graph, prefix in GRAPHS.items():
        for weight in onnx.load(source / f"{graph}.onnx").graph.initializer:
            found[prefix + weight.name] = torch.from_numpy(numpy_helper.to_array(weight).copy())
    for key in [key for key in state if key.startswith("key.")]:  # shared by both of these
        found[key] = found[f"attention.{key}"]
    found |= {key: state[key] for key in state if key.startswith(NOT_EXPORTED)}
    if missing := state.keys() - found.keys():
        raise ValueError(f"{source} lacks the weights {', '.join(sorted(missing))}")
    return {key: found[key] for key in state}


def share_gradients(model: Compact, workers: int) -> None:
    """Averages the gradients over the workers, in one message."""
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    flat = torch.cat([g.reshape(-1) for g in gradients])
    dist.all_reduce(flat)
    flat /= workers
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.reshape(gradient.shape))


def train(rank: int, args: argparse.Namespace) -> None:
    """One of `args.workers` processes, each of one thread: on a busy machine they wait for each
    other once a step, where the threads of one process would wait at every operation."""
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)
    meeting = f"tcp://127.0.0.1:{args.port}"
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=args.workers)
    model = Compact().train()
    average = {key: value.clone() for key, value in model.state_dict().items()}
    named = list(model.named_parameters())
    # The few numbers that shape the read-outs must travel far: they get a rate of their own.
    shaping = [p for name, p in named if name.startswith(READ_OUT) and p.numel() < 64]
    shaped = {id(p) for p in shaping}
    decay = [p for _, p in named if p.dim() > 1 and id(p) not in shaped]
    plain = [p for _, p in named if p.dim() <= 1 and id(p) not in shaped]
    optimiser = torch.optim.AdamW(
        [
            {"params": decay, "weight_decay": 0.02, "scale": 1.0},
            {"params": plain, "weight_decay": 0.0, "scale": 1.0},
            {"params": shaping, "weight_decay": 0.0, "scale": 10.0},
        ],
        lr=args.rate,
        betas=(0.9, 0.98),
    )
    step, elapsed = 0, 0.0
    path = args.out / "checkpoint.pt"
    args.out.mkdir(parents=True, exist_ok=True)
    if path.exists():
        state = torch.load(path, map_location="cpu", weights_only=False)
        model.load_state_dict(state["model"])
        if len(state["optimiser"]["param_groups"]) == 3:
            optimiser.load_state_dict(state["optimiser"])
        average, step, elapsed = state["average"], state["step"], state["elapsed"]
    elif args.start:
        average = weights(args.start)
        model.load_state_dict(average)
    rng = np.random.default_rng([args.seed, step, rank])
    cache = Cache(args.cache, rank, args.workers)
    print(f"worker {rank}: {len(cache)} anatomies, from step {step}", flush=True)
    run = Step(model, rng)
    total = args.minutes * 60
    seen: dict[str, list[float]] = {}
    start = saved = time.time() - elapsed
    while elapsed < total:
        progress = elapsed / total
        rate = args.rate * min(1.0, (step + 1) / 100)
        rate *= 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress))
        for group in optimiser.param_groups:
            group["lr"] = rate * group["scale"]
        common = np.random.default_rng([args.seed, 1, step])
        batch = draw(cache, args.groups, rng, common)
        loss, terms = run(batch, args.most, args.again, common)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        share_gradients(model, args.workers)
        size = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        if torch.isfinite(size):
            optimiser.step()
        step += 1
        keep = min(args.decay, (step + 1) / (step + 20))
        with torch.no_grad():
            for key, value in model.state_dict().items():
                average[key].lerp_(value, 1 - keep)
        clock = torch.tensor([time.time() - start], dtype=torch.float64)
        dist.broadcast(clock, 0)  # so that all stop at the same step
        elapsed = float(clock)
        if step % 200 == 0:
            cache.refresh()
        if rank:
            continue
        for key, value in terms.items():
            seen.setdefault(key, []).append(float(value.detach()))
        if step % 25 == 0:
            text = " ".join(f"{key} {np.mean(value):.3f}" for key, value in seen.items())
            print(f"step {step} {elapsed:.0f} s rate {rate:.1e} {text}", flush=True)
            seen.clear()
        if time.time() - saved > 120 or elapsed >= total:
            saved = time.time()
            state = {"model": model.state_dict(), "optimiser": optimiser.state_dict()}
            save(path, state | {"average": average, "step": step, "elapsed": elapsed})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="checkpoints")
    parser.add_argument(
        "--start", type=Path, help="weights to begin from: a checkpoint or a bundle"
    )
    parser.add_argument("--minutes", type=float, default=80, help="length of the schedule")
    parser.add_argument("--groups", type=int, default=2, help="anatomies a step and worker")
    parser.add_argument("--most", type=int, default=5, help="memories a target, at most")
    parser.add_argument("--again", type=float, default=0.5, help="share of steps with propagation")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--decay", type=float, default=0.998)
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--port", type=int, default=29511, help="where they meet, on loopback")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.multiprocessing.spawn(train, (args,), args.workers)


if __name__ == "__main__":
    main()
