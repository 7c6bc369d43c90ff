"""One exemplar registered to the target with ANTs, and its masks carried over."""

import tempfile
from pathlib import Path

import ants
import numpy as np

from engram_registration.case import BadInput, Volume, told

Array = np.ndarray

TRANSFORMS = (
    "SyN",
    "SyNRA",
    "SyNCC",
    "Affine",
    # What ANTs' scripts of these names do; none of the settings below.
    "antsRegistrationSyN[s]",
    "antsRegistrationSyNQuick[s]",
)
PERCENTILES = (0.5, 99.5)  # of a volume's intensities, which become 0 and 1
SEED = 1  # of the sampling

# Affine stage, which starts with the centres of mass on each other.
AFFINE_METRIC = "mattes"  # mutual information
AFFINE_BINS = 32
AFFINE_SAMPLING = 0.2  # share of the voxels
# Coarse to fine. Of --transform Affine: the SyN ones have antspyx's 2100x1200x1200x0 at 4x2x2x1.
AFFINE_ITERATIONS = (2100, 1200, 1200, 10)
AFFINE_SHRINK = (6, 4, 2, 1)
AFFINE_SMOOTHING = (3, 2, 1, 0)  # voxels

# Deformable stage of SyN and SyNRA; SyNCC has antspyx's own (README.md).
SYN_METRIC = "mattes"
SYN_BINS = 32
SYN_ITERATIONS = (40, 20, 0)  # at a quarter, half and the whole of the resolution
SYN_STEP = 0.2
SYN_FLOW_SIGMA = 3.0  # voxels: smoothing of the update field
SYN_TOTAL_SIGMA = 0.0  # voxels: smoothing of the whole field


def normalised(voxels: Array) -> Array:
    """Intensities between two percentiles as 0 to 1, float32."""
    low, high = np.percentile(voxels, PERCENTILES)
    if not high > low:
        raise BadInput("an image volume is of one intensity")
    return np.clip((voxels - low) / (high - low), 0, 1).astype(np.float32)


def image(voxels: Array, volume: Volume) -> ants.ANTsImage:
    """Voxels [Z,H,W] as ANTs has them: [W,H,Z], in the same patient coordinates (LPS)."""
    return ants.from_numpy(
        np.ascontiguousarray(voxels.transpose(2, 1, 0), np.float32),
        origin=tuple(volume.origin),
        spacing=tuple(volume.spacing),
        direction=volume.direction,
    )


def carry(target: Volume, exemplar: Volume, masks: list[Array], transform: str) -> list[Array]:
    """An exemplar's masks on the target's voxels (nearest neighbour), bool [Z,H,W].

    The exemplar's image is the moving one.
    """
    fixed = image(normalised(target.voxels), target)
    moving = image(normalised(exemplar.voxels), exemplar)
    ants.config.set_ants_deterministic(
        False, SEED
    )  # the seed alone: one thread is up to the caller
    with tempfile.TemporaryDirectory() as scratch:
        try:
            found = ants.registration(
                fixed,
                moving,
                transform,
                outprefix=str(Path(scratch) / "t"),
                aff_metric=AFFINE_METRIC,
                aff_sampling=AFFINE_BINS,
                aff_random_sampling_rate=AFFINE_SAMPLING,
                aff_iterations=AFFINE_ITERATIONS,
                aff_shrink_factors=AFFINE_SHRINK,
                aff_smoothing_sigmas=AFFINE_SMOOTHING,
                syn_metric=SYN_METRIC,
                syn_sampling=SYN_BINS,
                reg_iterations=SYN_ITERATIONS,
                grad_step=SYN_STEP,
                flow_sigma=SYN_FLOW_SIGMA,
                total_sigma=SYN_TOTAL_SIGMA,
            )
        except RuntimeError as error:
            raise BadInput(f"ANTs could not register: {told(error)}") from error
        return [
            ants.apply_transforms(
                fixed,
                image(mask, exemplar),
                found["fwdtransforms"],
                interpolator="nearestNeighbor",
            )
            .numpy()
            .transpose(2, 1, 0)
            > 0.5
            for mask in masks
        ]
