"""Volume and segmentation nodes of Slicer, spoken to through the classes of MRML that are handed in.

`classes` is Slicer's own module `slicer`, or the package `slicer_core`: both have `vtkSegment`, `vtkOrientedImageData` and
the others by name. All of it runs on Slicer's main thread.
"""

from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple
from urllib.parse import quote, unquote

import numpy as np
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from . import colours
from .coding import Coding, of_terminology
from .dicom_seg import Segment
from .errors import EngramError
from .geometry import FLIP_RAS, Grid, Placement, place

INSTANCE_UIDS = "DICOM.instanceUIDs"
"""The attribute in which Slicer keeps the SOP Instance UIDs of a volume that it loaded from DICOM."""

CODING_TAG, CODED_AS_TAG, KEY_TAG = "Engram.Coding", "Engram.CodedAs", "Engram.Label"
TRACKING_ID_TAG, TRACKING_UID_TAG = "Engram.TrackingID", "Engram.TrackingUID"


class VolumeGeometry(NamedTuple):
    """Where a volume lies: i, j, k to RAS, and how many voxels along each."""

    matrix: np.ndarray
    dimensions: Tuple[int, int, int]


def geometry_of(volume) -> VolumeGeometry:
    image = volume.GetImageData()
    if image is None or image.GetNumberOfPoints() == 0:
        raise EngramError("not_a_volume", "The volume has no voxels.", "Choose another volume.")
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return VolumeGeometry(array_of(matrix), tuple(image.GetDimensions()))


def voxels_of(volume) -> np.ndarray:
    """A copy of the voxels, `[k, j, i]`."""
    image = volume.GetImageData()
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1]).copy()


def sop_instances_of(volume) -> Tuple[str, ...]:
    """The SOP Instance UIDs of the volume's slices; none where it is not from DICOM."""
    return tuple((volume.GetAttribute(INSTANCE_UIDS) or "").split())


def new_segmentation(scene, volume, name: str):
    """An empty segmentation node on the volume's geometry, below the transform that the volume is below."""
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", scene.GenerateUniqueName(name))
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    node.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
    return node


def add_segments(classes, node, volume, grid: Grid, segments: Sequence[Segment], keys: Dict[int, str]) -> List[str]:
    """Adds the segments to those that are there, which stay as they are; the new segment IDs.

    `keys` are the server's keys of the labels, by segment number.
    """
    _check_transform(node, volume)
    placement = placement_in(volume, grid)
    node.SetSourceRepresentationToBinaryLabelmap()
    segmentation = node.GetSegmentation()
    added = []
    for index, one in enumerate(segments):
        segment = classes.vtkSegment()
        segment.SetName(one.label)
        red, green, blue = one.colour or colours.PALETTE[index % len(colours.PALETTE)]
        segment.SetColor(red / 255, green / 255, blue / 255)
        _set_tags(classes, segment, one, keys.get(one.number, ""))
        segment.AddRepresentation(
            classes.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName(),
            labelmap(classes, placement.to_voxels(one.mask), placement.matrix))
        identity = segmentation.GenerateUniqueSegmentID(one.label)
        segmentation.AddSegment(segment, identity)
        added.append(identity)
    return added


def segments_of(classes, node, volume, grid: Grid, identities: Optional[Sequence[str]] = None) -> Dict[str, Segment]:
    """The node's segments, or those named, on the slices of the grid; by segment ID."""
    _check_transform(node, volume)
    placement = placement_in(volume, grid)
    reference = labelmap(classes, placement.to_voxels(np.zeros(grid.shape, bool)), placement.matrix)
    segmentation = node.GetSegmentation()
    everything = [segmentation.GetNthSegmentID(index) for index in range(segmentation.GetNumberOfSegments())]
    return {
        identity: _segment(classes, node, identity, placement, reference)
        for identity in everything if identities is None or identity in identities
    }


def key_of(node, identity: str) -> str:
    """The server's key of the label that a segment came as; empty where it did not come from the server."""
    return _own_tag(node.GetSegmentation().GetSegment(identity), KEY_TAG)


def slice_plane(grid: Grid, volume, index: int):
    """Where a slice view shows a slice as it was taken: view to world, RAS, rows running down; a vtkMatrix4x4."""
    turn = _to_world(volume)[:3, :3] @ FLIP_RAS[:3, :3]
    plane = np.eye(4)
    plane[:3, :3] = turn @ np.column_stack([grid.orientation[:3], -grid.orientation[3:], grid.normal])
    plane[:3, :3] /= np.linalg.norm(plane[:3, :3], axis=0)
    plane[:3, 3] = slice_centre(grid, volume, index)
    return _vtk_matrix(plane)


