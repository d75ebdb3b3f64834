"""What is proven about how much pre-training a network needs before it is pruned.

Notation: m samples of d features, a two-layer network of width N whose output is the mean over its
neurons, t steps of training from `L_0 = ||f_0 - Y||^2` (a sum, not a mean), k neurons that greedy
forward selection keeps, and D the diameter of the hull of the neurons' outputs. The constants c,
c1, c2 and kappa are positive and not known: fit them or leave them at 1, where they set the scale.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from keras_sparse.messages.arguments import boolean, integer, number, one_of, wrong

METHODS = ("sgd", "gd")


def is_overparameterized(m: int, d: int, width: int) -> bool:
    """Whether the theorems' conditions `N d > m^2` and `m > d` hold.

    Args:
        m: Samples.
        d: Features of a sample.
        width: N.

    Raises:
        ValueError: If an argument is out of range.

    Source: Wolfe (2023), Theorems 1 and 2.
    """
    integer("m", m)
    integer("d", d)
    integer("width", width)
    return width * d > m**2 and m > d


def contraction(m: int, d: int, c: float = 1.0, method: str = "sgd") -> float:
    """What one step of training multiplies the bound on `||f - Y||^2` with.

    `1 - c d / m^2` for stochastic gradient descent with one sample a step, `(1 - c d / m)^2` for
    gradient descent, whose theorem is on the norm.

    Args:
        m: Samples.
        d: Features.
        c: The constant.
        method: `"sgd"` or `"gd"`.

    Raises:
        ValueError: If an argument is out of range, or `c d` so large that a step would end at 0.

    Source: Wolfe (2023), Theorems 7 and 8.
    """
    factor = 1 - _share(m, d, c, method)
    return factor if method == "sgd" else factor**2


def training_factor(
    m: int, d: int, width: int, c1: float = 1.0, c2: float = 1.0, kappa: float = 1.0
) -> float:
    """The factor of stochastic training, one over the least probability of its event.

    `1 / max(kappa, 1 - c1 (c2 sqrt(m / d))^(1 / (N d)))`.

    Args:
        m: Samples.
        d: Features.
        width: N.
        c1: In [0, 4/3].
        c2: Greater than 0.
        kappa: In (0, 1].

    Raises:
        ValueError: If an argument is out of range.

    Source: Wolfe (2023), Theorem 8 and equation 35.
    """
    integer("m", m)
    integer("d", d)
    integer("width", width)
    number("c1", c1, "[0, 1.3333333333333333]")
    number("c2", c2, "(0, inf)")
    number("kappa", kappa, "(0, 1]")
    other = 1 - c1 * (c2 * np.sqrt(m / d)) ** (1 / (width * d))
    return float(1 / max(kappa, other))


class BoundTerms(NamedTuple):
    """The three terms of the bound on a subnetwork's loss.

    Args:
        first: `l(u_1) / k`.
        diameter: `D^2 / (2 k)`.
        dense: What is left of the dense network's loss, which pre-training takes down.
    """

    first: float
    diameter: float
    dense: float

    @property
    def total(self) -> float:
        """The bound."""
        return self.first + self.diameter + self.dense


def pretraining_bound_terms(
    k: int,
    t: float,
    m: int,
    d: int,
    loss_first: float,
    diameter: float,
    initial: float,
    c: float = 1.0,
    zeta: float = 1.0,
    method: str = "sgd",
) -> BoundTerms:
    """The expected loss of k neurons selected after t steps of pre-training, term by term.

    `l(u_1) / k + D^2 / (2 k) + (k - 1) zeta / (2 m k) * rho^t L_0`, rho that of `contraction`.
    For gradient descent zeta is 1, and the m that the source's equation 39 lacks is there.

    ```python
    pretraining_bound_terms(10, 1000, 100, 50, 0.4, 2**0.5, 80.0, c=0.5).total  # 0.16945824
    ```

    Args:
        k: Neurons selected.
        t: Steps of pre-training.
        m: Samples.
        d: Features.
        loss_first: `l(u_1)`.
        diameter: D.
        initial: `L_0`, the sum of squares at the start.
        c: The constant.
        zeta: That of `training_factor`.
        method: `"sgd"` or `"gd"`.

    Raises:
        ValueError: If an argument is out of range.

    Source: Wolfe (2023), Theorem 1 (equation 36) and Theorem 9 (equation 39).
    """
    integer("k", k)
    number("t", t, "[0, inf)")
    _check_losses(loss_first, diameter, initial, zeta)
    rho = contraction(m, d, c, method)
    share = (zeta if method == "sgd" else 1.0) * (k - 1) / (2 * m * k)
    return BoundTerms(loss_first / k, diameter**2 / (2 * k), float(share * rho**t * initial))


def pretraining_threshold(
    k: int, m: int, d: int, c: float = 1.0, method: str = "sgd", exact_factor: bool = False
) -> float:
    """Steps of pre-training after which the loss of k neurons is guaranteed to be `O(1 / k)`.

    `log(k) / -log(1 - c d / m^2)`, for gradient descent `log(k) / -log(1 - c d / m)`. It is
    logarithmic in k, and grows with m as `m^2` and `m`. A scale, the constant being unknown.

    ```python
    pretraining_threshold(k=200, m=1000, d=784)  # 6755.41
    ```

    Args:
        k: Neurons selected; for 1 the threshold is 0.
        m: Samples.
        d: Features.
        c: The constant.
        method: `"sgd"` or `"gd"`.
        exact_factor: For gradient descent whether to halve it, as the square in its bound has it.

    Raises:
        ValueError: If an argument is out of range.

    Source: Wolfe (2023), Theorem 2 (equations 15 and 37) and Theorem 9 (equations 38 and 40).
    """
    integer("k", k)
    boolean("exact_factor", exact_factor)
    steps = np.log(k) / -np.log1p(-_share(m, d, c, method))
    return float(steps / 2 if exact_factor and method == "gd" else steps)


def sufficient_steps(
    k: int,
    m: int,
    d: int,
    loss_first: float,
    diameter: float,
    initial: float,
    c: float = 1.0,
    zeta: float = 1.0,
    method: str = "sgd",
) -> float:
    """Steps after which the dense network's term is no larger than the two others.

    The threshold with all constants that the bound has, where `pretraining_threshold` is a scale.
    The arguments are those of `pretraining_bound_terms`.

    Returns:
        Steps, 0 if none are needed.

    Raises:
        ValueError: If an argument is out of range.

    Source: Wolfe (2023), follows from equations 36 and 39.
    """
    integer("k", k)
    _check_losses(loss_first, diameter, initial, zeta)
    rho = contraction(m, d, c, method)
    factor = zeta if method == "sgd" else 1.0
    dense, others = (k - 1) * factor * initial / (2 * m), loss_first + diameter**2 / 2
    if dense <= others:
        return 0.0
    return float("inf") if not others else float(np.log(dense / others) / -np.log(rho))


def _share(m: int, d: int, c: float, method: str) -> float:
    integer("m", m)
    integer("d", d)
    number("c", c, "(0, inf)")
    one_of("method", method, METHODS)
    share = c * d / (m**2 if method == "sgd" else m)
    if share >= 1:
        power = "m^2" if method == "sgd" else "m"
        raise wrong("c", c, f"less than {power} / d = {c / share:g}, where a step ends at 0")
    return share


def _check_losses(loss_first: float, diameter: float, initial: float, zeta: float) -> None:
    number("loss_first", loss_first, "[0, inf)")
    number("diameter", diameter, "[0, inf)")
    number("initial", initial, "[0, inf)")
    number("zeta", zeta, "[1, inf)")
