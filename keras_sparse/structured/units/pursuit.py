"""The pursuit of i-SpaSP: which units of a layer a linear one needs, on arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from keras_sparse.messages.arguments import integer, optional, random_seed, wrong
from keras_sparse.structured.units.contributions import numbers


class Pursuit(NamedTuple):
    """The units that were selected.

    Args:
        indices: In ascending order.
        history: The selected units after each iteration, shape `(iterations, size)`.
        residuals: `||V||_F`, the difference of dense and pruned outputs, after each iteration; of
            batches drawn anew that on the batch of the iteration.
    """

    indices: np.ndarray
    history: np.ndarray
    residuals: np.ndarray


def largest(values: Any, size: int) -> np.ndarray:
    """The places of the largest values, of equal ones the first, in ascending order.

    Args:
        values: Shape `(N,)`, ranked with their signs.
        size: How many; all if there are fewer.
    """
    return np.sort(np.argsort(-np.asarray(values), kind="stable")[:size])


def importance(weights: Any, residual: Any) -> np.ndarray:
    """How much outputs miss each unit: `W1^T mu(V)`, the row sums of `W1^T V`.

    Large and positive for a unit without which outputs are too small where it is active.

    Args:
        weights: The next layer's kernel, shape `(N, outputs)`.
        residual: `mu(V)`, dense less pruned outputs summed over the samples, shape `(outputs,)`.

    Source: Wolfe (2023), equation 17 and Lemma 9.
    """
    return numbers("weights", weights) @ numbers("residual", residual)


def pursue(
    activation: np.ndarray,
    score: Callable[[np.ndarray, int], tuple[np.ndarray, float, np.ndarray]],
    size: int,
    iterations: int,
    merge_factor: int = 2,
) -> Pursuit:
    """The iterations of i-SpaSP, whatever the units are.

    Args:
        activation: `mu(H)`, shape `(N,)`; not used if `score` returns another.
        score: From the active units (booleans) and the number of the iteration, to the
            importance of each, `||V||_F^2`, and `mu(H)`.
        size: s, the units that are kept.
        iterations: T.
        merge_factor: How many times s units are taken by importance.

    Source: Wolfe (2023), Algorithm 4.
    """
    active = np.zeros(len(activation), bool)
    history, residuals = [], []
    for t in range(iterations):
        scores, norm, sums = score(active, t)
        if t:
            residuals.append(np.sqrt(max(norm, 0.0)))
        candidates = active.copy()
        candidates[largest(scores, merge_factor * size)] = True
        places = np.flatnonzero(candidates)
        chosen = places[largest(sums[places], size)]
        active = np.zeros(len(activation), bool)
        active[chosen] = True
        history.append(chosen)
    residuals.append(np.sqrt(max(score(active, iterations - 1)[1], 0.0)))
    return Pursuit(history[-1], np.array(history), np.array(residuals))


def i_spasp_units(
    hidden: Any,
    weights: Any,
    size: int,
    *,
    iterations: int = 20,
    batch_size: int | None = None,
    merge_factor: int = 2,
    seed: int | None = 0,
) -> Pursuit:
    """Selects hidden units of a two-layer network without labels, in a few matrix products.

    Each iteration takes the 2 s units that outputs miss most, joins them to those selected before,
    and keeps the s of the largest summed activation. The weights of those stay as they are.

    ```python
    kept = i_spasp_units(hidden, kernel, size=100).indices
    ```

    Args:
        hidden: Activations, shape `(m, N)`.
        weights: The output layer's kernel, shape `(N,)` or `(N, outputs)`.
        size: s, the units that are kept.
        iterations: T.
        batch_size: Samples of the batch that is drawn anew for each iteration, such as 512.
            Defaults to all samples.
        merge_factor: How many times s units are taken by importance.
        seed: Of the batches.

    Returns:
        A `Pursuit`.

    Raises:
        ValueError: If an argument is out of range, or no unit is active.

    Source: Wolfe (2023), Algorithm 4 and C.1.2.
    """
    activations, kernel = numbers("hidden", hidden), numbers("weights", weights)
    if activations.ndim != 2:
        raise wrong("hidden", hidden, "an array of shape (m, units)")
    if kernel.ndim not in (1, 2) or len(kernel) != activations.shape[1]:
        units = activations.shape[1]
        raise wrong("weights", weights, f"an array with one entry for each of {units} units")
    kernel = kernel.reshape(len(kernel), -1)
    integer("size", size, 1, len(kernel))
    integer("iterations", iterations)
    optional(integer, "batch_size", batch_size, 1, len(activations))
    integer("merge_factor", merge_factor)
    random_seed("seed", seed)
    generator = np.random.default_rng(seed)
    check_active(activations.sum(axis=0))
    batch = activations

    def score(active: np.ndarray, t: int) -> tuple[np.ndarray, float, np.ndarray]:
        sums = batch.sum(axis=0)
        left = np.where(active, 0.0, sums)
        norm = np.sum((np.where(active, 0.0, batch) @ kernel) ** 2)
        return importance(kernel, kernel.T @ left), float(norm), sums

    def on_batch(active: np.ndarray, t: int) -> tuple[np.ndarray, float, np.ndarray]:
        nonlocal batch
        if batch_size is not None:
            batch = activations[generator.choice(len(activations), batch_size, replace=False)]
        return score(active, t)

    return pursue(activations.sum(axis=0), on_batch, size, iterations, merge_factor)


def check_active(sums: np.ndarray) -> None:
    """Checks that some unit is active.

    Raises:
        ValueError: If none is.
    """
    if not np.any(sums):
        raise ValueError(
            "All units of the layer are inactive on this data: hidden is zero. Give other data, or "
            "a network that has been trained."
        )
