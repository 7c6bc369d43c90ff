"""Made-up cases: two ellipsoids in the patient's space, seen by any stack of slices."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"

import highdicom
import numpy as np
import pydicom
import pytest
from highdicom.sr.coding import CodedConcept
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

Array = np.ndarray

ORGAN = CodedConcept("10200004", "SCT", "Liver")
KIDNEY = CodedConcept("64033007", "SCT", "Kidney")
RIGHT = CodedConcept("24028007", "SCT", "Right")
LEFT = CodedConcept("7771000", "SCT", "Left")


@dataclass(frozen=True)
class Stack:
    """Where the slices of a series lie: millimetres in LPS, shape [Z,H,W]."""

    shape: tuple[int, int, int] = (8, 32, 30)
    spacing: tuple[float, float, float] = (6.0, 2.0, 2.5)  # between slices, rows, columns
    row: tuple[float, float, float] = (1.0, 0.0, 0.0)
    column: tuple[float, float, float] = (0.0, 1.0, 0.0)
    centre: tuple[float, float, float] = (10.0, -20.0, 30.0)  # of the middle voxel

    def points(self) -> Array:
        """The centre of every voxel, [Z,H,W,3]."""
        normal = np.cross(self.row, self.column)
        axes = [normal, np.array(self.column), np.array(self.row)]
        steps = np.moveaxis(np.indices(self.shape), 0, -1) - np.array(self.shape) // 2
        return np.array(self.centre) + (steps * self.spacing) @ np.array(axes)


def tilted() -> Stack:
    """Oblique: turned about two axes, W running towards the patient's right."""
    a, b = np.deg2rad(25), np.deg2rad(-15)
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    turn = turn @ np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    return Stack(row=tuple(-turn[:, 0]), column=tuple(turn[:, 1]))


def inside(points: Array, centre: tuple, radii: tuple) -> Array:
    """Which points [...,3] lie in an ellipsoid along the patient's axes."""
    return (((points - np.array(centre)) / np.array(radii)) ** 2).sum(-1) <= 1


@dataclass(frozen=True)
class Scene:
    """An organ with a kidney beside it, moved by `shift` mm."""

    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def organ(self, points: Array) -> Array:
        return inside(points - self.shift, (8, -20, 30), (18, 20, 17))

    def kidney(self, points: Array) -> Array:
        return inside(points - self.shift, (32, -12, 28), (6, 8, 10))

    def intensities(self, points: Array) -> Array:
        body = inside(points - self.shift, (12, -18, 30), (30, 28, 60))
        values = 100 * body + 200 * self.organ(points) + 400 * self.kidney(points)
        return (values + 20 * np.sin(points[..., 0] / 5) * body + 50).astype(np.uint16)


def write_images(folder: Path, stack: Stack, scene: Scene, backwards: bool = False) -> None:
    """images/NNN.dcm, from the first slice to the last or the other way round."""
    (folder / "images").mkdir(parents=True)
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    points = stack.points()
    pixels = scene.intensities(points)
    order = range(stack.shape[0])[:: -1 if backwards else 1]
    for number, z in enumerate(order, 1):
        image = pydicom.Dataset()
        image.file_meta = pydicom.dataset.FileMetaDataset()
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        image.SOPClassUID, image.SOPInstanceUID = MRImageStorage, generate_uid()
        image.StudyInstanceUID, image.SeriesInstanceUID = study, series
        image.FrameOfReferenceUID, image.Modality = frame, "MR"
        image.PatientID, image.PatientName = folder.name, "Made^Up"
        image.PatientBirthDate = image.PatientSex = image.AccessionNumber = ""
        image.StudyDate = image.StudyTime = image.StudyID = image.ReferringPhysicianName = ""
        image.PositionReferenceIndicator = ""
        image.SeriesNumber, image.InstanceNumber = 1, number
        image.ImagePositionPatient = [f"{v:.8g}" for v in points[z, 0, 0]]
        image.ImageOrientationPatient = [f"{v:.8g}" for v in (*stack.row, *stack.column)]
        image.PixelSpacing = [stack.spacing[1], stack.spacing[2]]
        image.SliceThickness = stack.spacing[0]
        image.Rows, image.Columns = stack.shape[1:]
        image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
        image.BitsAllocated = image.BitsStored = 16
        image.HighBit, image.PixelRepresentation = 15, 0
        image.RescaleSlope, image.RescaleIntercept = 2, -100
        image.PixelData = pixels[z].tobytes()
        image.save_as(folder / "images" / f"{number:03}.dcm", enforce_file_format=True)


def segment(number: int, kind: CodedConcept, side: CodedConcept | None = None):
    """A manual segment's description, with a region, and with laterality where a side is given."""
    kind = CodedConcept.from_dataset(kind)
    if side is not None:
        kind.SegmentedPropertyTypeModifierCodeSequence = [CodedConcept.from_dataset(side)]
    return highdicom.seg.SegmentDescription(
        number,
        f"drawn {kind.CodeMeaning}",
        codes.SCT.AnatomicalStructure,
        kind,
        "MANUAL",
        anatomic_regions=[CodedConcept("818983003", "SCT", "Abdomen")],
    )


def write_seg(folder: Path, masks: Array, segments: list) -> None:
    """seg.dcm of bool masks [Z,H,W,S], Z in the order of the files."""
    highdicom.seg.Segmentation(
        [pydicom.dcmread(path) for path in sorted((folder / "images").glob("*.dcm"))],
        masks.astype(np.uint8),
        "BINARY",
        segments,
        highdicom.UID(),
        2,
        highdicom.UID(),
        1,
        "pytest",
        "pytest",
        "1",
        "1",
    ).save_as(folder / "seg.dcm")


@dataclass(frozen=True)
class Made:
    """A case on disk and what it should hold."""

    folder: Path
    stack: Stack
    scene: Scene
    organ: Array = field(repr=False)  # bool [Z,H,W]
    kidney: Array = field(repr=False)


@pytest.fixture
def make_case(tmp_path) -> Callable[..., Made]:
    """Writes a case below tmp_path; `side` is the kidney's, `backwards` the order of the files."""

    def make(
        name: str,
        stack: Stack | None = None,
        scene: Scene | None = None,
        backwards: bool = False,
        side: CodedConcept = RIGHT,
    ) -> Made:
        stack, scene = stack or Stack(), scene or Scene()
        folder, points = tmp_path / name, stack.points()
        write_images(folder, stack, scene, backwards)
        organ, kidney = scene.organ(points), scene.kidney(points)
        masks = np.stack([organ, kidney], axis=-1)[:: -1 if backwards else 1]
        write_seg(folder, masks, [segment(1, ORGAN), segment(2, KIDNEY, side)])
        return Made(folder, stack, scene, organ, kidney)

    return make


def change(path: Path, **values) -> None:
    """Gives a DICOM file other values; None removes one."""
    data = pydicom.dcmread(path)
    for name, value in values.items():
        if value is None:
            delattr(data, name)
        else:
            setattr(data, name, value)
    data.save_as(path)


def dice(a: Array, b: Array) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))
