"""A bundle's graphs, used as the contract says, follow the official predictor."""

import pytest

pytest.importorskip("sam2", reason="requirements-parity.txt is not installed")

from follower import Bundle, follow

from engram_export.oracle import faulty
from engram_export.parity import FULL, draw, run, write

NAMES = {case.name: case for case in FULL}


def answers(case, predictor):
    drawn = draw(case, predictor.image_size, 7)
    events = [event for make in case.events for event in make(drawn)]
    return drawn, run(predictor, drawn, events)


@pytest.mark.parametrize("name", NAMES)
def test_a_case_is_followed(name, bundle, predictor, tmp_path):
    case = NAMES[name]
    drawn, found = answers(case, predictor)
    write(case, drawn, found, predictor, tmp_path / name)
    followed = follow(Bundle(bundle), tmp_path / name)
    assert len(followed) == len(found.logits)
    for place, error, agrees in followed:
        assert agrees, place
        assert error < 1e-4, place


@pytest.mark.parametrize("fault", ["recent-times", "conditioning-time", "distance", "last-pointer"])
def test_a_mistake_shows(fault, predictor):
    case = NAMES["forward-long"]
    _, want = answers(case, predictor)
    with faulty(predictor, fault):
        _, got = answers(case, predictor)
    shares = [
        abs(a - b).max() / abs(a).max()
        for a, b, computed in zip(want.logits, got.logits, want.computed, strict=True)
        if computed
    ]
    assert max(shares) > 1e-2
    _, again = answers(case, predictor)
    assert all((a == b).all() for a, b in zip(want.logits, again.logits, strict=True))


def test_masks_and_scores_are_balanced(predictor):
    covered, there = [], []
    for name in ("forward-long", "corrected", "two-objects", "clicks", "start-later"):
        _, found = answers(NAMES[name], predictor)
        for logits, score, computed in zip(found.logits, found.scores, found.computed, strict=True):
            if computed:
                there.append(score > 0)
                if score > 0:
                    covered.append((logits > 0).mean())
    assert all(0.05 < share < 0.95 for share in covered)
    assert 0.1 < sum(there) / len(there) < 0.97
