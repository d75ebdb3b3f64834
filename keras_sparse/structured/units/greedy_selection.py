"""What a selection of units is: the picks, their weights, and what the units become."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from keras_sparse.messages.arguments import integer, wrong
from keras_sparse.structured.units.contributions import numbers


@dataclasses.dataclass(frozen=True, eq=False)
class GreedySelection:
    """Which units were selected, and with which weight.

    Args:
        picks: Units in the order in which they were added; of backward elimination those that were
            removed.
        losses: The loss after each pick.
        seconds: How long the selection had run after each pick.
        alpha: Weight of each unit, shape `(N,)`, of sum 1.
        floats: Numbers that all workers together have broadcast, 0 of a single one.
    """

    picks: np.ndarray
    losses: np.ndarray
    seconds: np.ndarray
    alpha: np.ndarray
    floats: int = 0

    @property
    def counts(self) -> np.ndarray:
        """How often each unit was picked, shape `(N,)`."""
        return np.bincount(self.picks, minlength=len(self.alpha))

    @property
    def indices(self) -> np.ndarray:
        """The units that stay, in ascending order."""
        return np.flatnonzero(self.alpha)

    @property
    def gains(self) -> np.ndarray:
        """What the outputs of the units that stay are multiplied with, `N alpha_i`."""
        return len(self.alpha) * self.alpha[self.indices]

    @property
    def n_selected(self) -> int:
        """Picks, repeats counted."""
        return len(self.picks)

    @property
    def n_units(self) -> int:
        """Units that stay, which is what computing costs."""
        return len(self.indices)


def fold_gains(kernel: Any, indices: Any, gains: Any = None, channels: int | None = None) -> Any:
    """The kernel of the next layer, for the units that stay and with their gains in it.

    Gains go into the layer that follows and never into the units themselves, which need not be
    free of scale (batch normalization, ReLU6).

    Args:
        kernel: Shape `(..., inputs, outputs)`, of a dense layer or a convolution.
        indices: The units that stay.
        gains: Of each of these. Defaults to 1.
        channels: Units of the layer before, where `Flatten` makes several inputs of each: those
            of a unit are then `channels` apart. Defaults to one input a unit.

    Returns:
        Array of shape `(..., inputs that stay, outputs)`.

    Raises:
        ValueError: If the arguments do not fit.

    Source: Wolfe (2023), 3.3 (a unit picked again has `count / k` times its output weight).
    """
    whole = numbers("kernel", kernel)
    kept = numbers("indices", indices).astype(int).ravel()
    scale = np.ones(len(kept)) if gains is None else numbers("gains", gains).ravel()
    if whole.ndim < 2:
        raise wrong("kernel", kernel, "an array of shape (..., inputs, outputs)")
    units = whole.shape[-2] if channels is None else integer("channels", channels)
    if whole.shape[-2] % units:
        raise wrong("channels", channels, f"a divisor of the kernel's {whole.shape[-2]} inputs")
    if kept.min() < 0 or kept.max() >= units:
        raise wrong("indices", indices, f"integers from 0 to {units - 1}")
    if len(scale) != len(kept):
        raise wrong("gains", gains, f"one number for each of the {len(kept)} units")
    places = whole.reshape(*whole.shape[:-2], -1, units, whole.shape[-1])
    return (places[..., kept, :] * scale[:, None]).reshape(*whole.shape[:-2], -1, whole.shape[-1])
