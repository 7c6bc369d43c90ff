"""Annotated cases: a folder with images/*.dcm, one series of single-frame images, and seg.dcm.

Volumes are [Z,H,W]: Z along the slice normal (row direction x column direction), H down the rows,
W along them. Positions are millimetres in DICOM's patient coordinates (LPS).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from pydicom.errors import InvalidDicomError

from engram_registration.seg import Label, frames, labels

Array = np.ndarray

ALIKE = 1e-3  # how far direction cosines or spacings (mm) of one series may differ
APART = 1e-3  # mm: slices closer than this lie in one place
NEEDED = (  # of an image
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "PixelData",
)
PLACED = 0.1  # of the slice distance: how far a SEG's frame may lie from its slice


class BadInput(Exception):
    """What a caller gave cannot be used; the message is one line."""


def told(error: Exception) -> str:
    """An error's words on one line."""
    return " ".join(str(error).split()) or type(error).__name__


@dataclass(frozen=True)
class Volume:
    """A series as a volume."""

    voxels: Array  # float32 [Z,H,W], rescaled
    origin: Array  # [3], mm: the centre of voxel (0, 0, 0)
    spacing: Array  # [3], mm between columns, between rows, between slices
    direction: Array  # [3,3]: its columns are the unit vectors along W, H and Z
    slices: list[pydicom.Dataset]  # as read, in the order of the voxels


@dataclass(frozen=True)
class Exemplar:
    """A volume and what is annotated on it."""

    volume: Volume
    labels: list[Label]
    masks: list[Array]  # bool [Z,H,W], one a label


def read_volume(folder: Path) -> Volume:
    """The series in folder/images; seg.dcm beside it is not touched."""
    paths = sorted((folder / "images").glob("*.dcm"))
    if len(paths) < 2:
        raise BadInput(f"{folder / 'images'}: {len(paths)} *.dcm, a volume needs 2 or more")
    images = [read(path) for path in paths]
    for path, image in zip(paths, images, strict=True):
        check(path, image, images[0])
    first = images[0]
    row, column = np.array(first.ImageOrientationPatient, float).reshape(2, 3)
    normal = np.cross(row, column)
    positions = np.array([image.ImagePositionPatient for image in images], float)
    order = np.argsort(positions @ normal)
    positions, images = positions[order], [images[i] for i in order]
    distance = slice_distance(folder, positions, normal)
    between_rows, between_columns = np.array(first.PixelSpacing, float)
    drift = positions - positions[0]
    drift -= np.outer(drift @ normal, normal)
    if np.linalg.norm(drift, axis=1).max() > 0.5 * min(between_rows, between_columns):
        raise BadInput(f"{folder}: its slices are not stacked along their normal")
    return Volume(
        voxels=np.stack([intensities(folder, image) for image in images]),
        origin=positions[0],
        spacing=np.array([between_columns, between_rows, distance]),
        direction=np.stack([row, column, normal], axis=1),
        slices=images,
    )


def read(path: Path) -> pydicom.Dataset:
    """A DICOM file."""
    try:
        return pydicom.dcmread(path)
    except (OSError, InvalidDicomError) as error:
        raise BadInput(f"{path}: not readable as DICOM: {told(error)}") from error


def check(path: Path, image: pydicom.Dataset, first: pydicom.Dataset) -> None:
    """Raises where an image cannot be a slice of the series that starts with `first`."""
    for name in NEEDED:
        if name not in image:
            raise BadInput(f"{path}: no {name}")
    if int(image.get("NumberOfFrames") or 1) != 1 or int(image.SamplesPerPixel) != 1:
        raise BadInput(f"{path}: not a single-frame image of one channel")
    if image.SeriesInstanceUID != first.SeriesInstanceUID:
        raise BadInput(f"{path}: of another series than the first image")
    if (image.Rows, image.Columns) != (first.Rows, first.Columns):
        raise BadInput(f"{path}: of another size than the first image")
    for name in ("ImageOrientationPatient", "PixelSpacing"):
        if not np.allclose(np.array(image[name].value), np.array(first[name].value), atol=ALIKE):
            raise BadInput(f"{path}: of another {name} than the first image")


def slice_distance(folder: Path, positions: Array, normal: Array) -> float:
    """Median distance of neighbours in mm; positions [Z,3] in order."""
    gaps = np.diff(positions @ normal)
    if gaps.min() < APART:
        raise BadInput(f"{folder}: two images lie in one place")
    return float(np.median(gaps))


def intensities(folder: Path, image: pydicom.Dataset) -> Array:
    """An image's rescaled intensities, float32 [H,W]."""
    try:
        stored = image.pixel_array.astype(np.float32)
    except Exception as error:  # pixel data raise what their decoder raises
        raise BadInput(f"{folder}: pixels of {image.SOPInstanceUID}: {told(error)}") from error
    slope, intercept = image.get("RescaleSlope", 1), image.get("RescaleIntercept", 0)
    return stored * np.float32(slope) + np.float32(intercept)


def read_exemplar(folder: Path) -> Exemplar:
    """The series in folder/images and its masks in folder/seg.dcm."""
    volume = read_volume(folder)
    path = folder / "seg.dcm"
    seg = read(path)
    if seg.get("Modality") != "SEG" or seg.get("SegmentationType") != "BINARY":
        raise BadInput(f"{path}: not a BINARY DICOM-SEG")
    size = (volume.slices[0].Rows, volume.slices[0].Columns)
    if (seg.Rows, seg.Columns) != size:
        raise BadInput(f"{path}: frames of another size than the images")
    try:
        found, index = labels(seg)
        masks = [np.zeros(volume.voxels.shape, bool) for _ in found]
        for frame in frames(seg):
            z = place(path, frame.sources, frame.position, volume)
            masks[index[frame.segment]][z] |= frame.mask
    except (AttributeError, LookupError, TypeError, ValueError, RuntimeError) as error:
        raise BadInput(f"{path}: not a whole DICOM-SEG: {told(error)}") from error
    return Exemplar(volume, found, masks)


def place(path: Path, sources: list[str], position: Array | None, volume: Volume) -> int:
    """Which slice a SEG's frame is of: by the image it names, or else by its position."""
    for z, image in enumerate(volume.slices):
        if image.SOPInstanceUID in sources:
            return z
    if not sources and position is not None:
        offsets = (position - volume.origin) @ volume.direction
        z = round(offsets[2] / volume.spacing[2])
        if 0 <= z < len(volume.slices):
            there = np.array(volume.slices[z].ImagePositionPatient, float)
            if np.linalg.norm(position - there) < PLACED * volume.spacing[2]:
                return z
    raise BadInput(f"{path}: a frame is of no image of the series")
