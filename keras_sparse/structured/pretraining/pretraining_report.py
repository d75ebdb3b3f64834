"""From which step of training on pruning lost nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from keras_sparse.messages.arguments import array, number, optional, wrong


class PretrainingReport(NamedTuple):
    """The steps that matter among those at which a network in training was pruned.

    Args:
        steps: At which it was.
        winning_ticket: The first with a pruned network as good as the dense one at the end, or
            `None`.
        plateau: The first with a pruned network within `tol` of the best one.
        first_hit: The first with a pruned network as good as `target`, or `None`.
    """

    steps: Sequence[float]
    winning_ticket: float | None
    plateau: float
    first_hit: float | None

    def text(self) -> str:
        """The report in words, in shares of the training."""

        def told(step: float | None) -> str:
            if step is None:
                return "not reached"
            return f"step {step:g} ({step / (self.steps[-1] or 1):.0%} of the training)"

        lines = {
            "As good as the dense network at the end": self.winning_ticket,
            "As good as it gets": self.plateau,
        }
        if self.first_hit is not None:
            lines["As good as asked for"] = self.first_hit
        return "\n".join(f"{name}: {told(step)}." for name, step in lines.items())


def pretraining_report(
    steps: ArrayLike,
    pruned: ArrayLike,
    dense: ArrayLike,
    *,
    tol: float = 0.01,
    target: float | None = None,
) -> PretrainingReport:
    """Finds the steps from which on a network in training could be pruned.

    ```python
    pretraining_report([20, 40, 60, 80], [82.32, 86.18, 86.11, 86.09], 83.13).winning_ticket  # 40
    ```

    Args:
        steps: Steps of training, ascending.
        pruned: How good the network pruned at each step was; more is better.
        dense: How good the dense network was: at the end, or at each step.
        tol: How far below the best one the plateau begins.
        target: What the first hit is to reach, such as the best of a network that was trained on
            all data. Defaults to none.

    Returns:
        A `PretrainingReport`.

    Raises:
        ValueError: If an argument is out of range.

    Source: Wolfe (2023), 3.6.2 and 3.6.3.
    """
    at, values = array("steps", steps).ravel(), array("pruned", pruned).ravel()
    final = float(array("dense", dense).ravel()[-1])
    number("tol", tol, "[0, inf)")
    optional(number, "target", target)
    if (np.diff(at) <= 0).any():
        raise wrong("steps", steps, "ascending numbers")
    if len(at) != len(values):
        raise wrong("pruned", pruned, f"one number for each of the {len(at)} steps")

    def first(least: float) -> float | None:
        places = np.flatnonzero(values >= least - 1e-12)
        return at[places[0]].item() if len(places) else None

    plateau = first(float(values.max()) - tol)
    return PretrainingReport(
        at.tolist(),
        first(final),
        at[0].item() if plateau is None else plateau,
        None if target is None else first(target),
    )
