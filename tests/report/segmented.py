"""Segmentations of small made-up patients, and what should be made of them."""

from dataclasses import dataclass, field
from functools import cached_property

import highdicom as hd
import numpy as np
import pydicom
from highdicom.sr import CodedConcept
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

import patients
from oracle import foreground, referenced_masks

KIDNEY = Code("64033007", "SCT", "Kidney")
RIGHT, LEFT = Code("24028007", "SCT", "Right"), Code("7771000", "SCT", "Left")
ALGORITHM = ("Test algorithm", "7")
PATIENTS = {"oblique": 11, "uneven": 12, "sided": 13}
OBLIQUE = np.array([[0.8, 0.6, 0.0], [0.0, 0.0, -1.0]])
UNEVEN = [0.0, 4.0, 8.0, 11.0, 14.0, 17.0, 23.0, 29.0, 35.0, 36.0]


@dataclass
class Case:
    """A stored SEG and its images, which are sorted along their normal."""

    seg: Dataset
    images: list[Dataset]
    path: str
    sides: dict[int, Code] = field(default_factory=dict)

    @property
    def uid(self) -> str:
        return self.seg.SOPInstanceUID

    @property
    def segments(self) -> dict[int, Dataset]:
        numbers = foreground(self.seg)
        return {item.SegmentNumber: item for item in self.seg.SegmentSequence if item.SegmentNumber in numbers}

    @cached_property
    def masks(self) -> dict[int, np.ndarray]:
        """Masks [slice, row, column] by segment number, read by pydicom alone."""
        return referenced_masks(self.path, self.images)

    @property
    def millilitres(self) -> dict[int, float]:
        """Sums of voxels, each as thick as half of what lies between its slice's neighbours."""
        across = np.array(self.images[0].ImageOrientationPatient, float).reshape(2, 3)
        normal = np.cross(*across)
        heights = np.array([np.dot(normal, np.array(one.ImagePositionPatient, float)) for one in self.images])
        steps = np.diff(heights)
        thick = (np.concatenate([steps[:1], steps]) + np.concatenate([steps, steps[-1:]])) / 2
        area = float(np.prod(np.array(self.images[0].PixelSpacing, float)))
        return {number: float((mask.sum(axis=(1, 2)) * thick).sum() * area / 1000)
                for number, mask in self.masks.items()}


def along(images: list[Dataset], orientation: np.ndarray, heights: list[float]) -> list[Dataset]:
    """The images, turned and moved along their normal."""
    normal = np.cross(*orientation)
    for image, height in zip(images, heights, strict=True):
        image.ImageOrientationPatient = [float(part) for part in orientation.ravel()]
        image.ImagePositionPatient = [round(float(part), 6) for part in np.array([-30, 12, 40]) + height * normal]
        del image.SpacingBetweenSlices
    return images


def description(number: int, code: Code, side: Code | None = None) -> hd.seg.SegmentDescription:
    made = hd.seg.SegmentDescription(
        segment_number=number, segment_label=" ".join(filter(None, [side and side.meaning, code.meaning])),
        segmented_property_category=patients.ORGAN, segmented_property_type=code, algorithm_type="SEMIAUTOMATIC",
        tracking_uid=patients.uid("tracking", number), tracking_id=f"organ {number}",
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=ALGORITHM[0], version=ALGORITHM[1], family=Code("123110", "DCM", "Artificial Intelligence")))
    if side:
        made.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [
            CodedConcept.from_code(side)]
    return made


def label_map(patient: int, images: list[Dataset], *descriptions, kind: str = "LABELMAP") -> Dataset:
    """The patient's SEG by highdicom, of these two segments."""
    labels = np.zeros((len(images), patients.SIZE, patients.SIZE), np.uint8)
    for one, mask in zip(descriptions, patients.anatomy(patient)[1].values(), strict=True):
        labels[mask] = one.SegmentNumber
    pixels = labels
    if kind == "FRACTIONAL":
        pixels = np.stack([(labels == one.SegmentNumber).astype(float) for one in descriptions], axis=-1)
    return hd.seg.Segmentation(
        source_images=images, pixel_array=pixels, segmentation_type=kind, segment_descriptions=descriptions,
        series_instance_uid=patients.uid(patient, "label map series", kind), series_number=70,
        sop_instance_uid=patients.uid(patient, "label map", kind), instance_number=1, manufacturer="Test",
        manufacturer_model_name="Test", software_versions="1", device_serial_number="1")


def by_highdicom(name: str, folder) -> Case:
    patient = PATIENTS[name]
    images, sides = patients.images(patient), {}
    organs = (description(1, patients.LIVER), description(2, patients.SPLEEN))
    if name == "oblique":
        images = along(images, OBLIQUE, [4.0 * index for index in range(patients.SLICES)])
        seg = label_map(patient, images, *organs)
    elif name == "uneven":
        images = along(images, np.eye(3)[:2], UNEVEN)
        seg = label_map(patient, images, *organs, kind="BINARY")
    else:
        # Numbers with gaps, which a LABELMAP may have and a BINARY SEG may not.
        sides = {3: RIGHT, 7: LEFT}
        seg = label_map(patient, images, description(3, KIDNEY, RIGHT), description(7, KIDNEY, LEFT))
    return stored(seg, images, folder, sides)


def stored(seg: Dataset, images: list[Dataset], folder, sides=None) -> Case:
    path = folder / f"{seg.SOPInstanceUID}.dcm"
    path.write_bytes(patients.part10(seg))
    return Case(pydicom.dcmread(path), images, path, sides or {})
