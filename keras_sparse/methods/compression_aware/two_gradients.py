"""The base class of methods that look at a second gradient of the same batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_sparse.engine.rule import Clock, Rule, Tensors
from keras_sparse.methods.compression_aware.two_gradient_step import TwoGradientStep
from keras_sparse.sparsity.masks import apply_mask
from keras_sparse.sparsity.selection import Target


class Point(NamedTuple):
    """Where a gradient is taken.

    Args:
        values: All trainable weights there.
        masks: Boolean tensors for the pruned ones, by which the gradient is masked; `None` to
            leave it as it is.
        due: Boolean scalar: whether `memory` is written; `None` for never.
        memory: New values of the rule's own tensors.
    """

    values: Sequence[Any]
    masks: Sequence[Any] | None = None
    due: Any = None
    memory: Mapping[str, Sequence[Any]] = {}


class TwoGradientRule(Rule):
    """Learns dense weights by gradients taken at two points, one of which follows from the other.

    A step takes the gradient g of the loss at the first point, by default the weights
    themselves, and the gradient at a second point that is found by g. The optimizer gets the
    second, or the sum of both (`plus`), once. Neither weight decay nor a layer's regularizer is
    part of g; a regularizer's gradient at the weights is added once to what the optimizer gets.

    Attributes:
        plus: Whether the first gradient is added to the second.
        base_probability: With which probability a step takes the first gradient alone.
    """

    plus: bool = False
    base_probability: float = 0.0

    @property
    def passes(self) -> float:
        """Two, but in plain steps."""
        return 2 - self.base_probability

    def build(self, targets: Sequence[Target]) -> None:
        """Learns which of the weights are compressed."""
        super().build(targets)
        self.indices = [target.index for target in targets]

    def train_step(self, model: keras.Model, optimizer: Any) -> Any:
        """Keras's, with a second gradient."""
        return TwoGradientStep(model, optimizer).step

    def is_plain(self, clock: Clock) -> Any:
        """Whether this step takes the first gradient alone, a boolean scalar."""
        raise NotImplementedError(f"{type(self).__name__} has no plain steps")

    def first_point(self, clock: Clock, weights: Sequence[Any], tensors: Tensors) -> Point | None:
        """Where the first gradient is taken; `None` for the weights themselves."""
        return None

    def second_point(
        self, clock: Clock, weights: Sequence[Any], gradients: Sequence[Any], tensors: Tensors
    ) -> Point:
        """Where the second gradient is taken.

        Args:
            clock: The step.
            weights: All trainable weights.
            gradients: The first gradient of all of them: of the mean loss of the whole batch,
                over all replicas, unscaled.
            tensors: The pruned tensors.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement second_point")

    def with_pruned(self, values: Sequence[Any], pruned: Sequence[Any]) -> list[Any]:
        """All weights with other values of the pruned ones."""
        made = list(values)
        for i, value in zip(self.indices, pruned, strict=True):
            made[i] = value
        return made

    def masked(self, values: Sequence[Any], masks: Sequence[Any] | None) -> list[Any]:
        """All weights, or their gradients, with zeros where pruned ones are masked."""
        if masks is None:
            return list(values)
        pairs = zip(self.indices, masks, strict=True)
        return self.with_pruned(values, [apply_mask(values[i], mask) for i, mask in pairs])

    def learning_gradients(self, gradients: Sequence[Any], tensors: Tensors) -> Sequence[Any]:
        """All of them."""
        return gradients

    def effective(self, clock: Clock, tensors: Tensors) -> Sequence[Any]:
        """The weights: the model stays dense."""
        return tensors.weights

    def trained_weights(
        self, masks: Sequence[np.ndarray], state: Mapping[str, Sequence[np.ndarray]]
    ) -> Sequence[float]:
        """All weights."""
        return [float(mask.size) for mask in masks]


def ascended(
    weights: Sequence[Any], gradients: Sequence[Any], rho: float, normalize: bool
) -> list[Any]:
    """`theta + rho g`, or `theta + rho g / ||g||` with the norm over all weights jointly.

    Args:
        weights: theta.
        gradients: g, tensors of the same shapes.
        rho: The step, >= 0.
        normalize: Whether g is divided by its norm.
    """
    step: Any = rho
    if normalize:
        squares = [ops.sum(ops.square(ops.cast(g, "float32"))) for g in gradients]
        step = rho / (ops.sqrt(sum(squares)) + 1e-12)
    return [w + ops.cast(step, w.dtype) * g for w, g in zip(weights, gradients, strict=True)]
