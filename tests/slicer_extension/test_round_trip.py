"""From volume node to segmentation node and back as an exemplar, with Slicer's own MRML classes and a running server."""

import datetime
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import pytest
import slicer_core
import vtk

import cases
import patients
from engram_api import masks_of
from EngramLib import mrml, target, teach
from EngramLib.coding import Code, Coding
from EngramLib.dicom_seg import Authorship, Segment
from EngramLib.geometry import grid_of
from patients import LIVER, LIVER_KEY, SPLEEN, SPLEEN_KEY
from steps import auto_segment, client_store, locate, never, odd_mask, paint, silent, to_node

WHEN = datetime.datetime(2026, 1, 5, 9, 30, 0, 125000)
AUTHORSHIP = Authorship("Corrected in Slicer", "Reader^Test", WHEN)


def world_points(image) -> np.ndarray:
    """RAS of the voxels that are set, sorted."""
    voxels = vtk.util.numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())
    i, j, k = np.unravel_index(np.flatnonzero(voxels), image.GetDimensions(), order="F")
    first = np.array(image.GetExtent()[::2])
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    indices = np.vstack([np.array([i, j, k]) + first[:, None], np.ones(len(i))])
    points = (mrml.array_of(matrix) @ indices)[:3].T
    return points[np.lexsort(np.round(points, 3).T)]


def truth_points(case, mask_by_file: np.ndarray) -> np.ndarray:
    """RAS of the pixels that are set, from the attributes of each file."""
    points = []
    for image, mask in zip(case.images, mask_by_file, strict=True):
        across, down = np.array(image.ImageOrientationPatient, float).reshape(2, 3)
        rows, columns = np.nonzero(mask)
        lps = (np.array(image.ImagePositionPatient, float) + columns[:, None] * across * float(image.PixelSpacing[1])
               + rows[:, None] * down * float(image.PixelSpacing[0]))
        points.append(lps * [-1, -1, 1])
    points = np.concatenate(points)
    return points[np.lexsort(np.round(points, 3).T)]


def labelmap_of(node, identity):
    image = slicer_core.vtkOrientedImageData()
    assert node.GetBinaryLabelmapRepresentation(identity, image)
    return image


TARGETS = [(30, "axial"), (31, "coronal"), (32, "oblique"), (33, "flipped")]


@dataclass
class Evaluated:
    """What `engram evaluate` makes of the targets from the same bank: Dice by target and label, and its SEGs."""

    cases: dict[str, cases.Case]
    dice: dict[str, dict[str, float]]
    folder: Path

    def mask(self, orientation: str, name: str) -> np.ndarray:
        seg = pydicom.dcmread(self.folder / f"{orientation}.dcm")
        return masks_of(seg, self.cases[orientation].images)[name].astype(bool)


