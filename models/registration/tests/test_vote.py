"""Who wins a voxel."""

import numpy as np
import pytest
from engram_registration.vote import Ballot


def elected(exemplars: int, *votes: int) -> int:
    """The winner of one voxel (0: none) where each label has so many votes, one an exemplar."""
    assert sum(votes) <= exemplars
    said = [label for label, count in enumerate(votes) for _ in range(count)]
    said += [None] * (exemplars - len(said))
    ballot = Ballot(len(votes), (1, 1, 1))
    for choice in said:
        ballot.add({label: np.full((1, 1, 1), label == choice) for label in range(len(votes))})
    return int(ballot.result()[0, 0, 0])


@pytest.mark.parametrize(
    ("exemplars", "votes", "winner"),
    [
        (1, [1], 1),
        (1, [0], 0),
        (5, [3, 2], 1),
        (5, [2, 3], 2),
        (5, [2, 0], 0),
        (5, [2, 2], 0),  # nobody has half
        (4, [2, 0], 0),  # as many say that nothing is there
        (4, [2, 1], 1),  # half, and fewer say so
        (4, [1, 2], 2),
        (4, [2, 2], 1),  # the earlier
        (2, [1, 0], 0),
    ],
)
def test_majority(exemplars, votes, winner):
    assert elected(exemplars, *votes) == winner


def test_labels_of_one_exemplar_may_overlap():
    everywhere, ballot = np.ones((1, 1, 2), bool), Ballot(2, (1, 1, 2))
    ballot.add({0: everywhere, 1: everywhere})
    ballot.add({1: everywhere})
    ballot.add({})  # knows neither, which counts as saying none
    assert ballot.result().tolist() == [[[2, 2]]]
