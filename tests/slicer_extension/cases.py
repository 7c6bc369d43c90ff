"""Made-up patients in any orientation, and their volumes as Slicer loads them: by its own reader of DICOM."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import slicer_core
from scipy.spatial.transform import Rotation

import patients

TURNED = Rotation.from_euler("xyz", [25, -15, 40], degrees=True).as_matrix()

# Directions of increasing column, row and slice index (LPS), and the order of the files.
ORIENTATIONS = {
    "axial": np.eye(3),
    "coronal": np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], float),
    "oblique": TURNED.T,
    # Columns run from left to right and rows from back to front; slices run against the normal.
    "flipped": np.array([[-1, 0, 0], [0, -1, 0], [0, 0, -1]], float),
}
ORIGIN = np.array([-30.0, 12.5, 7.0])
SPACING = (1.5, 1.2, 4.0)


@dataclass
class Case:
    """A patient's series in a folder, as datasets in file order, and the truth `[file, row, column]` by code."""

    number: int
    images: list[pydicom.Dataset]
    truth: dict
    folder: Path

    @property
    def uids(self) -> tuple[str, ...]:
        return tuple(one.SOPInstanceUID for one in self.images)

    def files(self) -> list[Path]:
        return sorted(self.folder.glob("*.dcm"))

    def segmentation(self, **options) -> pydicom.Dataset:
        return patients.segmentation(self.number, sources=self.images, **options)


def make(number: int, orientation: str, folder: Path, heights: np.ndarray | None = None) -> Case:
    """Writes the patient's series; `heights` are the slices' places along the slice direction, mm, even if left out."""
    across, down, along = ORIENTATIONS[orientation]
    heights = SPACING[2] * np.arange(patients.SLICES) if heights is None else heights
    images = patients.images(number)
    folder.mkdir(parents=True)
    for index, image in enumerate(images):
        image.ImageOrientationPatient = np.round([*across, *down], 9).tolist()
        image.ImagePositionPatient = np.round(ORIGIN + heights[index] * along, 9).tolist()
        image.PixelSpacing = [SPACING[1], SPACING[0]]
        (folder / f"{index:03}.dcm").write_bytes(patients.part10(image))
    return Case(number, images, patients.anatomy(number)[1], folder)


def load(case: Case, scene, files: list[Path] | None = None):
    """The series as a volume node, read by Slicer's own reader; attributes as its DICOM module sets them."""
    files = files or case.files()
    storage = scene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
    storage.SetFileName(str(files[0]))
    storage.ResetFileNameList()
    for file in files:
        storage.AddFileName(str(file))
    storage.SetSingleFile(0)
    volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", f"T{case.number}")
    assert storage.ReadData(volume) == 1
    uids = [pydicom.dcmread(file, stop_before_pixels=True).SOPInstanceUID for file in files]
    volume.SetAttribute("DICOM.instanceUIDs", " ".join(uids))
    return volume


def new_scene():
    return slicer_core.vtkMRMLScene()
