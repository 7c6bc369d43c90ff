"""The README's first command: the demo holds what it promises."""

import json
import subprocess

import highdicom
import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="module")
def demo(engram, tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "out"
    run = subprocess.run([engram, "demo", "--json", "--out", folder], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout), folder


@pytest.mark.parametrize("simpler", ["copy", "knn"])
def test_beats_the_simpler_method(demo, simpler):
    outcome, _ = demo
    assert outcome["mean_dice"] > outcome["baselines"][simpler]["mean_dice"]


def test_results_are_read_by_others_and_agree_with_the_table(demo):
    outcome, folder = demo
    assert len(outcome["targets"]) == 3
    for target in outcome["targets"]:
        result, truth = (labels(folder / f"{target['patient_id']}-{what}.dcm") for what in ("result", "truth"))
        assert truth.keys() == target["dice"].keys()
        for name, dice in target["dice"].items():
            nothing = {}
            a, b = result.get(name, nothing), truth[name]
            both = sum(int((a[slice] & b[slice]).sum()) for slice in a.keys() & b.keys())
            held = sum(int(mask.sum()) for masks in (a, b) for mask in masks.values())
            assert 2 * both / held == pytest.approx(dice, abs=1e-6)


def test_pictures_show_image_result_and_truth(demo):
    outcome, folder = demo
    for target in outcome["targets"]:
        picture = np.asarray(Image.open(folder / f"{target['patient_id']}-overlay.png"))
        image, result, truth = np.split(picture, 3)
        assert (image == image[..., :1]).all(), "the image is grey"
        for overlay in (result, truth):
            assert (overlay != overlay[..., :1]).any(), "organs are in colour"


def test_a_folder_that_is_in_use_is_refused(engram, tmp_path):
    (tmp_path / "mine").write_text("do not touch")
    run = subprocess.run([engram, "demo", "--out", tmp_path], capture_output=True, text=True)
    assert run.returncode != 0
    assert "not empty" in run.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def labels(path):
    """Segment name (type and laterality) to the masks of the slices it is on, as highdicom reads them."""
    segmentation = highdicom.seg.segread(path)
    masks = {}
    for number in segmentation.segment_numbers:
        description = segmentation.get_segment_description(number)
        words = [description.segmented_property_type.meaning]
        (kind,) = description.SegmentedPropertyTypeCodeSequence
        words += [item.CodeMeaning for item in kind.get("SegmentedPropertyTypeModifierCodeSequence", [])]
        name = " ".join(reversed(words)).capitalize()
        sources = [uid for _, _, uid in segmentation.get_source_image_uids()]
        voxels = segmentation.get_pixels_by_source_instance(
            sources, segment_numbers=[number], assert_missing_frames_are_empty=True
        )[..., 0]
        masks[name] = {uid: mask.astype(bool) for uid, mask in zip(sources, voxels) if mask.any()}
    return masks
