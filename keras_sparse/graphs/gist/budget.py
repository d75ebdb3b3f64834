"""How many steps and rounds a training has."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Budget:
    """The steps of each worker, cut into rounds.

    Args:
        local_steps: Steps of each worker in the whole training.
        local_iterations: Steps of a round; the last one may have fewer.
    """

    local_steps: int
    local_iterations: int

    @property
    def rounds(self) -> int:
        """The number of rounds."""
        return -(-self.local_steps // self.local_iterations)

    def steps(self, round: int) -> range:
        """The steps of a round.

        Args:
            round: Its number.
        """
        first = round * self.local_iterations
        return range(first, min(first + self.local_iterations, self.local_steps))


def budget(
    epochs: int, steps_per_epoch: int, workers: int, local_iterations: int, split: bool
) -> Budget:
    """Shares a training's steps out among workers.

    Args:
        epochs: Epochs of the training.
        steps_per_epoch: Batches of an epoch.
        workers: Number of workers.
        local_iterations: Steps of a round.
        split: Whether the epochs are those of all workers together, or of each.

    Source: Wolfe (2023), section 2.2, footnote 3.
    """
    steps = epochs * steps_per_epoch
    return Budget(-(-steps // workers) if split else steps, local_iterations)
