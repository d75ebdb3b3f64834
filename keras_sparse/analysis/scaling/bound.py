"""What is proven about the steps to a result at a batch size.

Notation: f is to be minimized, L its smoothness (the Lipschitz constant of its gradient), Delta
what f falls at most, `f(w_1) - f_inf`. Of the stochastic gradient g of a batch of B it is assumed
that `E ||g||^2 <= M + M_G ||grad f||^2` with `M <= beta / B` and `M_G = mu^2 + M_V / B`. K steps
have reached the result if the smallest squared gradient norm among them is at most eps in the mean.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from keras_sparse.messages.arguments import boolean, integer, number, wrong


def _batch_sizes(batch_size: ArrayLike) -> np.ndarray:
    """Numbers of at least 1, infinity among them."""
    try:
        found = np.asarray(batch_size, float)
    except (TypeError, ValueError) as error:
        raise wrong("batch_size", batch_size, "a number of at least 1, or an array") from error
    if not found.size or np.asarray(batch_size).dtype.kind not in "iuf" or not (found >= 1).all():
        raise wrong("batch_size", batch_size, "a number of at least 1, or an array of them")
    return found


def bound_steps(batch_size: ArrayLike, c: float, t: float) -> np.ndarray:
    """Steps that are enough, of a workload of two constants.

    `4 C / B` up to the critical batch size 2 T, where twice the batch halves the steps, and
    `C (1 / T + 1 / (B - T))` beyond it, which falls to the plateau C / T.

    ```python
    bound_steps([1, 20, np.inf], c=200, t=10)  # 800, 40, 20
    ```

    Args:
        batch_size: B, a number of at least 1 or an array; infinity gives the plateau.
        c: C, the height of the whole curve.
        t: T, half of the critical batch size.

    Returns:
        Steps, of the shape of `batch_size`; round them up.

    Raises:
        ValueError: If an argument is out of range.

    Source: Lee (2020), Theorem 5.3.1.
    """
    number("c", c, "(0, inf)")
    number("t", t, "(0, inf)")
    return theorem_curve(_batch_sizes(batch_size), c, t)


def theorem_curve(sizes: np.ndarray, c: Any, t: Any) -> np.ndarray:
    """`bound_steps` of numbers that are right, or of arrays of them that fit together."""
    beyond = np.maximum(sizes, 2 * t)
    return np.where(sizes <= 2 * t, 4 * c / sizes, c * (1 / t + 1 / (beyond - t)))


@dataclasses.dataclass(frozen=True)
class StepsBound:
    """The bound of a workload whose constants are known.

    ```python
    bound = StepsBound(delta=1, beta=1, smoothness=1, eps=0.1)
    bound.steps([1, 20]), bound.critical_batch  # (800, 40), 20
    ```

    Args:
        delta: Delta, `f(w_1) - f_inf`.
        beta: B times the variance of the gradient of a batch of B.
        smoothness: L.
        eps: The squared gradient norm to come down to.
        mu: 1 for an unbiased gradient.
        m_v: M_V, by which the variance grows with the squared gradient norm.

    Raises:
        ValueError: If an argument is out of range, or T is not above 0.

    Source: Lee (2020), Section 5.3.1, after Bottou, Curtis and Nocedal (2018).
    """

    delta: float
    beta: float
    smoothness: float
    eps: float
    mu: float = 1.0
    m_v: float = 0.0

    def __post_init__(self) -> None:
        for name in ("delta", "beta", "smoothness", "eps", "mu"):
            number(name, getattr(self, name), "(0, inf)")
        number("m_v", self.m_v, "[0, inf)")
        if self.t <= 0:
            most = 2 * self.beta / self.m_v
            raise wrong("eps", self.eps, f"below 2 beta / m_v = {most:g}, for which T is above 0")

    @property
    def c(self) -> float:
        """`C = 2 Delta beta L / (eps^2 mu^2)`."""
        return 2 * self.delta * self.beta * self.smoothness / (self.eps * self.mu) ** 2

    @property
    def t(self) -> float:
        """`T = beta / (mu^2 eps) - M_V / (2 mu^2)`."""
        return (self.beta / self.eps - self.m_v / 2) / self.mu**2

    @property
    def critical_batch(self) -> float:
        """2 T, up to which the steps fall as the batch grows."""
        return 2 * self.t

    def _gamma(self, sizes: np.ndarray, tight: bool) -> np.ndarray:
        """The learning rate in units of `eps mu / (beta L)`."""
        if not tight:
            return np.minimum(sizes / 2, self.t)
        # beta B / (eps (mu^2 B + M_V)), written so that B may be infinite.
        most = self.beta / (self.eps * (self.mu**2 + self.m_v / sizes))
        return np.minimum(sizes / 2, most)

    def steps(self, batch_size: ArrayLike, tight: bool = False) -> np.ndarray:
        """Steps that are enough, with the best learning rate for each batch size.

        Args:
            batch_size: As for `bound_steps`.
            tight: Whether to take all learning rates into account for which the bound is proven.
                The theorem stops at that of the critical batch size, which costs something where
                M_V is not 0.

        Raises:
            ValueError: If an argument is out of range.
        """
        if not boolean("tight", tight):
            return bound_steps(batch_size, self.c, self.t)
        sizes = _batch_sizes(batch_size)
        gamma = self._gamma(sizes, True)
        return self.c * (1 / gamma + 1 / (sizes - gamma))

    def optimal_lr(self, batch_size: ArrayLike) -> np.ndarray:
        """The learning rate of the theorem: it grows with B up to 2 T, and is the same beyond.

        Args:
            batch_size: As for `bound_steps`.

        Raises:
            ValueError: If an argument is out of range.
        """
        unit = self.eps * self.mu / (self.beta * self.smoothness)
        return unit * self._gamma(_batch_sizes(batch_size), False)

    def gradient_bound(self, learning_rate: float, steps: int, batch_size: float) -> float:
        """The mean over the steps of the squared gradient norm, at most.

        `eta L M / mu + 2 Delta / (K mu eta)`, proven for `eta <= mu / (L M_G)`.

        Args:
            learning_rate: eta.
            steps: K.
            batch_size: B.

        Raises:
            ValueError: If an argument is out of range.

        Source: Lee (2020), Eq. 5.2.
        """
        (size,) = _batch_sizes([batch_size])
        largest = self.mu / (self.smoothness * (self.mu**2 + self.m_v / size))
        cure = f"The bound is proven up to mu / (L M_G) = {largest:g}."
        eta = number("learning_rate", learning_rate, f"(0, {float(largest)!r}]", cure)
        integer("steps", steps)
        noise = eta * self.smoothness * self.beta / (size * self.mu)
        return float(noise + 2 * self.delta / (steps * self.mu * eta))
