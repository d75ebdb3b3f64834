"""Multi-layer greedy selection: each layer imitates its own dense outputs."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from keras_sparse.messages.arguments import integer
from keras_sparse.structured.units.contributions import Contributions
from keras_sparse.structured.units.greedy_selection import GreedySelection

_FOUND = 1e-24  # of the dense outputs' squared norm: nothing is left to imitate


def local_imitation(hidden: Any, weights: Any, size: int) -> GreedySelection:
    """Selects units with weights such that the next layer's inputs stay what they are.

    From an empty layer on, `A <- (1 - g) A + g e_j` with the unit j and the step g in [0, 1] that
    leave the least of `E ||N A h - h_dense||^2`. It needs no labels and no pass through the layers
    that follow, so that its cost does not grow with the layer's width times the network.

    Args:
        hidden: Activations, shape `(rows, N)`, or `(rows, N, positions)` of a convolution: what
            each place of its outputs sees of a channel.
        weights: The next layer's kernel, shape `(N,)`, `(N, outputs)` or
            `(N, positions, outputs)`.
        size: Picks.

    Returns:
        A `GreedySelection`, with the mean squared error (over two) as loss.

    Raises:
        ValueError: If an argument is out of range.

    Source: Ye et al. (2020b), local imitation, as Wolfe (2023), 4.4.2 has it for a rival.
    """
    whole = Contributions(hidden, weights)
    integer("size", size)
    units = Contributions(whole.hidden, whole.units * whole.weights)
    target = whole.total(np.ones(whole.units))
    norms, labels = units.norms(), units.inner(target)
    whole_norm = float(np.sum(target * target))
    current, sums = np.zeros_like(target), np.zeros(units.units)
    alpha = np.zeros(units.units)
    picks, losses, seconds = [], [], []
    began = time.perf_counter()
    for k in range(size):
        own, to_target = float(np.sum(current**2)), float(np.sum(current * target))
        # With u the outputs so far: <u - y, u - q>, and ||u - q||^2.
        slope = own - sums - to_target + labels
        length = np.maximum(own - 2 * sums + norms, 0)
        step = np.clip(np.divide(slope, length, out=np.zeros_like(slope), where=length > 0), 0, 1)
        if k == 0:
            step = np.ones_like(step)
        error = own - 2 * to_target + whole_norm
        found = error - 2 * step * slope + step**2 * length
        unit = int(np.argmin(np.round(found / (whole_norm or 1.0), 12)))
        g = float(step[unit])
        alpha *= 1 - g
        alpha[unit] += g
        current = (1 - g) * current + g * units.of([unit])[0]
        sums = (1 - g) * sums + g * units.cross(units.hidden[:, unit], units.weights[unit])
        picks.append(unit)
        left = float(np.sum((current - target) ** 2))
        losses.append(left / (2 * units.rows))
        seconds.append(time.perf_counter() - began)
        if left <= _FOUND * whole_norm or g == 0:
            break
    return GreedySelection(np.array(picks), np.array(losses), np.array(seconds), alpha)
