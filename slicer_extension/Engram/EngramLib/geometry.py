"""The slices of a series, and where they lie in a volume of Slicer.

A series is in LPS, as DICOM has it; a volume node in RAS. Both in mm. Matrices are 4x4, from indices (column, row, slice; i, j, k
in Slicer) to the centre of the voxel. Masks are `[slice, row, column]`, voxels of a node `[k, j, i]`.
"""

from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
import pydicom

from .errors import EngramError

SAME_PLACE_MM = 0.01
"""Slices closer than this lie at the same place."""

EVEN_WITHIN = 0.01
"""By how much of their mean gaps between slices may differ, and count as even."""

FLIP_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


class Slice(NamedTuple):
    """A frame of an image. `frame` counts from 1; `position` is ImagePositionPatient."""

    sop_class_uid: str
    sop_instance_uid: str
    frame: int
    multi_frame: bool
    position: np.ndarray


class Grid(NamedTuple):
    """The slices of a volume, sorted along their normal (PS3.3 C.7.6.2).

    `orientation` is ImageOrientationPatient: direction of increasing column index, then of increasing row index.
    `pixel_spacing` is between rows, then between columns. `headers` has a dataset for each slice's instance.
    """

    slices: List[Slice]
    rows: int
    columns: int
    orientation: np.ndarray
    pixel_spacing: Tuple[float, float]
    headers: List[pydicom.Dataset]

    @property
    def shape(self) -> Tuple[int, int, int]:
        return len(self.slices), self.rows, self.columns

    @property
    def normal(self) -> np.ndarray:
        return np.cross(self.orientation[:3], self.orientation[3:])

    @property
    def gaps(self) -> np.ndarray:
        """From each slice to the next, along the normal, mm."""
        return np.diff([one.position @ self.normal for one in self.slices])

    @property
    def is_even(self) -> bool:
        """Whether one matrix holds for all slices, and Slicer can take it: gaps are equal, no slice is shifted (gantry tilt)."""
        if len(self.slices) < 2:
            return True
        positions = np.array([one.position for one in self.slices])
        straight = positions[0] + np.outer(np.arange(len(positions)), self.gaps.mean() * self.normal)
        return bool(np.abs(positions - straight).max() <= EVEN_WITHIN * self.gaps.mean())

    @property
    def matrix(self) -> np.ndarray:
        """Indices to RAS; of uneven slices, to where they would lie if they were even."""
        first, last = self.slices[0].position, self.slices[-1].position
        count = len(self.slices)
        matrix = np.eye(4)
        matrix[:3, 0] = self.orientation[:3] * self.pixel_spacing[1]
        matrix[:3, 1] = self.orientation[3:] * self.pixel_spacing[0]
        matrix[:3, 2] = (last - first) / (count - 1) if count > 1 else self.normal * self._thickness()
        matrix[:3, 3] = first
        return FLIP_RAS @ matrix

    @property
    def remark(self) -> str:
        """What a person should know of the slices' places; empty where there is nothing."""
        if self.is_even:
            return ""
        return (f"The slices are not evenly stacked ({self.gaps.min():.2f} to {self.gaps.max():.2f} mm apart, or shifted): "
                "masks are right slice by slice, distances and volumes are not.")

    def index_of(self) -> Dict[Tuple[str, int], int]:
        """Slice indices by SOP Instance UID and frame."""
        return {(one.sop_instance_uid, one.frame): index for index, one in enumerate(self.slices)}

    def _thickness(self) -> float:
        return float(self.headers[0].get("SliceThickness") or 1.0)


def grid_of(headers: Sequence[pydicom.Dataset], sop_instances: Optional[Sequence[str]] = None) -> Grid:
    """The grid of a series' instances, or of those named: a volume may be a part of its series.

    Raises `EngramError` with code `not_a_volume` where they are none.
    """
    wanted = set(sop_instances or ())
    frames = [one for header in headers if not wanted or header.SOPInstanceUID in wanted for one in _frames(header)]
    if not frames:
        raise _not_a_volume("none of its images has a place in space")
    first = frames[0]
    for one in frames:
        if one.size != first.size or not np.allclose(one.spacing, first.spacing, atol=1e-4):
            raise _not_a_volume("its images differ in size or pixel spacing")
        if not np.allclose(one.orientation, first.orientation, atol=1e-3):
            raise _not_a_volume("its images differ in orientation")
    orientation = first.orientation
    normal = np.cross(orientation[:3], orientation[3:])
    frames.sort(key=lambda one: float(one.slice.position @ normal))
    grid = Grid([one.slice for one in frames], *first.size, orientation, first.spacing, [one.header for one in frames])
    if len(frames) > 1 and grid.gaps.min() < SAME_PLACE_MM:
        raise _not_a_volume("several of its images lie at the same place")
    return grid


