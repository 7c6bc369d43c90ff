"""DICOM-SEG to masks and back (PS3.3 A.51, A.101, C.8.20): what QuantitativeReporting would do, without it."""

import datetime
import io
from typing import Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from . import VERSION, coding, colours, part10
from .coding import Code, Coding
from .errors import EngramError
from .geometry import Grid, Slice

SEGMENTATION_STORAGE = "1.2.840.10008.5.1.4.1.1.66.4"
LABEL_MAP_SEGMENTATION_STORAGE = "1.2.840.10008.5.1.4.1.1.66.7"

UNCOMPRESSED = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1")

SAME_PLACE_MM = 0.1
"""A frame that refers to no slice belongs to one this near."""

MANUFACTURER = "Engram"
MODEL = "Engram extension of 3D Slicer"


class Segment(NamedTuple):
    """A segment and where it is. `mask` is bool `[slice, row, column]` of the grid; `slices` are those that have a frame of it:
    of any other slice a partial SEG says nothing."""

    label: str
    coding: Coding
    mask: np.ndarray
    algorithm_type: str = "MANUAL"
    colour: Optional[colours.Rgb] = None
    number: int = 0
    slices: Tuple[int, ...] = ()
    tracking_id: str = ""
    tracking_uid: str = ""
    description: str = ""


def read(content: bytes, grid: Grid) -> List[Segment]:
    """The segments of a SEG, by number, each on the slices of the grid.

    BINARY and LABELMAP, uncompressed; segments may overlap. Frames of slices that the grid lacks are left out.

    Raises `EngramError`: `unreadable_segmentation` where it is damaged or of another kind, `not_on_series` where no
    frame lies on the grid.
    """
    try:
        return _read(pydicom.dcmread(io.BytesIO(content)), grid)
    except EngramError:
        raise
    except Exception as error:
        # pydicom raises whatever a damaged file leads it to.
        raise _unreadable(f"it is damaged ({type(error).__name__}: {error})") from error


def _read(seg: Dataset, grid: Grid) -> List[Segment]:
    kind = _kind(seg)
    frames = list(_placed_frames(seg, grid))
    pixels = _pixels(seg, kind)
    placed = [(frame, at) for frame, at in enumerate(frames) if at is not None]
    if frames and not placed:
        raise EngramError(
            "not_on_series", "The segmentation lies on none of the volume's slices.", "Choose the volume that it was made on.")
    # A LABELMAP may list its background as a segment (PS3.3 C.8.20.2.3.3).
    background = seg.get("PixelPaddingValue") if kind == "LABELMAP" else None
    items = [item for item in seg.SegmentSequence if background is None or item.SegmentNumber != background]
    return [_segment(item, kind, seg, grid, placed, pixels) for item in items]


def _kind(seg: Dataset) -> str:
    if seg.get("SOPClassUID") not in (SEGMENTATION_STORAGE, LABEL_MAP_SEGMENTATION_STORAGE):
        raise _unreadable("it is no segmentation")
    if str(seg.file_meta.TransferSyntaxUID) not in UNCOMPRESSED:
        raise _unreadable("it is compressed")
    kind = str(seg.SegmentationType)
    if kind == "FRACTIONAL":
        raise _unreadable("it is FRACTIONAL: it tells how likely each voxel is, not where the segment ends")
    if kind not in ("BINARY", "LABELMAP"):
        raise _unreadable(f"its type is {kind}")
    return kind


def _pixels(seg: Dataset, kind: str) -> np.ndarray:
    """Values `[frame, row, column]`."""
    shape = int(seg.NumberOfFrames), int(seg.Rows), int(seg.Columns)
    count = int(np.prod(shape))
    if kind == "BINARY" and seg.BitsAllocated == 1:
        # Bits of all frames one after the other, the lowest first (PS3.5 8.1.1).
        values = np.unpackbits(np.frombuffer(seg.PixelData, np.uint8), bitorder="little")
    else:
        values = np.frombuffer(seg.PixelData, {8: "<u1", 16: "<u2"}[seg.BitsAllocated])
    if len(values) < count:
        raise _unreadable(f"its pixel data is too short for {shape[0]} frames")
    return values[:count].reshape(shape)


def _placed_frames(seg: Dataset, grid: Grid) -> Iterator[Optional[int]]:
    """For each frame the index of its slice in the grid, or None: by the image that it refers to, else by its place."""
    if (int(seg.Rows), int(seg.Columns)) != (grid.rows, grid.columns):
        raise EngramError(
            "not_on_series", f"The segmentation is of {seg.Rows} x {seg.Columns} pixels, the volume's slices are "
            f"of {grid.rows} x {grid.columns}.", "Choose the volume that it was made on.")
    index_of, shared = grid.index_of(), seg.SharedFunctionalGroupsSequence[0]
    heights = np.array([one.position @ grid.normal for one in grid.slices])
    for groups in seg.PerFrameFunctionalGroupsSequence[: int(seg.NumberOfFrames)]:
        at = _referenced(groups, index_of)
        yield at if at is not None else _nearest(groups, shared, grid, heights)