def slice_centre(grid: Grid, volume, index: int) -> Tuple[float, float, float]:
    """RAS of the middle of a slice, in the world."""
    placement = placement_in(volume, grid)
    mask_index = np.array([index, (grid.rows - 1) / 2, (grid.columns - 1) / 2])
    sizes = np.array(grid.shape)
    kji = [sizes[axis] - 1 - mask_index[axis] if flip else mask_index[axis]
           for axis, flip in zip(placement.axes, placement.flips)]
    local = placement.matrix @ np.array([*kji[::-1], 1.0])
    return tuple(float(one) for one in (_to_world(volume) @ local)[:3])


def slice_at(grid: Grid, volume, ras: Sequence[float]) -> Optional[int]:
    """The slice that a point in the world lies on; None outside."""
    placement = placement_in(volume, grid)
    ijk = np.linalg.inv(_to_world(volume) @ placement.matrix) @ np.array([*ras, 1.0])
    along = placement.axes.index(0)
    position = round(float(ijk[2 - along]))
    count = len(grid.slices)
    return placement.slice_of(position, count) if 0 <= position < count else None


def placement_in(volume, grid: Grid) -> Placement:
    """How masks of the grid lie in the volume."""
    geometry = geometry_of(volume)
    return place(grid, geometry.matrix, geometry.dimensions)


def _check_transform(node, volume) -> None:
    if node.GetParentTransformNode() is not volume.GetParentTransformNode():
        raise EngramError(
            "other_transform", "The segmentation is below another transform than the volume.",
            "Put both below the same transform, or below none (module Transforms).")


def labelmap(classes, voxels: np.ndarray, matrix: np.ndarray):
    """An oriented image of voxels `[k, j, i]`."""
    image = classes.vtkOrientedImageData()
    image.SetDimensions(voxels.shape[::-1])
    scalars = numpy_to_vtk(voxels.astype(np.uint8).ravel(), deep=True, array_type=vtk.VTK_UNSIGNED_CHAR)
    scalars.SetName("ImageScalars")
    image.GetPointData().SetScalars(scalars)
    image.SetImageToWorldMatrix(_vtk_matrix(matrix))
    return image


def _segment(classes, node, identity: str, placement: Placement, reference) -> Segment:
    segment = node.GetSegmentation().GetSegment(identity)
    drawn = classes.vtkOrientedImageData()
    if not node.GetBinaryLabelmapRepresentation(identity, drawn):
        raise EngramError("unreadable_segmentation", f'The segment "{segment.GetName()}" has no labelmap.',
                          "Give it one in the module Segmentations (Representations, Binary labelmap).")
    resampled = classes.vtkOrientedImageData()
    classes.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(drawn, reference, resampled)
    voxels = vtk_to_numpy(resampled.GetPointData().GetScalars()).reshape(resampled.GetDimensions()[::-1])
    return Segment(
        label=segment.GetName(), coding=_coding(classes, segment), mask=placement.to_mask(voxels != 0),
        colour=tuple(round(255 * one) for one in segment.GetColor()),
        tracking_id=_own_tag(segment, TRACKING_ID_TAG), tracking_uid=_own_tag(segment, TRACKING_UID_TAG))


def _coding(classes, segment) -> Coding:
    """What the segment is. Slicer's entry has room for one modifier; the full coding counts while the entry is the one
    that was made of it."""
    entry = _tag(segment, classes.vtkSegment.GetTerminologyEntryTagName())
    full = _own_tag(segment, CODING_TAG)
    if full and entry == _own_tag(segment, CODED_AS_TAG):
        return Coding.of_json(full)
    told = of_terminology(entry)
    if told is None or not told.is_told:
        raise EngramError(
            "not_told", f'Nobody has said what the segment "{segment.GetName()}" is.',
            "Double-click its colour in the segment list and choose its category and type.")
    return told


def _set_tags(classes, segment, one: Segment, key: str) -> None:
    entry = one.coding.terminology()
    segment.SetTag(classes.vtkSegment.GetTerminologyEntryTagName(), entry)
    tags = {
        CODED_AS_TAG: entry, CODING_TAG: one.coding.to_json(), KEY_TAG: key, TRACKING_ID_TAG: one.tracking_id,
        TRACKING_UID_TAG: one.tracking_uid}
    for name, value in tags.items():
        # A file of a segmentation sets tags apart by characters that it does not escape.
        segment.SetTag(name, quote(value, safe=""))


def _own_tag(segment, name: str) -> str:
    return unquote(_tag(segment, name))


def _tag(segment, name: str) -> str:
    value = vtk.mutable("")
    return str(value) if segment.GetTag(name, value) else ""


def _to_world(volume) -> np.ndarray:
    """The linear transform above a volume; of one that is not linear there is no matrix, and it counts as none."""
    matrix, parent = vtk.vtkMatrix4x4(), volume.GetParentTransformNode()
    if parent is not None and parent.IsTransformToWorldLinear():
        parent.GetMatrixTransformToWorld(matrix)
    return array_of(matrix)


def _vtk_matrix(matrix: np.ndarray):
    made = vtk.vtkMatrix4x4()
    made.DeepCopy(np.asarray(matrix, float).ravel().tolist())
    return made


def array_of(matrix) -> np.ndarray:
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])
