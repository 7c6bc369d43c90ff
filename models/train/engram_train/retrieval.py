"""Fits the retrieval descriptor: the principal components of what the trained encoder sees."""

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from engram_train.cache import NEIGHBOURS, PATIENTS
from engram_train.episodes import Cache
from engram_train.model import GRID, Compact, Retrieval
from engram_train.train import save, weights


@torch.no_grad()
def fit(
    model: Compact, cache: Cache, slices: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Mean [features] and components [COMPONENTS, features], of unit variance."""
    places = []
    for _ in range(slices):
        one = [int(rng.integers(n)) for n in (len(cache), PATIENTS, NEIGHBOURS)]
        image = (cache.images[tuple(one)].float() / 255).expand(1, 3, -1, -1)
        seen = Retrieval.seen(model.encoder, model.shape, image)
        pooled = F.avg_pool2d(seen, GRID // Retrieval.PLACES)
        places.append(pooled.flatten(2)[0].T)
    samples = torch.cat(places).double()
    mean = samples.mean(0)
    spread, directions = torch.linalg.eigh(torch.cov((samples - mean).T))
    top = slice(-Retrieval.COMPONENTS, None)
    components = (directions[:, top] / spread[top].sqrt()).T.flip(0)
    return mean.float(), components.float()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True, help="from engram_train.cache")
    parser.add_argument("--checkpoint", type=Path, required=True, help="from engram_train.train")
    parser.add_argument("--out", type=Path, required=True, help="folder for retrieval.pt")
    parser.add_argument("--slices", type=int, default=512)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    model = Compact()
    model.load_state_dict(weights(args.checkpoint))
    rng = np.random.default_rng(args.seed)
    mean, components = fit(model.eval(), Cache(args.cache), args.slices, rng)
    save(args.out / "retrieval.pt", {"mean": mean, "components": components})


if __name__ == "__main__":
    main()