@pytest.fixture(scope="module")
def evaluated(engram, tmp_path_factory) -> Evaluated:
    data, saved = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("saved")
    made = {}
    for number, name, orientation in [*((n, f"E{n}", "axial") for n in (1, 2, 3)), *((n, o, o) for n, o in TARGETS)]:
        made[name] = cases.make(number, orientation, data / name / "images")
        made[name].segmentation().save_as(data / name / "seg.dcm")
    command = [engram, "evaluate", "--data", data, "--exemplars", "E1,E2,E3", "--targets", ",".join(o for _, o in TARGETS)]
    run = subprocess.run([*command, "--json", "--save", saved], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    dice = {target["name"]: target["dice"] for target in json.loads(run.stdout)["targets"]}
    return Evaluated(made, dice, saved)


@pytest.mark.parametrize("orientation", [orientation for _, orientation in TARGETS])
def test_dice_and_place_are_those_of_evaluate(evaluated, client, scene, orientation):
    """The segmentation node has the voxels that `engram evaluate` finds, where the files say they lie."""
    case = evaluated.cases[orientation]
    volume = cases.load(case, scene)
    result = auto_segment(client, locate(client, case))
    node = to_node(scene, volume, result)
    assert node.GetSegmentation().GetNumberOfSegments() == 2
    back = mrml.segments_of(slicer_core, node, volume, result.located.grid)
    order = [case.uids.index(one.sop_instance_uid) for one in result.located.grid.slices]
    for identity, segment in back.items():
        by_file = np.empty_like(segment.mask)
        by_file[order] = segment.mask
        dice = patients.dice(by_file, case.truth[{"Liver": LIVER, "Spleen": SPLEEN}[segment.label]])
        assert dice > 0 and dice == pytest.approx(evaluated.dice[orientation][segment.label], abs=1e-6)
        np.testing.assert_array_equal(by_file, evaluated.mask(orientation, segment.label))
        found, expected = world_points(labelmap_of(node, identity)), truth_points(case, by_file)
        np.testing.assert_allclose(found, expected, atol=2e-3)


def test_a_volume_that_is_turned_gets_the_same_places(client, scene, tmp_path):
    """Axes swapped and reversed, as other readers leave them: every voxel stays where it was in the patient."""
    case = cases.make(34, "oblique", tmp_path / "images")
    located = locate(client, case)
    result = auto_segment(client, located)
    plain = cases.load(case, scene)
    turned = turned_copy(scene, plain)
    places = []
    for volume in (plain, turned):
        node = to_node(scene, volume, result)
        places.append([world_points(labelmap_of(node, one)) for one in node.GetSegmentation().GetSegmentIDs()])
        back = mrml.segments_of(slicer_core, node, volume, located.grid)
        for one, segment in zip(back.values(), result.segments, strict=True):
            np.testing.assert_array_equal(one.mask, segment.mask)
    for one, other in zip(*places, strict=True):
        assert len(one) > 0
        np.testing.assert_allclose(one, other, atol=2e-3)


def turned_copy(scene, volume):
    """The same image, stored with axes (k, i reversed, j)."""
    geometry = mrml.geometry_of(volume)
    kji = mrml.voxels_of(volume)
    voxels = np.ascontiguousarray(np.transpose(kji, (1, 2, 0))[:, ::-1, :])
    matrix = geometry.matrix[:, [2, 0, 1, 3]].copy()
    matrix[:, 3] += geometry.matrix[:, 0] * (geometry.dimensions[0] - 1)
    matrix[:, 1] *= -1
    image = vtk.vtkImageData()
    image.SetDimensions(voxels.shape[::-1])
    image.GetPointData().SetScalars(vtk.util.numpy_support.numpy_to_vtk(voxels.ravel(), deep=True))
    turned = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "turned")
    turned.SetAndObserveImageData(image)
    to_ras = vtk.vtkMatrix4x4()
    to_ras.DeepCopy(matrix.ravel().tolist())
    turned.SetIJKToRASMatrix(to_ras)
    return turned


def test_uneven_slices_are_right_slice_by_slice_and_said_so(client, scene, tmp_path):
    heights = np.cumsum([0, 4, 4, 4, 7, 4, 4, 3, 4, 4]).astype(float)
    case = cases.make(35, "oblique", tmp_path / "images", heights)
    volume = cases.load(case, scene)
    located = locate(client, case)
    assert "not evenly stacked (3.00 to 7.00 mm" in located.grid.remark
    result = auto_segment(client, located)
    node = to_node(scene, volume, result)
    back = mrml.segments_of(slicer_core, node, volume, located.grid)
    for one, segment in zip(back.values(), result.segments, strict=True):
        assert one.mask.any()
        np.testing.assert_array_equal(one.mask, segment.mask)
    image = labelmap_of(node, next(iter(back)))
    assert image.GetDimensions() == volume.GetImageData().GetDimensions()


