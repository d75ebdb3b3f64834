"""How much of the weights between cut features was trained."""

from __future__ import annotations

import numpy as np

from keras_sparse.graphs.gist.cutting import Cutting
from keras_sparse.graphs.gist.partition import grid


class Coverage:
    """The share of each weight that is cut on both sides which some round has trained.

    A round trains one part in m of it; after T rounds a share of about `1 - (1 - 1/m)^T` was.

    Args:
        cutting: How weights are cut in each round.

    Source: Wolfe (2023), section 2.2.1.
    """

    def __init__(self, cutting: Cutting) -> None:
        self._cutting = cutting
        self._rounds = 0
        self._touched = {
            number: np.zeros(cutting.shapes[number], bool) for number in cutting.doubly_cut()
        }

    def after(self, rounds: int) -> dict[str, float]:
        """The share of each weight after some rounds, by the weights' names.

        Args:
            rounds: Number of rounds, at least as many as in the call before.
        """
        cutting = self._cutting
        for round in range(self._rounds, rounds):
            for places in cutting.places(round):
                for number, mask in self._touched.items():
                    mask[grid(mask, places[number])] = True
        self._rounds = max(self._rounds, rounds)
        return {cutting.names[number]: float(mask.mean()) for number, mask in self._touched.items()}