def _referenced(groups: Dataset, index_of: Dict[Tuple[str, int], int]) -> Optional[int]:
    sources = [
        source for derivation in groups.get("DerivationImageSequence") or []
        for source in derivation.get("SourceImageSequence") or []]
    if len(sources) != 1:
        return None
    numbers = sources[0].get("ReferencedFrameNumber") or 1
    number = numbers if isinstance(numbers, (int, float, str)) else numbers[0]
    return index_of.get((sources[0].ReferencedSOPInstanceUID, int(number)))


def _nearest(groups: Dataset, shared: Dataset, grid: Grid, heights: np.ndarray) -> Optional[int]:
    plane = groups.get("PlanePositionSequence") or shared.get("PlanePositionSequence")
    turned = groups.get("PlaneOrientationSequence") or shared.get("PlaneOrientationSequence")
    if not plane or not turned:
        return None
    if not np.allclose(np.array(turned[0].ImageOrientationPatient, float), grid.orientation, atol=1e-3):
        return None
    position = np.array(plane[0].ImagePositionPatient, float)
    at = int(np.abs(heights - position @ grid.normal).argmin())
    return at if np.linalg.norm(grid.slices[at].position - position) <= SAME_PLACE_MM else None


def _segment(item: Dataset, kind: str, seg: Dataset, grid: Grid, placed, pixels: np.ndarray) -> Segment:
    number = int(item.SegmentNumber)
    mask, slices = np.zeros(grid.shape, bool), []
    for frame, at in placed:
        if kind == "BINARY":
            if _owner(seg, frame) != number:
                continue
            mask[at] |= pixels[frame] != 0
        else:
            mask[at] |= pixels[frame] == number
        slices.append(at)
    colour = item.get("RecommendedDisplayCIELabValue")
    return Segment(
        label=str(item.get("SegmentLabel", "")), coding=coding.of_segment(item), mask=mask,
        algorithm_type=str(item.get("SegmentAlgorithmType", "")), colour=colours.of_dicom(colour) if colour else None,
        number=number, slices=tuple(sorted(set(slices))), tracking_id=str(item.get("TrackingID", "")),
        tracking_uid=str(item.get("TrackingUID", "")), description=str(item.get("SegmentDescription", "")))


def _owner(seg: Dataset, frame: int) -> int:
    """The segment that a frame of a BINARY SEG belongs to."""
    for groups in (seg.PerFrameFunctionalGroupsSequence[frame], seg.SharedFunctionalGroupsSequence[0]):
        identification = groups.get("SegmentIdentificationSequence")
        if identification:
            return int(identification[0].ReferencedSegmentNumber)
    raise _unreadable(f"frame {frame + 1} tells no segment")


def _unreadable(why: str) -> EngramError:
    return EngramError("unreadable_segmentation", f"The segmentation cannot be read: {why}.",
                       "Ask for the result as BINARY or LABELMAP, uncompressed.")


class Authorship(NamedTuple):
    """Who made a SEG, and what its series is to be called. `when` is local time."""

    description: str
    creator: str
    when: datetime.datetime


def write(
    grid: Grid, segments: Sequence[Segment], authorship: Authorship, encoding: str = "BINARY",
    only_slices: Optional[Sequence[int]] = None,
) -> Tuple[str, bytes]:
    """The segments as a SEG of the grid's images, in a series of its own: its SOP Instance UID, and a Part 10 file.

    Slices without any of a segment get no frame of it, which says that it is not there. With `only_slices`, those
    slices alone get frames, and of every segment, empty or not: what a partial annotation says.

    Raises `EngramError` where there is nothing to write, and for a LABELMAP of segments that overlap.
    """
    if not segments:
        raise EngramError("nothing_to_teach", "There is no segment to store.", "Draw one, or choose another segmentation.")
    frames = _frames_to_write(segments, encoding, only_slices)
    if not frames:
        raise EngramError("nothing_to_teach", "All segments are empty.", "Draw on at least one slice.")
    seg = _new_dataset(grid, authorship, encoding)
    seg.SegmentSequence = pydicom.Sequence(
        [_segment_item(number, one) for number, one in enumerate(segments, start=1)])
    _write_references(seg, grid)
    _write_functional_groups(seg, grid, frames, encoding)
    _write_pixels(seg, grid, segments, frames, encoding)
    return str(seg.SOPInstanceUID), part10.written(seg)


