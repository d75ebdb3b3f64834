"""Backward elimination: a layer loses one unit after the other."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from keras_sparse.messages.arguments import boolean, integer
from keras_sparse.structured.units.contributions import Contributions
from keras_sparse.structured.units.greedy_selection import GreedySelection
from keras_sparse.structured.units.objective import Objective
from keras_sparse.structured.units.unit_selection import check_targets


def backward_elimination(
    hidden: Any, weights: Any, targets: Any, size: int, *, bias: Any = None, rescale: bool = True
) -> GreedySelection:
    """Removes the unit whose removal leaves the least squared loss, until so many are left.

    The rival of greedy forward selection that starts from the whole layer.

    Args:
        hidden: Activations, shape `(m, N)`.
        weights: The output layer's kernel, shape `(N,)` or `(N, outputs)`.
        targets: Shape `(m,)` or `(m, outputs)`.
        size: Units that stay.
        bias: Of the output layer, shape `(outputs,)`.
        rescale: Whether the outputs of n units are `N / n` times their sum, as those of greedy
            forward selection; otherwise they are the sum.

    Returns:
        A `GreedySelection`, whose picks are the units that were removed.

    Raises:
        ValueError: If an argument is out of range.

    Source: Wolfe (2023), 3.5.
    """
    boolean("rescale", rescale)
    whole = Contributions(hidden, weights)
    integer("size", size, 1, whole.units)
    objective = Objective(targets, "mse", None, bias)
    check_targets(objective, whole.rows)
    units = Contributions(whole.hidden, whole.units * whole.weights)
    target = objective.residual(units.outputs)
    norms, labels = units.norms(), units.inner(target)
    total = units.total(np.ones(units.units))
    sums = units.inner(total)
    left = np.ones(units.units, bool)
    picks, losses, seconds = [], [], []
    began = time.perf_counter()
    while left.sum() > size:
        over = left.sum() - 1 if rescale else units.units
        squares = norms - 2 * sums
        found = squares / (2 * over**2) + labels / over
        unit = int(np.argmin(np.where(left, np.round(found, 12), np.inf)))
        left[unit] = False
        total = total - units.of([unit])[0]
        sums -= units.cross(units.hidden[:, unit], units.weights[unit])
        picks.append(unit)
        losses.append(float(np.sum((total / over - target) ** 2) / (2 * units.rows)))
        seconds.append(time.perf_counter() - began)
    count = left.sum() if rescale else units.units
    return GreedySelection(np.array(picks, int), np.array(losses), np.array(seconds), left / count)
