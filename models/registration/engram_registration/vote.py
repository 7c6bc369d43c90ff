"""The majority of the exemplars."""

import numpy as np

Array = np.ndarray


class Ballot:
    """Votes of exemplars for labels, voxel by voxel."""

    def __init__(self, labels: int, shape: tuple[int, int, int]):
        self.votes = np.zeros((labels, *shape), np.uint16)
        self.silent = np.zeros(shape, np.uint16)  # exemplars that say no label
        self.exemplars = 0

    def add(self, masks: dict[int, Array]) -> None:
        """One exemplar: a bool [Z,H,W] for each label it knows."""
        said = np.zeros(self.silent.shape, bool)
        for label, mask in masks.items():
            self.votes[label] += mask
            said |= mask
        self.silent += ~said
        self.exemplars += 1

    def result(self) -> Array:
        """The label map, uint16 [Z,H,W]: 0, or a label's number plus one.

        The label with the most votes wins (the earlier of two) if at least half of the exemplars
        voted for it and fewer voted for none. So one that more than half of them say wins; with
        just half of them it does only where the others do not all say that nothing is there.
        """
        winner, most = self.votes.argmax(0), self.votes.max(0)
        elected = (2 * most.astype(int) >= self.exemplars) & (most > self.silent)
        return np.where(elected, winner + 1, 0).astype(np.uint16)