class _WrittenFrame(NamedTuple):
    """A frame to be: of a slice of the grid, and in a BINARY SEG of a segment (index)."""

    slice: int
    segment: int


def _frames_to_write(segments: Sequence[Segment], encoding: str, only_slices) -> List[_WrittenFrame]:
    chosen = range(len(segments[0].mask)) if only_slices is None else sorted(set(only_slices))
    if encoding == "BINARY":
        return [
            _WrittenFrame(at, index) for index, one in enumerate(segments) for at in chosen
            if only_slices is not None or one.mask[at].any()]
    if sum(one.mask.astype(np.uint8) for one in segments).max() > 1:
        raise EngramError("overlap", "Segments overlap, which a LABELMAP cannot hold.", "Store it as BINARY.")
    shown = [at for at in chosen if only_slices is not None or any(one.mask[at].any() for one in segments)]
    return [_WrittenFrame(at, 0) for at in shown]


def _new_dataset(grid: Grid, authorship: Authorship, encoding: str) -> Dataset:
    """Everything but segments, references, functional groups and pixels."""
    source, when = grid.headers[0], authorship.when
    seg = Dataset()
    part10.copy_patient_and_study(source, seg)
    seg.SOPClassUID = SEGMENTATION_STORAGE if encoding == "BINARY" else LABEL_MAP_SEGMENTATION_STORAGE
    seg.SOPInstanceUID, seg.SeriesInstanceUID = generate_uid(prefix=None), generate_uid(prefix=None)
    seg.Modality, seg.SeriesNumber, seg.InstanceNumber = "SEG", 300, 1
    seg.SeriesDescription = seg.ContentDescription = authorship.description[:64]
    seg.SeriesDate = seg.ContentDate = seg.InstanceCreationDate = when.strftime("%Y%m%d")
    seg.SeriesTime = seg.ContentTime = seg.InstanceCreationTime = when.strftime("%H%M%S.%f")
    if source.get("FrameOfReferenceUID"):
        seg.FrameOfReferenceUID = source.FrameOfReferenceUID
        seg.PositionReferenceIndicator = source.get("PositionReferenceIndicator") or ""
    seg.Manufacturer, seg.ManufacturerModelName = MANUFACTURER, MODEL
    # The device is a program on someone's computer, whose serial number is nobody's business.
    seg.DeviceSerialNumber, seg.SoftwareVersions = "0", VERSION
    seg.ContentLabel, seg.ContentCreatorName = "SEGMENTATION", authorship.creator[:64]
    seg.ImageType, seg.SegmentationType = ["DERIVED", "PRIMARY"], encoding
    seg.SamplesPerPixel, seg.PhotometricInterpretation, seg.PixelRepresentation = 1, "MONOCHROME2", 0
    seg.Rows, seg.Columns = grid.rows, grid.columns
    seg.LossyImageCompression = "01" if source.get("LossyImageCompression") == "01" else "00"
    if seg.LossyImageCompression == "01":
        seg.LossyImageCompressionRatio = source.get("LossyImageCompressionRatio") or 1
        seg.LossyImageCompressionMethod = source.get("LossyImageCompressionMethod") or "ISO_10918_1"
    if encoding == "BINARY":
        seg.SegmentsOverlap = "UNDEFINED"
    return seg


def _segment_item(number: int, segment: Segment) -> Dataset:
    item = Dataset()
    item.SegmentNumber, item.SegmentLabel = number, segment.label[:64] or segment.coding.property_type.meaning[:64]
    item.SegmentAlgorithmType = segment.algorithm_type
    if segment.algorithm_type != "MANUAL":
        item.SegmentAlgorithmName = "Engram, corrected by a person"
    coding.write(segment.coding, item)
    item.TrackingID = segment.tracking_id or f"{segment.label} {number}"[:64]
    item.TrackingUID = segment.tracking_uid or generate_uid(prefix=None)
    if segment.colour:
        item.RecommendedDisplayCIELabValue = list(colours.to_dicom(segment.colour))
    return item


def _write_references(seg: Dataset, grid: Grid) -> None:
    """Common Instance Reference (PS3.3 C.12.2): every image of the grid."""
    series = Dataset()
    series.SeriesInstanceUID = grid.headers[0].SeriesInstanceUID
    instances = {one.sop_instance_uid: one.sop_class_uid for one in grid.slices}
    series.ReferencedInstanceSequence = pydicom.Sequence([_reference(kind, uid) for uid, kind in instances.items()])
    seg.ReferencedSeriesSequence = pydicom.Sequence([series])


