"""What is proven about iterative hard thresholding and AC/DC: conditions and bounds.

Notation: f is to be minimized over k-sparse vectors, k* the sparsity of the best one, beta its
smoothness, alpha its constant in the concentrated Polyak-Lojasiewicz (CPL) condition.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from keras_sparse.messages.arguments import array, integer, number


def cpl_constant(gradient: ArrayLike, gap: float, r: int) -> float:
    """The largest alpha for which the CPL condition holds at one point.

    The condition is `||T_r(grad f)||^2 >= alpha / 2 * (f - f*)`, with `T_r` the r largest entries;
    the function's own constant is the smallest over all points.

    Args:
        gradient: The gradient at the point, shape `(N,)`.
        gap: `f - f*` at the point, greater than 0.
        r: How many of the gradient's entries count, at least 1.

    Raises:
        ValueError: If `gap` or `r` is out of range.

    Source: Peste (2023), equation 3.4.
    """
    squares = np.sort(np.square(array("gradient", gradient).ravel()))[::-1]
    number("gap", gap, "(0, inf)")
    integer("r", r, 1, squares.size)
    return float(2 * squares[:r].sum() / gap)


def iht_support(best: int, condition: float) -> int:
    """The k for which stochastic IHT is proven to converge, `k* (768 (beta/alpha)^2 + 1)`.

    Args:
        best: k*, nonzeros of the best solution.
        condition: beta / alpha, at least 1.

    Raises:
        ValueError: If an argument is out of range.

    Source: Peste (2023), Theorem 3.3.1.
    """
    integer("best", best)
    number("condition", condition, "[1, inf)")
    return int(np.ceil(best * (768 * condition**2 + 1)))


def acdc_support(best: int, condition: float) -> int:
    """The k for which AC/DC is proven to converge, `k* (8 * 48 (beta/alpha)^2 + 1)`.

    Args:
        best: k*, nonzeros of the best solution.
        condition: beta / alpha, at least 1.

    Raises:
        ValueError: If an argument is out of range.

    Source: Peste (2023), Corollary 3.3.1.
    """
    integer("best", best)
    number("condition", condition, "[1, inf)")
    return int(np.ceil(best * (384 * condition**2 + 1)))


def iht_bound(gap: float, alpha: float, beta: float, sigma: float, steps: int) -> float:
    """The expected gap of stochastic IHT after a number of steps of size `1 / (2 beta)`.

    Each step takes the gap to at most `(1 - alpha / (16 beta)) gap + sigma^2 / beta`; its floor is
    `16 sigma^2 / alpha`.

    Args:
        gap: `f - f*` at the start.
        alpha: CPL constant.
        beta: Smoothness.
        sigma: Standard deviation of the stochastic gradient.
        steps: Number of steps.

    Raises:
        ValueError: If an argument is out of range.

    Source: Peste (2023), Theorem 3.3.1.
    """
    _check_constants(gap, alpha, beta)
    number("sigma", sigma, "[0, inf)")
    integer("steps", steps, 0)
    return _geometric(gap, 1 - alpha / (16 * beta), sigma**2 / beta, steps)


def acdc_bound(gap: float, alpha: float, beta: float, lipschitz: float, phases: int) -> float:
    """The gap of AC/DC after a number of dense phases, each followed by Top-K.

    Each phase takes the gap to at most `(1 - alpha / (8 beta)) gap + 3 L^2 / (4 beta)`; its floor
    is `6 L^2 / alpha`.

    Args:
        gap: `f - f*` at the start.
        alpha: CPL constant.
        beta: Smoothness of each sample's loss.
        lipschitz: L, Lipschitz constant of each sample's loss.
        phases: Number of phases.

    Raises:
        ValueError: If an argument is out of range.

    Source: Peste (2023), Corollary 3.3.1.
    """
    _check_constants(gap, alpha, beta)
    number("lipschitz", lipschitz, "[0, inf)")
    integer("phases", phases, 0)
    return _geometric(gap, 1 - alpha / (8 * beta), 3 * lipschitz**2 / (4 * beta), phases)


def _check_constants(gap: float, alpha: float, beta: float) -> None:
    number("gap", gap, "[0, inf)")
    number("alpha", alpha, "(0, inf)")
    number("beta", beta, "(0, inf)")


def _geometric(start: float, factor: float, added: float, times: int) -> float:
    power = factor**times
    return start * power + added * (1 - power) / (1 - factor)
