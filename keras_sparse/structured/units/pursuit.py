"""The pursuit of i-SpaSP: which units of a layer its outputs need, on arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from keras_sparse.backend.compiled import compiled
from keras_sparse.backend.gradients import gradient
from keras_sparse.messages.arguments import (
    function,
    integer,
    one_of,
    optional,
    random_seed,
    wrong,
)
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


def gradient_importance(
    hidden: Any, consumer: Callable[[Any], Any], active: Any, *, chunk: int = 256
) -> tuple[np.ndarray, float]:
    """The importance of units for a layer of any kind, by the gradient.

    That of `||f(H) - f(H_S)||^2 / 2` by H, with `f(H_S)` held constant, summed over all axes
    except the last. Adding a constant to all outputs changes nothing: that of the pruned layer is
    taken to be `f(0)` where nothing is active.

    Args:
        hidden: Activations, channels last, shape `(m, ..., N)`.
        consumer: What follows, a function of a tensor of that shape, in inference mode.
        active: Booleans of shape `(N,)`, True for the units in S.
        chunk: Samples at a time, which changes the result by rounding only.

    Returns:
        The importance, shape `(N,)`, and `||V||_F^2`.

    Raises:
        ValueError: If the arguments do not fit.

    Source: Wolfe (2023), equation 17 and Figure 6.
    """
    found = numbers("hidden", hidden).astype("float32")
    function("consumer", consumer)
    integer("chunk", chunk)
    mask = numbers("active", np.asarray(active, float)).astype("float32")
    if mask.shape != found.shape[-1:]:
        raise wrong("active", active, f"booleans of shape {found.shape[-1:]}")
    return _by_gradient(found, _differentiated(consumer), mask, chunk)


def _differentiated(consumer: Callable[[Any], Any]) -> Callable[..., Any]:
    def compute(x: Any, mask: Any) -> tuple[Any, Any]:
        pruned = ops.stop_gradient(consumer(x * mask))

        def objective(values: Any) -> Any:
            return ops.sum(ops.square(consumer(values[0]) - pruned)) / 2

        (slope,) = gradient(objective, [x])
        total = ops.sum(slope, axis=tuple(range(len(x.shape) - 1)))
        return total, ops.sum(ops.square(consumer(x) - pruned))

    return compiled(compute)


def _by_gradient(
    hidden: np.ndarray, compute: Callable[..., Any], mask: np.ndarray, chunk: int
) -> tuple[np.ndarray, float]:
    total, norm = np.zeros(hidden.shape[-1]), 0.0
    for i in range(0, len(hidden), chunk):
        x = ops.convert_to_tensor(hidden[i : i + chunk])
        one, square = compute(x, ops.convert_to_tensor(mask))
        total += ops.convert_to_numpy(one).astype(float)
        norm += float(ops.convert_to_numpy(square))
    return total, norm


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


def i_spasp_channels(
    hidden: Any,
    consumer: Callable[[Any], Any],
    size: int,
    *,
    iterations: int = 20,
    merge_factor: int = 2,
    reduction: str = "sum",
    chunk: int = 256,
) -> Pursuit:
    """Selects units whose next layer is of any kind: channels, or heads given as the last axis.

    As `i_spasp_units`, with importance by the gradient.

    Args:
        hidden: Activations, units last, shape `(m, ..., N)`.
        consumer: What follows, a function of a tensor of that shape, in inference mode: for a
            block of a residual network up to where the skip connection is added.
        size: s, the units that are kept.
        iterations: T.
        merge_factor: How many times s units are taken by importance.
        reduction: How activations are put together: their `"sum"`, or that of their magnitudes,
            `"abs_sum"`, where they have both signs.
        chunk: Samples at a time.

    Returns:
        A `Pursuit`.

    Raises:
        ValueError: If an argument is out of range, or no unit is active.

    Source: Wolfe (2023), 4.4.1, C.1.3 and Figure 6.
    """
    found = numbers("hidden", hidden).astype("float32")
    if found.ndim < 2:
        raise wrong("hidden", hidden, "an array of shape (m, ..., units)")
    function("consumer", consumer)
    integer("size", size, 1, found.shape[-1])
    integer("iterations", iterations)
    integer("merge_factor", merge_factor)
    integer("chunk", chunk)
    one_of("reduction", reduction, ("sum", "abs_sum"))
    axes = tuple(range(found.ndim - 1))
    sums = (np.abs(found) if reduction == "abs_sum" else found).sum(axis=axes, dtype=float)
    check_active(sums)
    compute = _differentiated(consumer)

    def score(active: np.ndarray, t: int) -> tuple[np.ndarray, float, np.ndarray]:
        return *_by_gradient(found, compute, active.astype("float32"), chunk), sums

    return pursue(sums, score, size, iterations, merge_factor)


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
