"""`engram evaluate` on made-up patients: its figures held against SciPy's, its files, other methods, failures."""

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from scipy.ndimage import binary_erosion, distance_transform_edt
from scipy.stats import spearmanr

import patients

SPACING = (4.0, 1.5, 1.5)  # slices, rows, columns, mm
TARGETS = [11, 12]
# On these slices alone patient 12's labels are said to be: the others are then drawn in vain.
SAID = {11: range(patients.SLICES), 12: range(3, 6)}

# Another method, as the program calls it: answers the first exemplar's own masks for the target, wherever they lie.
COPYCAT = """
import argparse, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import patients
parser = argparse.ArgumentParser()
parser.add_argument("--out"); parser.add_argument("--target"); parser.add_argument("exemplars", nargs="+")
args = parser.parse_args()
if {fails}:
    sys.exit("no registration today")
number, other = int(Path(args.target).name), int(Path(args.exemplars[0]).name)
masks = patients.anatomy(other)[1]
original = patients.anatomy
patients.anatomy = lambda n: (original(n)[0], masks)
made = patients.segmentation(number)
Path(args.out).write_bytes(patients.part10(made))
"""


@pytest.fixture(scope="module")
def cases(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("cases")
    for number in (1, 2, 3, *TARGETS):
        folder = root / str(number)
        (folder / "images").mkdir(parents=True)
        for index, one in enumerate(patients.images(number)):
            (folder / "images" / f"{index}.dcm").write_bytes(patients.part10(one))
        (folder / "seg.dcm").write_bytes(patients.part10(patients.segmentation(number, slices=SAID.get(number))))
    return root


def run(engram, cases, *arguments, check=True) -> subprocess.CompletedProcess:
    command = [engram, "evaluate", "--data", cases, "--exemplars", "1,2,3", "--targets", "11,12", *arguments]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=300)
    assert not check or done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def report(engram, cases, tmp_path_factory) -> dict:
    """One run with everything, and the folder with what it wrote as `out`."""
    out = tmp_path_factory.mktemp("out")
    method = out / "copycat.py"
    method.write_text(COPYCAT.format(tests=str(Path(__file__).resolve().parent.parent), fails=False))
    done = run(engram, cases, "--json", "--slices", "--baselines", "--curve", "1,3,4,9", "--save", out / "segs",
               "--pictures", out / "pictures", "--markdown", out / "report.md",
               "--method", f"copycat={sys.executable} {method}")
    return json.loads(done.stdout) | {"out": out}