def _reference(sop_class: str, sop_instance: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, sop_instance
    return item


def _write_functional_groups(seg: Dataset, grid: Grid, frames: List[_WrittenFrame], encoding: str) -> None:
    organization = generate_uid(prefix=None)
    seg.DimensionOrganizationSequence = pydicom.Sequence([Dataset()])
    seg.DimensionOrganizationSequence[0].DimensionOrganizationUID = organization
    dimensions = [(0x00200032, 0x00209113, "Image Position")]
    if encoding == "BINARY":
        dimensions.insert(0, (0x0062000B, 0x0062000A, "Referenced Segment Number"))
    seg.DimensionIndexSequence = pydicom.Sequence([_dimension(organization, *one) for one in dimensions])
    seg.SharedFunctionalGroupsSequence = pydicom.Sequence([_shared_groups(grid)])
    rank = {at: index for index, at in enumerate(sorted({one.slice for one in frames}), start=1)}
    seg.PerFrameFunctionalGroupsSequence = pydicom.Sequence([
        _frame_groups(grid.slices[one.slice], rank[one.slice], one.segment + 1 if encoding == "BINARY" else None)
        for one in frames])
    seg.NumberOfFrames = len(frames)


def _dimension(organization: str, pointer: int, group: int, description: str) -> Dataset:
    item = Dataset()
    item.DimensionOrganizationUID, item.DimensionIndexPointer = organization, pointer
    item.FunctionalGroupPointer, item.DimensionDescriptionLabel = group, description
    return item


def _shared_groups(grid: Grid) -> Dataset:
    measures, turned = Dataset(), Dataset()
    measures.PixelSpacing = [decimal(one) for one in grid.pixel_spacing]
    gap = float(grid.gaps.mean()) if len(grid.slices) > 1 else None
    measures.SliceThickness = grid.headers[0].get("SliceThickness") or decimal(gap or 1)
    if gap and grid.is_even:
        measures.SpacingBetweenSlices = decimal(gap)
    turned.ImageOrientationPatient = [decimal(one) for one in grid.orientation]
    shared = Dataset()
    shared.PixelMeasuresSequence = pydicom.Sequence([measures])
    shared.PlaneOrientationSequence = pydicom.Sequence([turned])
    return shared


def _frame_groups(source: Slice, rank: int, segment: Optional[int]) -> Dataset:
    content, plane, derivation = Dataset(), Dataset(), Dataset()
    content.DimensionIndexValues = [segment, rank] if segment else [rank]
    plane.ImagePositionPatient = [decimal(one) for one in source.position]
    image = _reference(source.sop_class_uid, source.sop_instance_uid)
    if source.multi_frame:
        image.ReferencedFrameNumber = source.frame
    purpose = Code("121322", "DCM", "Source image for image processing operation")
    image.PurposeOfReferenceCodeSequence = pydicom.Sequence([purpose.item()])
    derivation.SourceImageSequence = pydicom.Sequence([image])
    derivation.DerivationCodeSequence = pydicom.Sequence([Code("113076", "DCM", "Segmentation").item()])
    groups = Dataset()
    groups.FrameContentSequence = pydicom.Sequence([content])
    groups.PlanePositionSequence = pydicom.Sequence([plane])
    groups.DerivationImageSequence = pydicom.Sequence([derivation])
    if segment:
        identification = Dataset()
        identification.ReferencedSegmentNumber = segment
        groups.SegmentIdentificationSequence = pydicom.Sequence([identification])
    return groups


def _write_pixels(seg: Dataset, grid: Grid, segments: Sequence[Segment], frames: List[_WrittenFrame], encoding: str) -> None:
    if encoding == "BINARY":
        planes = np.stack([segments[one.segment].mask[one.slice] for one in frames])
        content = np.packbits(planes.astype(np.uint8).ravel(), bitorder="little").tobytes()
        seg.BitsAllocated, seg.BitsStored, seg.HighBit = 1, 1, 0
    else:
        bits = 8 if len(segments) < 256 else 16
        values = np.zeros((len(frames), grid.rows, grid.columns), f"<u{bits // 8}")
        for index, one in enumerate(frames):
            for number, segment in enumerate(segments, start=1):
                values[index][segment.mask[one.slice]] = number
        content = values.tobytes()
        seg.BitsAllocated, seg.BitsStored, seg.HighBit = bits, bits, bits - 1
    # Values have an even length (PS3.5 7.1.1).
    seg.PixelData = content + b"\0" * (len(content) % 2)
    seg["PixelData"].VR = "OB" if seg.BitsAllocated <= 8 else "OW"


def decimal(value: float) -> str:
    """As DS: at most sixteen characters (PS3.5 6.2)."""
    for digits in range(15, 0, -1):
        text = f"{float(value):.{digits}g}"
        if len(text) <= 16:
            return text
    return "0"