class Placement(NamedTuple):
    """How the masks of a grid lie in voxels `[k, j, i]`: axis `axes[n]` of the mask is axis n of the voxels, backwards where
    `flips[n]` says so. `matrix` takes i, j, k to RAS."""

    axes: Tuple[int, int, int]
    flips: Tuple[bool, bool, bool]
    matrix: np.ndarray

    def to_voxels(self, mask: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(np.transpose(mask, self.axes)[self._order()])

    def to_mask(self, voxels: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(np.transpose(voxels[self._order()], np.argsort(self.axes)))

    def slice_of(self, index: int, count: int) -> int:
        """The index along the voxels' slice axis of a slice of the grid of `count`, and the other way round."""
        along = self.axes.index(0)
        return count - 1 - index if self.flips[along] else index

    def _order(self) -> Tuple[slice, ...]:
        return tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)


def place(grid: Grid, matrix: np.ndarray, dimensions: Sequence[int]) -> Placement:
    """The grid in a volume whose matrix takes i, j, k to RAS and which has `dimensions` voxels along i, j, k.

    Where the volume is the series, whatever the order of its axes, masks are placed voxel by voxel on it. Where it is
    not (cropped, resampled), they keep the place of their own slices.
    """
    ours = FLIP_RAS[:3, :3] @ np.column_stack([grid.orientation[:3], grid.orientation[3:], grid.normal])
    theirs = _directions(matrix)
    cosines = theirs.T @ ours
    axes_ijk = np.abs(cosines).argmax(axis=1)
    sizes_ijk = np.array(grid.shape[::-1])
    is_turned = len(set(axes_ijk.tolist())) == 3 and np.allclose(np.abs(cosines).max(axis=1), 1, atol=1e-3)
    if is_turned and np.array_equal(sizes_ijk[axes_ijk], dimensions):
        flips_ijk = cosines[np.arange(3), axes_ijk] < 0
        if not grid.is_even or _is_on(grid, matrix, axes_ijk, flips_ijk, sizes_ijk):
            axes = tuple(int(2 - axis) for axis in axes_ijk[::-1])
            return Placement(axes, tuple(bool(flip) for flip in flips_ijk[::-1]), np.array(matrix, float))
    if not grid.is_even:
        raise EngramError(
            "not_a_volume", "The volume is not its series slice by slice, whose slices are not evenly stacked.",
            "Load the series anew, and choose that volume.")
    return Placement((0, 1, 2), (False, False, False), grid.matrix)


def _is_on(grid: Grid, matrix, axes_ijk, flips_ijk, sizes_ijk) -> bool:
    """Whether the corners of both lie at the same places, within a tenth of a voxel."""
    corners = np.array([[i, j, k, 0] for i in (0, 1) for j in (0, 1) for k in (0, 1)], float)
    theirs = corners.copy()
    theirs[:, :3] *= sizes_ijk[axes_ijk] - 1
    ours = np.zeros_like(corners)
    for axis in range(3):
        last = sizes_ijk[axes_ijk[axis]] - 1
        ours[:, axes_ijk[axis]] = last - theirs[:, axis] if flips_ijk[axis] else theirs[:, axis]
    theirs[:, 3] = ours[:, 3] = 1
    apart = np.linalg.norm((theirs @ np.asarray(matrix, float).T - ours @ grid.matrix.T)[:, :3], axis=1)
    smallest = np.linalg.norm(grid.matrix[:3, :3], axis=0).min()
    return bool(apart.max() <= 0.1 * smallest)


def _directions(matrix: np.ndarray) -> np.ndarray:
    columns = np.asarray(matrix, float)[:3, :3]
    return columns / np.linalg.norm(columns, axis=0)


class _Frame(NamedTuple):
    slice: Slice
    size: Tuple[int, int]
    orientation: np.ndarray
    spacing: Tuple[float, float]
    header: pydicom.Dataset


def _frames(header: pydicom.Dataset) -> List[_Frame]:
    """The frames of an instance that have a place in space, from the image plane or the functional groups."""
    count = int(header.get("NumberOfFrames") or 1)
    groups = header.get("PerFrameFunctionalGroupsSequence") or []
    shared = (header.get("SharedFunctionalGroupsSequence") or [pydicom.Dataset()])[0]
    found = []
    for index in range(count):
        places = [groups[index], shared] if index < len(groups) else [header]
        position = _plane_value(places, "PlanePositionSequence", "ImagePositionPatient")
        orientation = _plane_value(places, "PlaneOrientationSequence", "ImageOrientationPatient")
        spacing = _plane_value(places, "PixelMeasuresSequence", "PixelSpacing")
        if position is None or orientation is None or spacing is None:
            continue
        one = Slice(header.SOPClassUID, header.SOPInstanceUID, index + 1, count > 1, np.array(position, float))
        found.append(_Frame(one, (int(header.Rows), int(header.Columns)), np.array(orientation, float),
                            (float(spacing[0]), float(spacing[1])), header))
    return found


def _plane_value(places, sequence: str, keyword: str):
    """From the first place that has it: in its functional group, or the attribute itself."""
    for where in places:
        group = where.get(sequence)
        value = (group[0] if group else where).get(keyword)
        if value:
            return value
    return None


def _not_a_volume(why: str) -> EngramError:
    return EngramError("not_a_volume", f"The series is not a volume: {why}.", "Choose another volume.")
