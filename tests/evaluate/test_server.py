"""`engram evaluate --server`, suggestions, and what is flagged for review, on a running server."""

import json
import subprocess
import time
from io import BytesIO

import pytest
from pydicom import dcmread

import patients
from engram_api import Api

ANNOTATED = [1, 2, 3]
BARE = [11, 12, 13]


@pytest.fixture(scope="module")
def api(engram, server) -> Api:
    """A server with annotated patients and bare ones."""
    api = Api(server.base)
    for number in ANNOTATED:
        api.store(*patients.images(number), patients.segmentation(number))
    for number in BARE:
        api.store(*patients.images(number))
    api.settled()
    return api


def evaluate(engram, api, *arguments) -> subprocess.CompletedProcess:
    command = [str(engram), "evaluate", "--server", api.base, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_a_bank_is_measured_on_itself_a_patient_at_a_time(engram, api, tmp_path):
    before = len(api.get("/segmentations").json())
    done = evaluate(engram, api, "--label", "liver", "--label", patients.SPLEEN_KEY, "--json", "--slices")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert len(report["targets"]) == len(ANNOTATED)
    assert set(report["labels"]) == {"Liver", "Spleen"}
    assert 0.7 < report["mean_dice"] <= 1
    assert report["confidence"]["slices"] > 0
    # The same from a folder, where the target's patient never teaches.
    for number in ANNOTATED:
        folder = tmp_path / str(number)
        (folder / "images").mkdir(parents=True)
        for index, one in enumerate(patients.images(number)):
            (folder / "images" / f"{index}.dcm").write_bytes(patients.part10(one))
        (folder / "seg.dcm").write_bytes(patients.part10(patients.segmentation(number)))
    command = [engram, "evaluate", "--data", tmp_path, "--exemplars", "2,3", "--targets", "1", "--json"]
    alone = json.loads(subprocess.run(list(map(str, command)), capture_output=True, check=True, timeout=300).stdout)
    mine = next(target for target in report["targets"] if target["name"].startswith("T1 "))
    assert mine["dice"] == pytest.approx(alone["targets"][0]["dice"])
    # Previews: nothing was stored.
    assert len(api.get("/segmentations").json()) == before + len(ANNOTATED)
    assert not api.dicom.search_for_series(search_filters={"Modality": "SEG", "SeriesDescription": "Engram*"})


def test_what_was_not_drawn_has_its_own_confidence_and_what_was_superseded_is_no_truth(engram, engram_server):
    api = Api(engram_server)
    for number in ANNOTATED:
        api.store(*patients.images(number), patients.segmentation(number))
    # A later SEG of one patient's liver, on fewer slices; it counts although its UID comes first.
    later = {n: patients.segmentation(n, codes=(patients.LIVER,), slices=[3, 4, 5], version=2) for n in range(1, 4)}
    number = next(n for n in ANNOTATED if later[n].SOPInstanceUID < patients.segmentation(n).SOPInstanceUID)
    api.store(later[number])
    api.settled()
    done = evaluate(engram, api, "--label", "liver", "--label", "spleen", "--json", "--slices")
    assert done.returncode == 0, done.stderr
    targets = json.loads(done.stdout)["targets"]
    scores = [score for target in targets for score in target["slice_scores"]]
    assert any(score["pixels"] == 0 for score in scores)
    assert all(score["confidence"] > 0 for score in scores)
    [mine] = [target for target in targets if target["name"].startswith(f"T{number} ")]
    _, masks = patients.anatomy(number)
    liver, spleen = masks[patients.LIVER].sum((1, 2)), masks[patients.SPLEEN].sum((1, 2))
    expected = {patients.SPLEEN_KEY: spleen, patients.LIVER_KEY: [n * (3 <= z <= 5) for z, n in enumerate(liver)]}
    for label, pixels in expected.items():
        assert [score["truth_pixels"] for score in mine["slice_scores"] if score["label"] == label] == list(pixels)


def test_an_unknown_label_is_refused_by_name(engram, api):
    done = evaluate(engram, api, "--label", "pancreas")
    assert done.returncode != 0 and "pancreas" in done.stderr and "Liver" in done.stderr


def test_every_slice_below_the_threshold_is_flagged_everywhere(api):
    target = BARE[0]
    body = {"options": {"review_below": 1.0, "encoding": "BINARY"}, "labels": [patients.LIVER_KEY], "store": False}
    job = api.segment(target, **body).json()
    [label] = job["result"]["labels"]
    uids = [one.SOPInstanceUID for one in patients.images(target)]
    flagged = [slice["sop_instance"] for slice in label["review"]]
    told = api.get(f"/jobs/{job['id']}/provenance").json()
    assert flagged == [slice["sop_instance"] for slice in told if slice["review"]]
    assert [slice["sop_instance"] for slice in told] == uids
    assert flagged and set(flagged) <= set(uids)
    assert all(0 <= slice["confidence"] < 1 for slice in label["review"])
    seg = dcmread(BytesIO(api.get(f"/jobs/{job['id']}/result").content))
    segment = seg.SegmentSequence[0]
    items = segment.private_block(0x0063, "ENGRAM PROVENANCE 1")[0x05].value
    assert [item.ReferencedSOPInstanceUID for item in items] == flagged
    assert f"{len(flagged)} slice" in segment.SegmentDescription
    nobody = api.segment(target, **body | {"options": {"review_below": 0.0}}).json()
    assert nobody["result"]["labels"][0]["review"] == []


def test_series_nobody_annotated_are_suggested(api):
    deadline = time.monotonic() + 60
    while True:
        answer = api.get("/exemplars/suggestions", params={"limit": 5})
        assert answer.status_code == 200, answer.text
        found = answer.json()
        if found["job"] is None or time.monotonic() > deadline:
            break
        job = api.get(f"/jobs/{found['job']}").json()
        assert job["kind"] == "survey"
        time.sleep(0.2)
    expected = {patients.images(number)[0].SeriesInstanceUID for number in BARE}
    assert (found["unannotated"], found["surveyed"], found["job"]) == (3, 3, None)
    assert {one["series"] for one in found["suggestions"]} == expected
    gains = [one["gain"] for one in found["suggestions"]]
    assert gains == sorted(gains, reverse=True) and gains[0] > 0
    assert all(0 < one["covered"] <= 1 for one in found["suggestions"])
    # What is annotated is suggested no more, and covers the others better.
    annotated = next(n for n in BARE if patients.images(n)[0].SeriesInstanceUID == found["suggestions"][0]["series"])
    api.store(patients.segmentation(annotated))
    api.settled()
    left = api.get("/exemplars/suggestions").json()
    assert left["unannotated"] == 2 and found["suggestions"][0]["series"] not in {
        one["series"] for one in left["suggestions"]}
    assert api.get("/exemplars/suggestions", params={"modality": "CT"}).json()["suggestions"] == []
    assert api.get("/exemplars/suggestions", params={"limit": "many"}).status_code == 400
