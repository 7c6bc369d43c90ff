"""DICOM-SEG: labels and frames in, a segmentation out."""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass

import highdicom
import numpy as np
import pydicom
from highdicom.sr.coding import CodedConcept
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from engram_registration import __version__

Array = np.ndarray
Dataset = pydicom.Dataset

NAME = "Multi-atlas registration"
SERIES_NUMBER = 900
COPIED = (  # of a segment's description, beside category and type
    "AnatomicRegionSequence",
    "PrimaryAnatomicStructureSequence",
    "RecommendedDisplayCIELabValue",
)


@dataclass(frozen=True)
class Label:
    """What a segment is of. Equal: the same type with the same modifiers, whatever its name."""

    item: Dataset  # of SegmentSequence

    def codes(self) -> tuple[Code, list[Code]]:
        kind = self.item.SegmentedPropertyTypeCodeSequence[0]
        modifiers = kind.get("SegmentedPropertyTypeModifierCodeSequence") or []
        return code(kind), [code(modifier) for modifier in modifiers]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Label):
            return NotImplemented
        (kind, modifiers), (theirs, others) = self.codes(), other.codes()
        return (
            kind == theirs
            and all(modifier in others for modifier in modifiers)
            and all(modifier in modifiers for modifier in others)
        )

    __hash__ = None


@dataclass(frozen=True)
class Frame:
    """One frame of a BINARY SEG."""

    segment: int
    sources: list[str]  # SOP Instance UIDs of the images it was drawn on
    position: Array | None  # [3], mm: the centre of its first pixel
    mask: Array  # bool [H,W]


def code(item: Dataset) -> Code:
    """A code without its version and meaning; pydicom takes SNOMED-RT for SNOMED CT."""
    value = item.get("CodeValue") or item.get("LongCodeValue") or item.get("URNCodeValue")
    return Code(str(value), str(item.get("CodingSchemeDesignator", "URN")), "")


def labels(seg: Dataset) -> tuple[list[Label], dict[int, int]]:
    """The labels of a SEG, and which of them each segment number is of."""
    found: list[Label] = []
    index = {}
    for item in seg.SegmentSequence:
        merge(found, [Label(item)])
        index[int(item.SegmentNumber)] = found.index(Label(item))
    return found, index


def merge(known: list[Label], more: list[Label]) -> None:
    """Appends the labels that are not known yet."""
    known.extend(label for label in more if label not in known)


def frames(seg: Dataset) -> Iterator[Frame]:
    """The frames of a BINARY SEG."""
    shared = seg.SharedFunctionalGroupsSequence[0]
    pixels = seg.pixel_array.reshape(-1, seg.Rows, seg.Columns)
    for mask, own in zip(pixels, seg.PerFrameFunctionalGroupsSequence, strict=True):
        plane = macro("PlanePositionSequence", own, shared)
        sources = macro("DerivationImageSequence", own, shared).get("SourceImageSequence") or []
        yield Frame(
            segment=int(
                macro("SegmentIdentificationSequence", own, shared).ReferencedSegmentNumber
            ),
            sources=[str(source.ReferencedSOPInstanceUID) for source in sources],
            position=np.array(plane.ImagePositionPatient, float) if plane else None,
            mask=mask > 0,
        )


def macro(name: str, own: Dataset, shared: Dataset) -> Dataset:
    """A functional group of a frame: its own, or what all share; empty where there is none."""
    items = own.get(name) or shared.get(name)
    return items[0] if items else Dataset()


def description(label: Label, number: int, transform: str) -> highdicom.seg.SegmentDescription:
    """A segment's description with the label's own codes."""
    item = label.item
    algorithm = highdicom.AlgorithmIdentificationSequence(
        NAME, codes.DCM.DeformableModels, __version__, parameters={"transform": transform}
    )
    result = highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=str(item.SegmentLabel),
        segmented_property_category=CodedConcept.from_dataset(
            item.SegmentedPropertyCategoryCodeSequence[0]
        ),
        segmented_property_type=CodedConcept.from_dataset(
            item.SegmentedPropertyTypeCodeSequence[0]
        ),
        algorithm_type="AUTOMATIC",
        algorithm_identification=algorithm,
    )
    for name in COPIED:
        if name in item:
            result[name] = deepcopy(item[name])
    return result


def segmentation(
    slices: list[Dataset], result: Array, found: list[Label], transform: str
) -> highdicom.seg.Segmentation:
    """A BINARY SEG of a label map [Z,H,W] (0, or a label's place in `found` plus one)."""
    return highdicom.seg.Segmentation(
        source_images=slices,
        pixel_array=result,
        segmentation_type="BINARY",
        segment_descriptions=[
            description(label, number, transform) for number, label in enumerate(found, 1)
        ],
        series_instance_uid=highdicom.UID(),
        series_number=SERIES_NUMBER,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="Engram",
        manufacturer_model_name="engram_registration",
        software_versions=__version__,
        device_serial_number="0",
        series_description=NAME,
        omit_empty_frames=bool(result.any()),  # a SEG has at least one
    )
