"""What a person shows on the target itself stays as shown, and conditions the other slices."""

from io import BytesIO

import numpy as np
import pytest
import requests
from pydicom import dcmread

import patients
from engram_api import Api, masks_of
from patients import LIVER, LIVER_KEY, SPLEEN_KEY
from serving import ROOT

TARGET = 40
SAM = ROOT / "server" / "segmenter" / "tests" / "golden" / "bundle"


def runs(mask: np.ndarray) -> list[int]:
    """Run lengths along the rows, outside first."""
    flat = np.concatenate([[0], mask.astype(np.uint8).ravel(), [2]])
    changes = np.flatnonzero(np.diff(flat))
    lengths = np.diff(np.concatenate([[0], changes])).tolist()
    return lengths if lengths else [mask.size]


def odd_mask() -> np.ndarray:
    """What no method would find by itself."""
    mask = np.zeros((patients.SIZE, patients.SIZE), bool)
    mask[3:9, 50:60] = True
    return mask


def prompt(index: int, **shown) -> dict:
    return {"label": LIVER_KEY, "sop_instance": patients.images(TARGET)[index].SOPInstanceUID, **shown}


def segment(api: Api, **body) -> dict[str, np.ndarray]:
    """Masks of the answer by label."""
    answer = api.segment(TARGET, accept="application/dicom", labels=[LIVER_KEY], store=False, **body)
    assert answer.status_code == 200, answer.text
    return masks_of(dcmread(BytesIO(answer.content)), patients.images(TARGET))


def refused(answer: requests.Response, words: str):
    assert answer.status_code == 422, answer.text
    assert answer.json()["code"] == "bad_request" and words in answer.json()["message"], answer.text


@pytest.fixture
def target(taught) -> Api:
    taught.store(*patients.images(TARGET))
    return taught


def test_runs_are_what_the_api_reads():
    assert runs(np.array([[0, 1, 1], [0, 0, 0]])) == [1, 2, 3]
    assert runs(np.array([[1, 1]])) == [0, 2]
    assert runs(np.array([[0, 0]])) == [2]


def test_a_drawn_slice_stays_as_drawn(target):
    drawn = odd_mask()
    found = segment(target, prompts=[prompt(4, mask_runs=runs(drawn))])[LIVER.meaning]
    assert np.array_equal(found[4].astype(bool), drawn)
    # An empty mask says that the label is not there.
    found = segment(target, prompts=[prompt(4, mask_runs=[patients.SIZE**2])])[LIVER.meaning]
    assert not found[4].any() and found.any()


def test_lists_leave_the_prompts_out(target):
    body = {"labels": [LIVER_KEY], "store": False, "prompts": [prompt(4, mask_runs=runs(odd_mask()))]}
    job = target.segment(TARGET, **body).json()
    assert len(target.get(f"/jobs/{job['id']}").json()["request"]["prompts"]) == 1
    for listed in (target.get("/jobs").json(), target.get("/segmentations").json()):
        (mine,) = [one for one in listed if one["id"] == job["id"]]
        assert mine["request"]["series"] == job["request"]["series"]
        assert "prompts" not in mine["request"]


def test_the_slices_of_a_stored_seg_stay_as_they_are(target):
    seg = patients.segmentation(TARGET, codes=(LIVER,), algorithm="MANUAL", slices=[5])
    target.store(seg, partial="true")
    found = segment(target, prompt_segmentation=seg.SOPInstanceUID)[LIVER.meaning]
    _, masks = patients.anatomy(TARGET)
    assert np.array_equal(found[5].astype(bool), masks[LIVER][5])


def test_prompts_that_cannot_be_used_are_told_so(target):
    click = {"points": [{"row": 20, "column": 20}]}
    ask = lambda *prompts: target.segment(TARGET, labels=[LIVER_KEY], prompts=list(prompts))  # noqa: E731
    refused(ask(prompt(4, **click)), "clicks")
    refused(ask(prompt(4)), "either points or a box, or mask_runs")
    refused(ask(prompt(4, mask_runs=[7])), "7 pixels")
    refused(ask(prompt(4, mask_runs=[patients.SIZE**2]) | {"sop_instance": "1.2.3"}), "1.2.3")
    refused(ask(prompt(4, mask_runs=[patients.SIZE**2]) | {"label": SPLEEN_KEY}), SPLEEN_KEY)
    image = patients.images(TARGET)[0].SOPInstanceUID
    refused(target.segment(TARGET, labels=[LIVER_KEY], prompt_segmentation=image), "is no segmentation")
    unknown = target.segment(TARGET, labels=[LIVER_KEY], prompt_segmentation="1.2.3")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "no_such_segmentation"), unknown.text


def test_clicks_and_a_box_go_through_the_prompt_encoder_of_sam_2(start_engram, tmp_path):
    """With a bundle of SAM 2's architecture and random weights: what it answers means nothing, that it answers does."""
    config = tmp_path / "engram.toml"
    config.write_text(f'[models]\nbundle = "{SAM}"\n')
    api = Api(start_engram(config=config).base)
    api.store(*patients.images(1), patients.segmentation(1), *patients.images(TARGET))
    api.settled()
    plain = segment(api)
    click = prompt(4, points=[{"row": 26, "column": 22}, {"row": 2, "column": 2, "inside": False}])
    box = prompt(6, box={"top": 14, "left": 10, "bottom": 38, "right": 34})
    shown = segment(api, prompts=[click, box])
    empty = np.zeros((patients.SLICES, patients.SIZE, patients.SIZE))
    before, after = plain.get(LIVER.meaning, empty), shown.get(LIVER.meaning, empty)
    assert not np.array_equal(before, after)
    # The same request gives the same answer.
    assert np.array_equal(after, segment(api, prompts=[click, box]).get(LIVER.meaning, empty))
