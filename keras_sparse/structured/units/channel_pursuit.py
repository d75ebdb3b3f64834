"""The pursuit of i-SpaSP where a layer of any kind follows: channels, heads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

from keras_sparse.backend.compiled import compiled
from keras_sparse.backend.gradients import gradient
from keras_sparse.messages.arguments import function, integer, one_of, wrong
from keras_sparse.structured.units.contributions import numbers
from keras_sparse.structured.units.pursuit import Pursuit, check_active, pursue


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


def i_spasp_channels(
    hidden: Any,
    consumer: Callable[[Any], Any],
    size: int,
    *,
    iterations: int = 20,
    merge_factor: int = 2,
    reduction: str = "sum",
    chunk: int = 256,
    units: Any = None,
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
        units: The unit of each position of the last axis, integers from 0, where units have
            several, as behind `Flatten`; -1 for a position that is always active and of no
            unit. Defaults to a unit each.

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
    places = _places(units, found.shape[-1])
    own, count = places >= 0, int(places.max()) + 1
    integer("size", size, 1, count)
    integer("iterations", iterations)
    integer("merge_factor", merge_factor)
    integer("chunk", chunk)
    one_of("reduction", reduction, ("sum", "abs_sum"))

    def by_unit(values: np.ndarray) -> np.ndarray:
        return np.bincount(places[own], values[own], minlength=count)

    axes = tuple(range(found.ndim - 1))
    along = (np.abs(found) if reduction == "abs_sum" else found).sum(axis=axes, dtype=float)
    sums = by_unit(along)
    check_active(sums)
    compute = _differentiated(consumer)

    def score(active: np.ndarray, t: int) -> tuple[np.ndarray, float, np.ndarray]:
        mask = (active[places] | ~own).astype("float32")
        scores, norm = _by_gradient(found, compute, mask, chunk)
        return by_unit(scores), norm, sums

    return pursue(sums, score, size, iterations, merge_factor)


def _places(units: Any, positions: int) -> np.ndarray:
    if units is None:
        return np.arange(positions)
    places = numbers("units", units).astype(int)
    if places.shape != (positions,) or places.min() < -1 or places.max() < 0:
        raise wrong("units", units, f"{positions} integers of at least -1, one for each position")
    return places
