"""Segmentations written and read back, and which labels are one."""

import numpy as np
import pydicom
from conftest import KIDNEY, LEFT, ORGAN, RIGHT, segment, tilted
from engram_registration.case import read_exemplar
from engram_registration.seg import Label, merge, segmentation
from highdicom.sr.coding import CodedConcept


def written(made, result):
    """The made case's own labels with another result, beside its images."""
    exemplar = read_exemplar(made.folder)
    path = made.folder / "seg.dcm"
    segmentation(exemplar.volume.slices, result, exemplar.labels, "Affine").save_as(path)
    return exemplar, pydicom.dcmread(path)


def test_round_trip(make_case):
    made = make_case("case", tilted(), backwards=True)
    result = np.zeros(made.organ.shape, np.uint16)
    result[2:5, 4:20, 3:9], result[6, 1, 2] = 1, 2
    before, seg = written(made, result)
    after = read_exemplar(made.folder)
    assert after.labels == before.labels
    np.testing.assert_array_equal(after.masks[0], result == 1)
    np.testing.assert_array_equal(after.masks[1], result == 2)
    assert seg.SegmentationType == "BINARY"
    referenced = seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert {item.ReferencedSOPInstanceUID for item in referenced} == {
        image.SOPInstanceUID for image in before.volume.slices
    }
    for item, label in zip(seg.SegmentSequence, before.labels, strict=True):
        assert item.SegmentAlgorithmType == "AUTOMATIC"
        assert item.SegmentLabel == label.item.SegmentLabel
        for name in (
            "SegmentedPropertyCategoryCodeSequence",
            "SegmentedPropertyTypeCodeSequence",
            "AnatomicRegionSequence",
        ):
            assert item[name] == label.item[name]
    kind = seg.SegmentSequence[1].SegmentedPropertyTypeCodeSequence[0]
    assert kind.SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning == "Right"


def test_a_label_that_is_nowhere_is_still_a_segment(make_case):
    made = make_case("case")
    for result in (np.zeros(made.organ.shape, np.uint16), made.organ.astype(np.uint16)):
        _, seg = written(made, result)
        assert len(seg.SegmentSequence) == 2
        masks = read_exemplar(made.folder).masks
        assert masks[0].sum() == result.sum()
        assert not masks[1].any()


def test_identity_is_the_code_with_its_modifiers():
    right, left = Label(segment(1, KIDNEY, RIGHT)), Label(segment(2, KIDNEY, LEFT))
    plain, organ = Label(segment(3, KIDNEY)), Label(segment(4, ORGAN))
    old = Label(segment(5, CodedConcept("T-62000", "SRT", "Liver")))
    known = []
    merge(known, [right, left, plain, organ])
    merge(known, [Label(segment(9, KIDNEY, RIGHT)), old])
    assert known == [right, left, plain, organ]
    assert organ == old
    assert right != left
    assert right != plain
