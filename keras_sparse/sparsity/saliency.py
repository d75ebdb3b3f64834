"""What a weight is worth: the scores by which masks are chosen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
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
