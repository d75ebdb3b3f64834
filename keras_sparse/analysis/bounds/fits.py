"""Constants of the pre-training bounds, fitted to what was measured."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from keras_sparse.analysis.bounds.pretraining import METHODS
from keras_sparse.messages.arguments import array, integer, one_of, wrong

_LEAST_R_SQUARED = 0.8


class ContractionFit(NamedTuple):
    """A line through the logarithm of the dense loss over the steps of training.

    Args:
        slope: Per step, the logarithm of what a step multiplies the loss with.
        r_squared: The share of the variance that the line explains.
        reason: Why nothing follows from the fit, empty if it is sound.
    """

    slope: float
    r_squared: float
    reason: str = ""

    @property
    def rate(self) -> float:
        """What a step multiplies the loss with, NaN if the fit is not sound."""
        return float("nan") if self.reason else float(np.exp(self.slope))

    def threshold(self, k: int) -> float:
        """Steps of pre-training for k selected neurons, NaN if the fit is not sound.

        Args:
            k: Neurons selected.
        """
        return float("nan") if self.reason else float(np.log(integer("k", k)) / -self.slope)

    def constant(self, m: int, d: int, method: str = "sgd") -> float:
        """The c of the bounds, for batches of one sample or for all, NaN if it is not sound.

        Args:
            m: Samples.
            d: Features.
            method: `"sgd"` or `"gd"`.
        """
        integer("m", m)
        integer("d", d)
        if one_of("method", method, METHODS) == "sgd":
            return (1 - self.rate) * m**2 / d
        return float(1 - np.sqrt(self.rate)) * m / d


def fit_contraction(steps: ArrayLike, losses: ArrayLike) -> ContractionFit:
    """Fits how fast the dense loss falls, by least squares on its logarithm.

    Leave out the warm-up and the floor at the end, where the loss does not fall exponentially.

    ```python
    fit = fit_contraction([0, 100, 200], [0.125, 0.102, 0.084])
    fit.threshold(k=200)
    ```

    Args:
        steps: Steps of training, in ascending order, two at least.
        losses: The squared loss of the dense network after each, greater than 0.

    Raises:
        ValueError: If they are not as many, or out of range.

    Source: Wolfe (2023), Theorem 8, for the form.
    """
    at, values = _pairs("steps", steps, "losses", losses)
    if (values <= 0).any():
        raise wrong("losses", losses, "numbers greater than 0")
    slope, r_squared = _line(at, np.log(values))
    reason = ""
    if slope >= 0:
        reason = "the loss does not fall"
    elif r_squared < _LEAST_R_SQUARED:
        reason = f"the loss does not fall exponentially: R^2 = {r_squared:.2f}"
    return ContractionFit(slope, r_squared, reason)


class GrowthFit(NamedTuple):
    """Two curves through the steps that sub-datasets need.

    Args:
        logarithm: `(a, b)` of `a + b log(m)`.
        power: `(a, p)` of `a m^p`.
        logarithm_error: Root of the first one's mean squared error, in steps.
        power_error: Root of the second one's mean squared error, in steps.
    """

    logarithm: tuple[float, float]
    power: tuple[float, float]
    logarithm_error: float
    power_error: float


def fit_growth(sizes: ArrayLike, steps: ArrayLike) -> GrowthFit:
    """Fits how the steps of pre-training grow with the data's size, as a logarithm and a power.

    The source calls the growth logarithmic; its formula has it quadratic. Neither is assumed.

    Args:
        sizes: m of each sub-dataset, greater than 0, two at least.
        steps: The steps that each needs, greater than 0.

    Raises:
        ValueError: If they are not as many, or out of range.

    Source: Wolfe (2023), Figure 4 and equation 15.
    """
    m, needed = _pairs("sizes", sizes, "steps", steps)
    if (m <= 0).any():
        raise wrong("sizes", sizes, "numbers greater than 0")
    if (needed <= 0).any():
        raise wrong("steps", steps, "numbers greater than 0")
    slope, _ = _line(np.log(m), needed)
    level = float(needed.mean() - slope * np.log(m).mean())
    power, _ = _line(np.log(m), np.log(needed))
    factor = float(np.exp(np.log(needed).mean() - power * np.log(m).mean()))

    def error(found: np.ndarray) -> float:
        return float(np.sqrt(np.mean((found - needed) ** 2)))

    errors = error(level + slope * np.log(m)), error(factor * m**power)
    return GrowthFit((level, slope), (factor, power), *errors)


def _pairs(one: str, first: ArrayLike, two: str, second: ArrayLike) -> tuple[np.ndarray, ...]:
    x, y = array(one, first).ravel(), array(two, second).ravel()
    if len(x) < 2 or len(np.unique(x)) < 2:
        raise wrong(one, first, "two different numbers at least")
    if len(x) != len(y):
        raise wrong(two, second, f"one number for each of the {len(x)} {one}")
    return x, y


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope and R squared of the line of least squares."""
    dx, dy = x - x.mean(), y - y.mean()
    slope = float(dx @ dy / (dx @ dx))
    whole = float(dy @ dy)
    left = float(np.sum((dy - slope * dx) ** 2))
    return slope, 1 - left / whole if whole else 1.0