def test_segments_come_with_terminology_and_colour_beside_those_that_are_there(client, scene, tmp_path):
    case = cases.make(36, "axial", tmp_path / "images")
    volume = cases.load(case, scene)
    result = auto_segment(client, locate(client, case))
    node = to_node(scene, volume, result)
    segmentation = node.GetSegmentation()
    first = list(segmentation.GetSegmentIDs())
    before = [world_points(labelmap_of(node, one)) for one in first]
    mrml.add_segments(slicer_core, node, volume, result.located.grid, result.segments, result.keys)
    both = list(segmentation.GetSegmentIDs())
    assert both[:2] == first and len(set(both)) == 4
    for identity, points in zip(first, before, strict=True):
        np.testing.assert_array_equal(world_points(labelmap_of(node, identity)), points)
    entry = slicer_core.vtkSlicerTerminologyEntry()
    segment = segmentation.GetSegment(first[0])
    assert slicer_core.vtkSlicerTerminologiesModuleLogic.DeserializeTerminologyEntry(segment.GetTerminology(), entry)
    assert entry.GetTypeObject().GetCodeValue() == LIVER.value
    assert entry.GetTypeObject().GetCodingSchemeDesignator() == "SCT"
    assert entry.GetCategoryObject().GetCodeMeaning() == "Anatomical Structure"
    assert {mrml.key_of(node, one) for one in first} == {LIVER_KEY, SPLEEN_KEY}
    colours = {segmentation.GetSegment(one).GetColor() for one in first}
    assert len(colours) == 2


def test_what_a_segment_is_survives_a_saved_segmentation(scene, tmp_path):
    """A label with two modifiers, whose key and codes have every character that a file sets apart by."""
    case = cases.make(42, "oblique", tmp_path / "images")
    volume, grid = cases.load(case, scene), grid_of(case.images)
    modifiers = (Code("24028007", "SCT", "Right: the one"), Code("255561001", "SCT", "Medial | not lateral"))
    kidney = Coding(Code("123037004", "SCT", "Anatomical Structure"), Code("64033007", "SCT", "Kidney"), modifiers)
    mask = np.zeros(grid.shape, bool)
    mask[2:4, 5:9, 5:9] = True
    segment = Segment("Right kidney", kidney, mask, colour=(10, 200, 30), number=1, tracking_id="k|1", tracking_uid="2.25.1")
    node = mrml.new_segmentation(scene, volume, "Engram")
    key = "SCT:64033007|SCT:24028007|SCT:255561001"
    mrml.add_segments(slicer_core, node, volume, grid, [segment], {1: key})
    node.AddDefaultStorageNode()
    storage = node.GetStorageNode()
    storage.SetFileName(str(tmp_path / "kept.seg.nrrd"))
    assert storage.WriteData(node) == 1
    back = mrml.new_segmentation(scene, volume, "again")
    assert storage.ReadData(back) == 1
    ((identity, found),) = mrml.segments_of(slicer_core, back, volume, grid).items()
    assert mrml.key_of(back, identity) == key
    assert (found.coding, found.colour, found.tracking_id, found.tracking_uid) == (kidney, (10, 200, 30), "k|1", "2.25.1")
    np.testing.assert_array_equal(found.mask, mask)


def test_a_transform_above_the_volume_is_above_the_result_too(client, scene, tmp_path):
    case = cases.make(37, "axial", tmp_path / "images")
    volume = cases.load(case, scene)
    shift = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(2, 3, 50)
    shift.SetMatrixTransformToParent(matrix)
    volume.SetAndObserveTransformNodeID(shift.GetID())
    result = auto_segment(client, locate(client, case))
    node = to_node(scene, volume, result)
    assert node.GetParentTransformNode() is shift
    grid = result.located.grid
    centre = mrml.slice_centre(grid, volume, 3)
    assert centre[2] == pytest.approx(grid.slices[3].position[2] + 50, abs=1e-6)
    assert mrml.slice_at(grid, volume, centre) == 3
    assert mrml.slice_at(grid, volume, (centre[0], centre[1], centre[2] + 500)) is None
    node.SetAndObserveTransformNodeID(None)
    with pytest.raises(mrml.EngramError, match="another transform"):
        mrml.segments_of(slicer_core, node, volume, grid)


def corrected(client, scene, tmp_path, number: int, at: int):
    """A result on whose slice `at` a person painted the liver elsewhere; node, volume, result, edited segments."""
    case = cases.make(number, "oblique", tmp_path / "images")
    volume = cases.load(case, scene)
    result = auto_segment(client, locate(client, case))
    node = to_node(scene, volume, result)
    grid = result.located.grid
    liver = next(one for one in node.GetSegmentation().GetSegmentIDs() if mrml.key_of(node, one) == LIVER_KEY)
    edited = mrml.segments_of(slicer_core, node, volume, grid, [liver])[liver].mask
    edited[at] = odd_mask()
    paint(node, volume, grid, liver, edited)
    return result, mrml.segments_of(slicer_core, node, volume, grid)


