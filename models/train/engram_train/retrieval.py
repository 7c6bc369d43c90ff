"""Trains the retrieval encoder: like slices of other patients get like vectors.

Likeness of two slices of an anatomy is how well their labels agree: the mean over labels of the
Dice of their coarse masks, averaged with the Jaccard index of the sets of labels present.
"""

import argparse
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from engram_train.cache import task_mask
from engram_train.episodes import Cache, disturb
from engram_train.model import Retrieval, Shape
from engram_train.train import save

COARSE = 16
SHARPNESS = 12.0  # of the wanted distribution over candidates
TEMPERATURE = 0.07


def likeness(masks: np.ndarray) -> np.ndarray:
    """Label agreement of every pair of slices: bool [T, n, S, S] -> [n, n]."""
    labels, n, size, _ = masks.shape
    step = size // COARSE
    cells = masks.reshape(labels, n, COARSE, step, COARSE, step).mean((3, 5)).reshape(labels, n, -1)
    present = masks.any((2, 3))  # [T, n]
    overlap = np.minimum(cells[:, :, None], cells[:, None]).sum(-1)
    total = cells.sum(-1)
    dice = 2 * overlap / np.maximum(total[:, :, None] + total[:, None], 1e-6)
    either = present[:, :, None] | present[:, None]
    both = present[:, :, None] & present[:, None]
    count = either.sum(0)
    agreement = (dice * either).sum(0) / np.maximum(count, 1)
    jaccard = both.sum(0) / np.maximum(count, 1)
    return np.where(count == 0, 1.0, 0.5 * agreement + 0.5 * jaccard)


def draw(cache: Cache, groups: int, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """images [G,n,3,S,S], wanted [G,n,n] distributions, allowed [G,n,n] pairs of two patients."""
    images, wanted, allowed = [], [], []
    for _ in range(groups):
        image, region, tasks = cache.draw(rng)
        patients, slices, size, _ = image.shape
        image, region = image.reshape(-1, size, size), region.reshape(-1, size, size)
        like = likeness(np.stack([task_mask(region, bits) for bits in tasks]))
        owner = np.repeat(np.arange(patients), slices)
        pair = owner[:, None] != owner[None]
        goal = np.exp(SHARPNESS * like) * pair
        wanted.append(goal / goal.sum(1, keepdims=True))
        allowed.append(pair)
        image = image.astype(np.float32) / 255
        if rng.random() < 0.5:
            image = image[:, :, ::-1]
        images.append(disturb(image, rng))
    stack = torch.from_numpy(np.stack(images))[:, :, None].expand(-1, -1, 3, -1, -1)
    return stack, torch.from_numpy(np.stack(wanted)).float(), torch.from_numpy(np.stack(allowed))


def loss_of(model: Retrieval, images: Tensor, wanted: Tensor, allowed: Tensor) -> Tensor:
    """Cross-entropy of the wanted order within an anatomy, and of the anatomy itself."""
    groups, n = images.shape[:2]
    # The learnt half alone: with the pixels beside it, it would rather say nothing.
    vectors = model(images.flatten(0, 1))[0]
    vectors = vectors[:, : vectors.shape[1] // 2] * 2**0.5
    similarity = vectors @ vectors.T / TEMPERATURE
    blocks = similarity.reshape(groups, n, groups, n)[range(groups), :, range(groups)]
    within = F.log_softmax(blocks.masked_fill(~allowed, -1e4), dim=-1)
    order = -(wanted * within).sum(-1).mean() + (wanted * (wanted + 1e-9).log()).sum(-1).mean()
    own = torch.eye(groups * n, dtype=torch.bool)
    among = F.log_softmax(similarity.masked_fill(own, -1e4), dim=-1)
    among = among.reshape(groups, n, groups, n)[range(groups), :, range(groups)]
    return order - 0.1 * (wanted * among).sum(-1).mean()


def train(args: argparse.Namespace) -> None:
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    rng = np.random.default_rng(args.seed)
    cache = Cache(args.cache)
    model = Retrieval(Shape()).train()
    if args.start:
        model.load_state_dict(torch.load(args.start, weights_only=False)["average"])
    average = {key: value.clone() for key, value in model.state_dict().items()}
    optimiser = torch.optim.AdamW(model.parameters(), lr=args.rate, weight_decay=0.02)
    start, step, seen = time.time(), 0, []
    args.out.mkdir(parents=True, exist_ok=True)
    while (progress := (time.time() - start) / 60 / args.minutes) < 1:
        rate = args.rate * min(1, (step + 1) / 50)
        rate *= 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress))
        for group in optimiser.param_groups:
            group["lr"] = rate
        loss = loss_of(model, *draw(cache, args.groups, rng))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        step += 1
        keep = min(0.995, (step + 1) / (step + 10))
        with torch.no_grad():
            for key, value in model.state_dict().items():
                average[key].lerp_(value, 1 - keep)
        seen.append(loss.item())
        if step % 25 == 0:
            print(f"step {step} loss {np.mean(seen):.3f}", flush=True)
            seen.clear()
            save(args.out / "retrieval.pt", {"average": average})
    save(args.out / "retrieval.pt", {"average": average})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True, help="from engram_train.cache --tour")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--start", type=Path, help="averaged weights of another run to begin from")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--groups", type=int, default=4)
    parser.add_argument("--rate", type=float, default=7e-4)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
