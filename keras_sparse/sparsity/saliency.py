"""What a weight is worth: the scores by which masks are chosen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_sparse.messages.arguments import one_of, random_seed

SALIENCIES = ("magnitude", "random")


def widened(value: Any) -> Any:
    """A float tensor in float32, or in its own type where that is wider."""
    return ops.cast(value, keras.backend.result_type(value.dtype, "float32"))


def magnitude(weights: Sequence[Any]) -> list[Any]:
    """Absolute values, in float32, or in the weights' own type where that is wider."""
    return [ops.abs(widened(weight)) for weight in weights]


def random(weights: Sequence[Any], seed: int | None = None) -> list[Any]:
    """Uniform scores in [0, 1), the same for the same seed."""
    generator = keras.random.SeedGenerator(seed)
    return [keras.random.uniform(ops.shape(weight), seed=generator) for weight in weights]


def scores(saliency: str, weights: Sequence[Any], seed: int | None = None) -> list[Any]:
    """Scores by name: `"magnitude"` or `"random"`.

    Args:
        saliency: The name.
        weights: Weight tensors.
        seed: Seed of random scores.

    Returns:
        Float tensors of the weights' shapes; the largest are kept.
    """
    if one_of("saliency", saliency, SALIENCIES) == "magnitude":
        return magnitude(weights)
    return random(weights, random_seed("seed", seed))


def layer_adaptive(values: np.ndarray, costs: np.ndarray | int = 1) -> np.ndarray:
    """Each value over the sum of all that are at least as large: LAMP, for squared weights.

    The largest has 1, in whatever unit a layer is measured, so that layers can be ranked together
    and none of them loses everything before the others are down to one.

    Args:
        values: Float array of shape `(units,)`, zero or above.
        costs: How many times each value counts in the sums.

    Returns:
        Float array of shape `(units,)`, in [0, 1]; of equal values the first has most.

    Source: Lee et al. (2021).
    """
    order = np.argsort(-values, kind="stable")
    left = np.empty_like(values)
    left[order] = np.cumsum((values * costs)[order])
    return values / np.maximum(left, np.finfo(values.dtype).tiny)
