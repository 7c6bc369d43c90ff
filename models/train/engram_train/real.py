"""Annotated DICOM cases for measuring: never read by training.

A case is a folder with images/*.dcm and seg.dcm. Volumes are [Z,H,W] in file order along the
slice normal; windows of the slice plane are square and in millimetres.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom

Array = np.ndarray


@dataclass
class Case:
    name: str
    patient: str
    volume: Array  # float32 [Z,H,W], windowed to 0..1
    spacing: tuple[float, float]  # mm between rows, between columns
    masks: dict[str, Array]  # label -> bool [Z,H,W]


@dataclass(frozen=True)
class Window:
    """A square of the slice plane: centre (mm from the outer corner) and side (mm)."""

    y: float
    x: float
    side: float


def weights(outputs: int, inputs: int, start: float, step: float) -> Array:
    """Antialiased linear resampling matrix [outputs, inputs].

    Output pixel i is centred at start + (i + 0.5) * step in input pixel units (pixel j covers j to
    j + 1); the triangle widens with the step. Rows centred outside the input are zero.
    """
    centre = start + (np.arange(outputs) + 0.5) * step
    reach = max(1.0, step)
    distance = np.abs(np.arange(inputs)[None] + 0.5 - centre[:, None]) / reach
    matrix = np.maximum(0, 1 - distance)
    matrix /= np.maximum(matrix.sum(1, keepdims=True), 1e-9)
    matrix[(centre < 0) | (centre > inputs)] = 0
    return matrix.astype(np.float32)


def whole(case: Case) -> Window:
    """The window that holds the whole slice: its letterbox."""
    height, width = np.array(case.volume.shape[1:]) * case.spacing
    return Window(height / 2, width / 2, max(height, width))


def view(volume: Array, spacing: tuple[float, float], window: Window, size: int) -> Array:
    """Slices [Z,H,W] seen through a window: float32 [Z,size,size], zero outside the slice."""
    matrices = []
    for inputs, unit, centre in zip(volume.shape[1:], spacing, (window.y, window.x), strict=True):
        start = (centre - window.side / 2) / unit
        matrices.append(weights(size, inputs, start, window.side / size / unit))
    return matrices[0] @ volume.astype(np.float32) @ matrices[1].T


def back(seen: Array, case: Case, window: Window) -> Array:
    """The inverse of `view`: [Z,size,size] -> [Z,H,W], zero outside the window."""
    size, matrices = seen.shape[-1], []
    for outputs, unit, centre in zip(
        case.volume.shape[1:], case.spacing, (window.y, window.x), strict=True
    ):
        pixel = window.side / size
        start = -(centre - window.side / 2) / pixel
        matrices.append(weights(outputs, size, start, unit / pixel))
    return matrices[0] @ seen @ matrices[1].T


def around(masks: Array, spacing: tuple[float, float], margin: float) -> Window | None:
    """A window around what is set in masks [Z,H,W]; the margin is a fraction of the longer side."""
    rows, columns = np.flatnonzero(masks.any((0, 2))), np.flatnonzero(masks.any((0, 1)))
    if not len(rows):
        return None
    top, bottom = rows[0] * spacing[0], (rows[-1] + 1) * spacing[0]
    left, right = columns[0] * spacing[1], (columns[-1] + 1) * spacing[1]
    side = max(bottom - top, right - left) * (1 + 2 * margin)
    return Window((top + bottom) / 2, (left + right) / 2, side)


def load_case(folder: Path, name: str, patient: str) -> Case:
    files = [pydicom.dcmread(path) for path in sorted((folder / "images").glob("*.dcm"))]
    if "ImagePositionPatient" in files[0]:
        row, column = np.array(files[0].ImageOrientationPatient, float).reshape(2, 3)
        normal = np.cross(row, column)
        files.sort(key=lambda d: float(np.dot(normal, np.array(d.ImagePositionPatient, float))))
    order = {d.SOPInstanceUID: i for i, d in enumerate(files)}
    volume = np.stack(
        [
            d.pixel_array * float(d.get("RescaleSlope", 1)) + float(d.get("RescaleIntercept", 0))
            for d in files
        ]
    ).astype(np.float32)
    low, high = np.percentile(volume, [0.5, 99.5])
    if files[0].Modality == "CT":
        low, high = -160.0, 240.0
    volume = np.clip((volume - low) / max(high - low, 1e-6), 0, 1)
    spacing = tuple(float(v) for v in files[0].get("PixelSpacing", [1.0, 1.0]))

    seg = pydicom.dcmread(folder / "seg.dcm")
    names = {int(s.SegmentNumber): str(s.SegmentLabel) for s in seg.SegmentSequence}
    masks = {label: np.zeros(volume.shape, bool) for label in names.values()}
    frames = seg.pixel_array.reshape(-1, *volume.shape[1:])
    for frame, group in zip(frames, seg.PerFrameFunctionalGroupsSequence, strict=True):
        if "SegmentIdentificationSequence" in group:
            number = int(group.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
        else:
            shared = seg.SharedFunctionalGroupsSequence[0].SegmentIdentificationSequence[0]
            number = int(shared.ReferencedSegmentNumber)
        source = group.DerivationImageSequence[0].SourceImageSequence[0]
        masks[names[number]][order[source.ReferencedSOPInstanceUID]] |= frame > 0
    return Case(name, patient, volume, spacing, masks)


def load_set(data: Path, name: str) -> list[Case]:
    """All cases of one of the sets, in order of their names."""
    folders = {"chaos": "chaos-mr", "acdc": "acdc", "hippo": "hippocampus", "hc18": "hc18"}
    root = data / folders[name]
    cases = []
    for path in sorted(root.glob("**/seg.dcm")):
        parts = path.parent.relative_to(root).parts
        cases.append(load_case(path.parent, "/".join(parts), parts[0]))
    return cases


CHAOS_EXEMPLARS = ["01", "02", "03", "05", "08"]


def protocol(data: Path, name: str) -> tuple[list[Case], list[Case]]:
    """Exemplars and targets of chaos-5, acdc-5, hippo-10, hc18-10 or their -1 variants."""
    kind, number = name.rsplit("-", 1)
    cases = load_set(data, kind)
    patients = list(dict.fromkeys(case.patient for case in cases))
    usual = {"chaos": CHAOS_EXEMPLARS, "acdc": patients[:5]}.get(kind, patients[:10])
    given = usual[: int(number)]
    exemplars = [case for case in cases if case.patient in given]
    return exemplars, [case for case in cases if case.patient not in usual]


def dice(result: Array, truth: Array) -> float | None:
    """Dice of two bool arrays; None where both are empty."""
    total = result.sum() + truth.sum()
    return None if total == 0 else float(2 * (result & truth).sum() / total)
