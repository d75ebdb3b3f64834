"""Synaptic flow: what each weight carries of a signal of ones, without any data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_sparse.backend.compiled import compiled
from keras_sparse.methods.at_start.base import masks_from_scores
from keras_sparse.methods.at_start.sensitivity import check_scores
from keras_sparse.probe.gradients import LossGradients
from keras_sparse.probe.snapshot import borrowed
from keras_sparse.sparsity.masks import apply_mask, choose_masks
from keras_sparse.sparsity.recipe import Recipe
from keras_sparse.sparsity.selection import Selection

# Powers of two change no ranking. Twelve steps of 2^-10 span what float32 can hold.
_SCALES = [2.0 ** (-10 * step) for step in range(12)]


class SynapticFlow:
    """Scores `|w| dR/d|w|`, where R is the sum of a model's outputs for an input of ones.

    Every variable of the model stands at its absolute value for that, so that no path cancels
    another: R is the sum over all paths of the products of their weights. Input and outputs are
    scaled down as far as it takes for deep models not to overflow, and for bounded activations such
    as ReLU6 not to stop the flow altogether.

    ```python
    flow = SynapticFlow(model, model.trainable_variables[:1])
    with borrowed(model, model.variables):
        flow.make_positive()
        (scores,) = flow()
    ```

    Args:
        model: A built Keras model.
        weights: The variables to score.
        input_shape: Shape of one sample without the batch axis, where the model's is open.

    Raises:
        ValueError: If the input shape is not known.

    Source: Tanaka et al. (2020), "Pruning neural networks without any data by iteratively
    conserving synaptic flow", Eq. 2 and Algorithm 1.
    """

    def __init__(self, model: keras.Model, weights: Sequence[Any], input_shape: Any = None) -> None:
        self.model, self.weights = model, list(weights)
        self._ones = _ones(model, input_shape)
        self._gradients = LossGradients(model, self.weights, loss=_scaled_sum)
        self._scale = 0.0

    def make_positive(self) -> None:
        """Puts every float variable of the model at its absolute value."""
        for variable in self.model.variables:
            if keras.backend.is_float_dtype(variable.dtype):
                variable.assign(ops.abs(variable))

    def __call__(self) -> list[np.ndarray]:
        """Scores at the current weights, float32 arrays that sum up to one.

        Raises:
            ValueError: If all are zero, or not finite at any scale.
        """
        scores = self._at(self._scale) if self._scale else self._at_largest_scale()
        total = check_scores(scores, f"The synaptic flows of model {self.model.name!r}")
        return [np.divide(s, total, out=np.empty(s.shape, "float32")) for s in scores]

    def _at(self, scale: float) -> list[np.ndarray]:
        scores = [np.array(ops.convert_to_numpy(w), np.float64) for w in self.weights]
        for score, gradient in zip(scores, self._gradients(*self._inputs(scale)), strict=True):
            score *= ops.convert_to_numpy(gradient)
            np.abs(score, out=score)
        return scores

    def _at_largest_scale(self) -> list[np.ndarray]:
        """Scores at the largest scale at which most tensors have a finite flow."""
        flows = -1
        for scale in _SCALES:
            found = self._at(scale)
            finite = all(np.isfinite(score).all() for score in found)
            count = sum(bool(score.any()) for score in found) if finite else -1
            if count > flows or not self._scale:
                scores, flows, self._scale = found, count, scale
            if flows == len(found):
                break
        return scores

    def _inputs(self, scale: float) -> tuple[Any, Any]:
        scaled = [
            one * scale if keras.backend.is_float_dtype(str(one.dtype)) else one
            for one in self._ones
        ]
        x = scaled[0] if len(scaled) == 1 else scaled
        return x, ops.convert_to_tensor(scale, "float32")


def synflow_masks(
    model: keras.Model,
    recipe: Recipe,
    selection: Selection,
    *,
    rounds: int = 100,
    min_per_layer: float = 0,
    input_shape: Any = None,
) -> list[Any]:
    """Masks by synaptic flow, in rounds that each prune the same share of what is left.

    Args:
        model: A built Keras model; it is the same afterwards.
        recipe: What is pruned and how much.
        selection: The tensors to prune.
        rounds: Rounds `n`; after round `k` a density of `rho^(k/n)` is left of the model.
        min_per_layer: As in `masks_from_scores`.
        input_shape: As in `SynapticFlow`.

    Returns:
        Boolean tensors of the weights' shapes.

    Raises:
        ValueError: If the input shape is not known, or flows are all zero or not finite.
    """
    weights = selection.variables(model)
    layouts = selection.layouts
    flow = SynapticFlow(model, weights, input_shape)
    density = 1 - recipe.final(selection)
    shares = np.arange(1, rounds).reshape(-1, *[1] * density.ndim) / rounds
    budgets = recipe.budgets(selection, 1 - density**shares) if rounds > 1 else ()

    @compiled
    def pruned(flows: list[Any], kept: list[Any], values: list[Any], budget: Any) -> Any:
        # What is gone stays behind what carries nothing.
        left = [ops.where(k, flow, -1.0) for k, flow in zip(kept, flows, strict=True)]
        masks = choose_masks(left, layouts, budget, recipe.granularity, recipe.joint)
        return masks, [apply_mask(v, mask) for v, mask in zip(values, masks, strict=True)]

    with borrowed(model, model.variables):
        flow.make_positive()
        masks = [ops.ones(weight.shape, "bool") for weight in weights]
        scores = flow()
        for budget in budgets:
            tensors = [ops.convert_to_tensor(score) for score in scores]
            values = [ops.convert_to_tensor(weight) for weight in weights]
            masks, values = pruned(tensors, masks, values, ops.convert_to_tensor(budget, "int32"))
            for weight, value in zip(weights, values, strict=True):
                weight.assign(value)
            scores = flow()
        kept = [ops.convert_to_numpy(mask) for mask in masks]
        scores = [np.where(k, score, -1.0) for k, score in zip(kept, scores, strict=True)]
    return masks_from_scores(recipe, selection, scores, min_per_layer)


def _scaled_sum(scale: Any, outputs: Any) -> Any:
    sums = [ops.sum(ops.cast(one, "float32") * scale) for one in keras.tree.flatten(outputs)]
    return ops.sum(ops.stack(sums))


def _ones(model: keras.Model, input_shape: Any) -> list[Any]:
    inputs = getattr(model, "inputs", None)
    if input_shape is not None:
        shapes = [input_shape] if not input_shape or np.ndim(input_shape) == 1 else input_shape
        dtypes = [t.dtype for t in inputs] if inputs else ["float32"] * len(shapes)
        return [np.ones((1, *s), d) for s, d in zip(shapes, dtypes, strict=True)]
    if not inputs or any(None in tensor.shape[1:] for tensor in inputs):
        raise ValueError(
            f"Model {model.name!r} does not say the shape of its inputs, which synaptic flow needs "
            "for an input of ones. Give input_shape=..., such as (32, 32, 3)."
        )
    return [np.ones((1, *tensor.shape[1:]), tensor.dtype) for tensor in inputs]
