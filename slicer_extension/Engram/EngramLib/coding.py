"""What a segment is, in codes: those of DICOM-SEG (PS3.3 C.8.20.4) and the terminology entries of Slicer."""

import json
from typing import NamedTuple, Optional, Tuple

import pydicom
from pydicom.dataset import Dataset

TERMINOLOGY_CONTEXT = "Segmentation category and type - DICOM master list"
REGION_CONTEXT = "Anatomic codes - DICOM master list"


class Code(NamedTuple):
    """A coded concept (PS3.3 8.8)."""

    value: str
    scheme: str
    meaning: str

    def item(self) -> Dataset:
        item = Dataset()
        # A value of more than sixteen characters has an attribute of its own (PS3.3 8.1).
        setattr(item, "CodeValue" if len(self.value) <= 16 else "LongCodeValue", self.value)
        item.CodingSchemeDesignator, item.CodeMeaning = self.scheme, self.meaning
        return item


ANATOMICAL_STRUCTURE = Code("123037004", "SCT", "Anatomical Structure")
TISSUE = Code("85756007", "SCT", "Tissue")


class Coding(NamedTuple):
    """Category, type and its modifiers (laterality), anatomic region and its modifiers."""

    category: Code
    property_type: Code
    modifiers: Tuple[Code, ...] = ()
    region: Optional[Code] = None
    region_modifiers: Tuple[Code, ...] = ()

    @property
    def is_told(self) -> bool:
        """Whether someone said what it is: Slicer gives new segments the category and type Tissue."""
        return (self.property_type.value, self.property_type.scheme) != (TISSUE.value, TISSUE.scheme)

    def terminology(self) -> str:
        """As Slicer writes a terminology entry, which has room for one modifier each."""
        def written(code: Optional[Code]) -> str:
            # An entry is cut at these characters, and has no escape for them.
            clean = [part.translate({ord(one): " " for one in "~^|"}) for part in (code or Code("", "", ""))]
            return "^".join((clean[1], clean[0], clean[2]))

        def first(codes: Tuple[Code, ...]) -> Optional[Code]:
            return codes[0] if codes else None

        return "~".join([
            TERMINOLOGY_CONTEXT, written(self.category), written(self.property_type), written(first(self.modifiers)),
            REGION_CONTEXT, written(self.region), written(first(self.region_modifiers))])

    def to_json(self) -> str:
        return json.dumps(self)

    @classmethod
    def of_json(cls, text: str) -> "Coding":
        category, kind, modifiers, region, region_modifiers = json.loads(text)
        return cls(Code(*category), Code(*kind), tuple(Code(*one) for one in modifiers),
                   Code(*region) if region else None, tuple(Code(*one) for one in region_modifiers))


def of_terminology(entry: str) -> Optional[Coding]:
    """From a terminology entry of Slicer; None where it names no type."""
    parts = (entry.split("~") + [""] * 7)[:7]
    category, kind, modifier, region, region_modifier = (_read(parts[at]) for at in (1, 2, 3, 5, 6))
    if kind is None:
        return None
    return Coding(category or ANATOMICAL_STRUCTURE, kind, (modifier,) if modifier else (), region,
                  (region_modifier,) if region_modifier else ())


def of_segment(item: Dataset) -> Coding:
    """From an item of SegmentSequence."""
    category = _codes(item.get("SegmentedPropertyCategoryCodeSequence"))
    kinds = item.get("SegmentedPropertyTypeCodeSequence") or []
    regions = item.get("AnatomicRegionSequence") or []
    (kind,) = _codes(kinds[:1]) or (Code("", "", item.get("SegmentLabel", "")),)
    return Coding(
        category[0] if category else ANATOMICAL_STRUCTURE, kind,
        _codes(kinds[0].get("SegmentedPropertyTypeModifierCodeSequence") if kinds else None),
        next(iter(_codes(regions[:1])), None),
        _codes(regions[0].get("AnatomicRegionModifierSequence") if regions else None))


def write(coding: Coding, item: Dataset) -> None:
    """Into an item of SegmentSequence."""
    kind = coding.property_type.item()
    if coding.modifiers:
        kind.SegmentedPropertyTypeModifierCodeSequence = _sequence(coding.modifiers)
    item.SegmentedPropertyCategoryCodeSequence = _sequence([coding.category])
    item.SegmentedPropertyTypeCodeSequence = pydicom.Sequence([kind])
    if coding.region:
        region = coding.region.item()
        if coding.region_modifiers:
            region.AnatomicRegionModifierSequence = _sequence(coding.region_modifiers)
        item.AnatomicRegionSequence = pydicom.Sequence([region])


def _sequence(codes) -> pydicom.Sequence:
    return pydicom.Sequence([code.item() for code in codes])


def _codes(items) -> Tuple[Code, ...]:
    return tuple(
        Code(str(one.get("CodeValue") or one.get("LongCodeValue") or one.get("URNCodeValue") or ""),
             str(one.get("CodingSchemeDesignator", "")), str(one.get("CodeMeaning", "")))
        for one in items or [])


def _read(text: str) -> Optional[Code]:
    scheme, value, meaning = ([*text.split("^"), "", "", ""])[:3]
    return Code(value, scheme, meaning) if scheme and value else None