@pytest.mark.parametrize("edited_only", [False, True])
def test_what_is_taught_counts_in_the_next_result(client, scene, tmp_path, edited_only):
    at = 4
    result, segments = corrected(client, scene, tmp_path, 38 + edited_only, at)
    before = client.result(result.job["id"])
    assert teach.edited_slices(list(segments.values()), result.segments) == [at]
    taught = teach.teach(client, result.located, list(segments.values()), AUTHORSHIP, [before], edited_only, silent, never)
    assert taught.slices == (1 if edited_only else patients.SLICES)

    exemplars = client.exemplars(series=result.located.series)
    assert {one["segmentation"] for one in exemplars} == {taught.sop_instance}
    assert {one["partial"] for one in exemplars} == {edited_only}
    stored = client.find_instance(taught.sop_instance)
    content = client.instance(result.located.study, str(stored.SeriesInstanceUID), taught.sop_instance)
    seg = pydicom.dcmread(pydicom.filebase.DicomBytesIO(content))
    assert {one.SegmentAlgorithmType for one in seg.SegmentSequence} == {"SEMIAUTOMATIC"}
    assert (seg.SeriesDescription, str(seg.ContentCreatorName)) == ("Corrected in Slicer", "Reader^Test")
    assert (seg.ContentDate, seg.ContentTime) == ("20260105", "093000.125000")

    # Another patient with the same anatomy: what was just taught is the most similar case.
    twin = patients.images(result_number := 138 + edited_only)
    for one, source in zip(twin, patients.images(38 + edited_only), strict=True):
        one.PixelData = source.PixelData
    client_store(client, twin)
    located = target.locate(client, target.Target(tuple(one.SOPInstanceUID for one in twin)), silent, never)
    next_result = auto_segment(client, located)
    behind = {exemplar["study"] for one in next_result.provenance for exemplar in one["exemplars"]}
    assert result.located.study in behind, result_number
    here = [one for one in next_result.provenance
            if one["sop_instance"] == twin[at].SOPInstanceUID and one["label"] == LIVER_KEY]
    assert here[0]["exemplars"][0]["study"] == result.located.study


def test_the_volume_is_propagated_anew_from_an_edited_slice(client, scene, tmp_path):
    at = 6
    result, segments = corrected(client, scene, tmp_path, 40, at)
    chosen = [one for one in segments.values() if one.label == "Liver"]
    prompts = teach.prompts([LIVER_KEY], chosen, [at], result.located.grid)
    again = auto_segment(client, result.located, labels=[LIVER_KEY], prompts=prompts)
    (liver,) = again.segments
    np.testing.assert_array_equal(liver.mask[at], odd_mask())
    assert liver.mask.any(axis=(1, 2)).sum() > 1
    (shown,) = [one for one in again.provenance if one["sop_instance"] == result.located.grid.slices[at].sop_instance_uid]
    assert shown["confidence"] == 1


def test_a_segment_that_nobody_named_is_not_taught(client, scene, tmp_path):
    case = cases.make(41, "axial", tmp_path / "images")
    volume = cases.load(case, scene)
    located = locate(client, case)
    node = mrml.new_segmentation(scene, volume, "by hand")
    placement = mrml.placement_in(volume, located.grid)
    drawn = mrml.labelmap(slicer_core, placement.to_voxels(case.truth[LIVER]), placement.matrix)
    identity = node.AddSegmentFromBinaryLabelmapRepresentation(drawn, "Segment_1")
    with pytest.raises(mrml.EngramError, match='what the segment "Segment_1" is'):
        mrml.segments_of(slicer_core, node, volume, located.grid)
    segment = node.GetSegmentation().GetSegment(identity)
    segment.SetTerminology("any~SCT^123037004^Anatomical Structure~SCT^10200004^Liver~^^~any~^^~^^")
    (named,) = mrml.segments_of(slicer_core, node, volume, located.grid).values()
    taught = teach.teach(client, located, [named], AUTHORSHIP, [], False, silent, never)
    assert taught.slices == patients.SLICES
