"""What is proven about cyclic grow-and-prune, and the form of it that the proof is about.

Notation: F is to be minimized, L its smoothness, sigma the standard deviation of the stochastic
gradient of a partition, kappa the number of partitions, T the steps for which each is dense, Q the
number of rounds, and delta the relative error of a mask: `||Theta m - Theta|| <= delta ||Theta||`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike

from keras_sparse.messages.arguments import array, function, integer, number, wrong


def mask_error(theta: ArrayLike, mask: ArrayLike) -> float:
    """The squared relative error of a mask, `||Theta m - Theta||^2 / ||Theta||^2`.

    Of a mask that drops the smallest `floor(r n)` of n weights it is at most r.

    Args:
        theta: Weights, of any shape, not all zero.
        mask: Booleans of that shape, True where a weight is kept.

    Raises:
        ValueError: If all weights are zero.

    Source: Ma et al. (2022), equation 9.
    """
    squares = np.square(array("theta", theta))
    if not squares.any():
        raise ValueError("The error of a mask is relative to theta, whose weights are all zero.")
    return float(squares[~_boolean_mask(mask, squares.shape)].sum() / squares.sum())


def gap_learning_rate(smoothness: float, partitions: int, inner_steps: int, rounds: int) -> float:
    """The learning rate for which the bound is proven, `1 / (4 kappa L T sqrt(Q))`.

    Args:
        smoothness: L, greater than 0.
        partitions: kappa.
        inner_steps: T.
        rounds: Q.

    Raises:
        ValueError: If an argument is out of range.

    Source: Ma et al. (2022), Proposition 1.
    """
    number("smoothness", smoothness, "(0, inf)")
    _check_counts(partitions, inner_steps, rounds)
    return 1 / (4 * partitions * smoothness * inner_steps * np.sqrt(rounds))


def gap_bound(
    gap: float,
    smoothness: float,
    partitions: int,
    inner_steps: int,
    rounds: int,
    sigma: float = 0.0,
    delta: float = 0.0,
    mean_norm: float = 0.0,
) -> float:
    """The mean squared gradient at the masked weights, over the rounds of cyclic grow-and-prune.

    `(1/Q) sum_q E||grad F(Theta_q m_q)||^2 <= G / sqrt(Q) + 10 L^2 T delta^2 mean_norm` with
    `G = 96 kappa L gap + sigma^2`, at the learning rate of `gap_learning_rate`. Without masks
    training comes as close to a stationary point as one likes; masks set a floor. The constants
    are those of the source, whose proof carries them for T of 4 and more.

    ```python
    gap_bound(gap=2.0, smoothness=4.0, partitions=3, inner_steps=5, rounds=100, sigma=0.1)
    ```

    Args:
        gap: `F - F*` at the start, at least 0.
        smoothness: L, greater than 0.
        partitions: kappa.
        inner_steps: T.
        rounds: Q.
        sigma: Standard deviation of a partition's stochastic gradient.
        delta: Relative error of the masks, in [0, 1).
        mean_norm: The mean over the rounds of `sum_i ||Theta||^2`, the squared norm of all weights
            when each of the kappa partitions grows, summed over the partitions.

    Raises:
        ValueError: If an argument is out of range.

    Source: Ma et al. (2022), Proposition 1 and equation 36.
    """
    _check_counts(partitions, inner_steps, rounds)
    number("gap", gap, "[0, inf)")
    number("smoothness", smoothness, "(0, inf)")
    number("sigma", sigma, "[0, inf)")
    number("delta", delta, "[0, 1)")
    number("mean_norm", mean_norm, "[0, inf)")
    first = 96 * partitions * smoothness * gap + sigma**2
    floor = 10 * smoothness**2 * inner_steps * delta**2 * mean_norm
    return float(first / np.sqrt(rounds) + floor)


def gap_step_bound(
    loss: float,
    gradient_norm: float,
    learning_rate: float,
    smoothness: float,
    sigma: float = 0.0,
    delta: float = 0.0,
    norm: float = 0.0,
) -> float:
    """The loss that one inner step reaches at most, in the mean.

    `F - gamma/3 ||grad_i F||^2 + gamma^2 L sigma^2 / 2 + 2 gamma L^2 delta^2 / 3 ||Theta||^2`.

    Args:
        loss: F before the step.
        gradient_norm: Norm of the partition's gradient there, at the weights without mask.
        learning_rate: gamma, at most `1 / (6 L)`.
        smoothness: L.
        sigma: Standard deviation of the stochastic gradient.
        delta: Relative error of the mask.
        norm: Norm of all weights when the partition grew.

    Raises:
        ValueError: If an argument is out of range, or the learning rate too large for the
            statement.

    Source: Ma et al. (2022), Lemma 1.
    """
    number("loss", loss)
    number("gradient_norm", gradient_norm, "[0, inf)")
    number("learning_rate", learning_rate, "(0, inf)")
    number("smoothness", smoothness, "(0, inf)")
    number("sigma", sigma, "[0, inf)")
    number("delta", delta, "[0, 1)")
    number("norm", norm, "[0, inf)")
    if learning_rate > (1 + 1e-9) / (6 * smoothness):
        allowed = f"at most 1/(6 L) = {1 / (6 * smoothness):g}, up to which this holds"
        raise wrong("learning_rate", learning_rate, allowed)
    noise = learning_rate**2 * smoothness * sigma**2 / 2
    masked = 2 * learning_rate * smoothness**2 * delta**2 * norm**2 / 3
    return loss - learning_rate / 3 * gradient_norm**2 + noise + masked


def _check_counts(partitions: int, inner_steps: int, rounds: int) -> None:
    integer("partitions", partitions)
    integer("inner_steps", inner_steps)
    integer("rounds", rounds)


@dataclasses.dataclass(frozen=True)
class Iterate:
    """One inner step of `cyclic_descent`.

    Args:
        round: q, from 0.
        partition: i, from 0.
        start: The weights when the partition grew.
        before: The weights before the step.
        mask: The mask in force.
        after: The weights after the step.
    """

    round: int
    partition: int
    start: np.ndarray
    before: np.ndarray
    mask: np.ndarray
    after: np.ndarray


def cyclic_descent(
    gradient: Callable[[np.ndarray], np.ndarray],
    theta: ArrayLike,
    partitions: Sequence[ArrayLike],
    sparsity: float,
    learning_rate: float,
    rounds: int,
    inner_steps: int,
    mask: ArrayLike | None = None,
) -> Iterator[Iterate]:
    """Cyclic grow-and-prune as the proof has it.

    Unlike in training, only the dense partition moves, the others being frozen, and masks hide
    weights and do not overwrite them: what is pruned has its value back when it grows.

    ```python
    steps = cyclic_descent(lambda t: a @ t - b, start, [[0, 1], [2, 3]], 0.5, 0.01, 10, 5)
    final = list(steps)[-1]
    print(final.after * final.mask)
    ```

    Args:
        gradient: A (stochastic) gradient, from and to shape `(N,)`.
        theta: The weights at the start, shape `(N,)`.
        partitions: The indices of each partition, together 0 to N - 1.
        sparsity: r; of a partition's n weights the `floor(r n)` smallest are dropped.
        learning_rate: gamma.
        rounds: Q.
        inner_steps: T.
        mask: The mask at the start, shape `(N,)`. Defaults to the largest weights of each
            partition.

    Yields:
        An `Iterate` for each inner step.

    Raises:
        ValueError: If an argument is out of range.

    Source: Ma et al. (2022), Algorithm 3.
    """
    function("gradient", gradient)
    number("sparsity", sparsity, "[0, 1)")
    number("learning_rate", learning_rate, "(0, inf)")
    integer("rounds", rounds)
    integer("inner_steps", inner_steps)
    theta = array("theta", theta)
    whole = isinstance(partitions, Sequence) and not isinstance(partitions, str)
    parts = [array("partitions", part).astype(int) for part in partitions] if whole else []
    if not parts or sorted(np.concatenate(parts).tolist()) != list(range(theta.size)):
        raise wrong("partitions", partitions, f"the indices 0 to {theta.size - 1}, each in one")
    given = None if mask is None else _boolean_mask(mask, theta.shape)
    return _descent(gradient, theta, parts, sparsity, learning_rate, rounds, inner_steps, given)


def _boolean_mask(mask: ArrayLike, shape: tuple[int, ...]) -> np.ndarray:
    found = np.asarray(mask)
    if found.shape != shape or not np.isin(found, (0, 1)).all():
        raise wrong("mask", mask, f"booleans of shape {shape}")
    return found.astype(bool)


def _descent(
    gradient: Callable[[np.ndarray], np.ndarray],
    theta: np.ndarray,
    parts: Sequence[np.ndarray],
    sparsity: float,
    learning_rate: float,
    rounds: int,
    inner_steps: int,
    mask: np.ndarray | None,
) -> Iterator[Iterate]:
    current = np.zeros(theta.shape, bool)
    for part in parts:
        current[part] = _largest(theta[part], sparsity)
    if mask is not None:
        current = mask.copy()
    dense: np.ndarray | None = None
    for q in range(rounds):
        for i, part in enumerate(parts):
            if dense is not None:
                current[dense] = _largest(theta[dense], sparsity)
            current[part] = True
            dense, start = part, theta.copy()
            for _ in range(inner_steps):
                before = theta.copy()
                theta[part] -= learning_rate * gradient(theta * current)[part]
                yield Iterate(q, i, start, before, current.copy(), theta.copy())


def _largest(values: np.ndarray, sparsity: float) -> np.ndarray:
    kept = np.ones(values.shape, bool)
    count = int(np.floor(sparsity * len(values) + 1e-6))
    kept[np.argsort(-np.abs(values), kind="stable")[len(values) - count :]] = False
    return kept