def result_and_truth(report, number: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    seg = dcmread(report["out"] / "segs" / f"{number}.dcm")
    sources = patients.images(number)
    order = {one.SOPInstanceUID: index for index, one in enumerate(sources)}
    numbers = {item.SegmentLabel: int(item.SegmentNumber) for item in seg.SegmentSequence}
    frames = seg.pixel_array.reshape(-1, patients.SIZE, patients.SIZE)
    volume = np.zeros((patients.SLICES, patients.SIZE, patients.SIZE), int)
    for frame, group in zip(frames, seg.PerFrameFunctionalGroupsSequence, strict=True):
        source = group.DerivationImageSequence[0].SourceImageSequence[0]
        volume[order[source.ReferencedSOPInstanceUID]] = frame
    return {
        code.meaning: (volume == numbers.get(code.meaning, -1), mask) for code, mask in truth(number).items()
    }


def truth(number: int) -> dict:
    masks = {code: mask.copy() for code, mask in patients.anatomy(number)[1].items()}
    for mask in masks.values():
        mask[[index for index in range(patients.SLICES) if index not in SAID[number]]] = False
    return masks


def surface_distances(result: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """All distances of both surfaces, mm, by distance transforms."""
    surfaces = [mask & ~binary_erosion(mask) for mask in (result, truth)]
    to = [distance_transform_edt(~surface, sampling=SPACING) for surface in surfaces]
    return np.concatenate([to[1][surfaces[0]], to[0][surfaces[1]]])


def test_failures_are_listed(report):
    poor = [(t["name"], label, dice) for t in report["targets"] for label, dice in t["dice"].items() if dice < 0.5]
    assert [(f["target"], f["label"], f["dice"]) for f in report["failures"]] == sorted(poor, key=lambda one: one[2])


def test_dice_and_distances_are_those_of_scipy(report):
    assert len(report["targets"]) == len(TARGETS)
    for target in report["targets"]:
        for label, (result, truth) in result_and_truth(report, int(target["name"])).items():
            assert target["dice"][label] == pytest.approx(patients.dice(result, truth), abs=1e-9)
            distances = surface_distances(result, truth)
            assert target["hd95_mm"][label] == pytest.approx(np.percentile(distances, 95), abs=1e-6)
            assert target["average_distance_mm"][label] == pytest.approx(distances.mean(), abs=1e-6)
    means = [np.mean(list(target["dice"].values())) for target in report["targets"]]
    assert report["mean_dice"] == pytest.approx(np.mean(means))


def test_confidence_is_held_against_dice_slice_by_slice(report):
    scores = [score for target in report["targets"] for score in target["slice_scores"]]
    assert len(scores) == len(TARGETS) * 2 * patients.SLICES
    judged = [score for score in scores if score["truth_pixels"] or score["pixels"]]
    assert all((score["dice"] is None) == (score not in judged) for score in scores)
    figures = report["confidence"]
    assert figures["slices"] == len(judged)
    expected = spearmanr([s["confidence"] for s in judged], [s["dice"] for s in judged]).statistic
    assert figures["rank_correlation"] == pytest.approx(expected, abs=1e-6)
    assert figures["flagged"] == sum(score["review"] for score in judged)


def test_other_methods_and_banks_of_other_sizes_stand_beside_it(report):
    assert set(report["baselines"]) == {"copy", "knn", "copycat"}
    expected = np.mean([
        np.mean([patients.dice(patients.anatomy(1)[1][code], mask) for code, mask in truth(n).items()])
        for n in TARGETS
    ])
    assert report["baselines"]["copycat"]["mean_dice"] == pytest.approx(expected)
    assert report["baselines"]["copycat"]["seconds_per_slice"] > 0
    # A bank of four borrows the other target; one of nine would need more patients than there are.
    assert [point["patients"] for point in report["curve"]] == [1, 3, 4]
    assert report["curve"][1]["mean_dice"] == pytest.approx(report["mean_dice"])


def test_pictures_and_markdown_are_written(report):
    pictures = report["out"] / "pictures"
    for name in ("worst", "median", "best"):
        with Image.open(pictures / f"{name}.png") as picture:
            assert picture.width > 300 and picture.height == 3 * 192
    plot = ET.parse(pictures / "dice.svg").getroot()
    assert plot.tag.endswith("svg") and {"Liver", "Spleen"} <= {(text.text or "").strip() for text in plot.iter()}
    text = (report["out"] / "report.md").read_text()
    assert "| Liver |" in text and f"{report['mean_dice']:.3f}" in text and "copycat" in text


def test_what_cannot_be_measured_is_listed_and_the_rest_is_measured(engram, cases, tmp_path):
    method = tmp_path / "broken.py"
    method.write_text(COPYCAT.format(tests="", fails=True).replace("import patients\n", "", 1))
    done = run(engram, cases, "--json", "--method", f"broken={sys.executable} {method}", check=False)
    assert done.returncode != 0 and "2 results" in done.stderr
    report = json.loads(done.stdout)
    assert len(report["targets"]) == 2 and "baselines" not in report
    assert all("no registration today" in error["message"] for error in report["errors"])


@pytest.mark.parametrize("quality", ["fast", "best"])
def test_every_quality_segments(engram, cases, quality):
    report = json.loads(run(engram, cases, "--json", "--quality", quality).stdout)
    assert report["targets"][0]["dice"]["Liver"] > 0.8
    stages = report["targets"][0]["stage_seconds"]
    assert ("propagate" in stages) == (quality != "fast")
