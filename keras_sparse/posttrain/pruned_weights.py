"""The weights that a post-training method prunes: read, ranked and written back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_sparse.probe.layout import Layout
from keras_sparse.probe.variables import broken_weights
from keras_sparse.sparsity.masks import choose_masks
from keras_sparse.sparsity.recipe import Recipe
from keras_sparse.sparsity.report import SparsityReport, report


class PrunedWeights:
    """The chosen weights of a model as float64 arrays, and the masks that a recipe allows.

    Args:
        model: A built Keras model.
        sparsity: Fraction of weights to remove. See `prune`.
        options: The other common arguments of pruning methods, as for `Recipe`.

    Raises:
        ValueError: For arguments out of range, or a model with nothing to prune or with weights
            that are not finite.
    """

    def __init__(
        self, model: keras.Model, sparsity: float | None, options: Mapping[str, Any]
    ) -> None:
        self.model = model
        self.recipe = Recipe(sparsity, **options)
        self.selection = self.recipe.select(model)
        check_finite(model)
        self.variables = self.selection.variables(model)
        self.layouts = self.selection.layouts

    def read(self) -> list[np.ndarray]:
        """The weights as they are now, float64 arrays of the variables' shapes."""
        return [self.read_one(i) for i in range(len(self.variables))]

    def read_one(self, place: int) -> np.ndarray:
        """The weights of one target."""
        return np.asarray(ops.convert_to_numpy(self.variables[place]), np.float64)

    def budgets(self, steps: int = 1) -> np.ndarray:
        """What may be kept after each step, a row each. See `mask_budgets`.

        Every step removes the same fraction of what the one before it left:
        `s_t = 1 - (1 - s) ** (t / steps)`.
        """
        density = 1 - self.recipe.final(self.selection)
        part = np.arange(1, steps + 1).reshape((-1,) + (1,) * density.ndim) / steps
        return self.recipe.budgets(self.selection, 1 - density**part)

    def masks(self, scores: Sequence[np.ndarray], budget: np.ndarray) -> list[np.ndarray]:
        """Masks that keep the highest scores that a budget allows.

        All weights share one ranking where the recipe says so, unless the budget counts what each
        layer keeps.

        Args:
            scores: Float arrays of the weights' shapes, zero or above; negative where a weight is
                already gone.
            budget: A row of `budgets`, or a count for each layer.

        Returns:
            Boolean arrays of the weights' shapes, True where a weight is kept.

        Raises:
            ValueError: If scores are not finite, or all of them are zero.
        """
        largest = self.check_scores(scores)
        # Products of small gradients would underflow in the float32 in which scores are ranked.
        ranked = [ops.convert_to_tensor(score / largest, "float32") for score in scores]
        joint = self.recipe.joint and len(budget) == 1
        found = choose_masks(ranked, self.layouts, budget, self.recipe.granularity, joint)
        return [np.asarray(ops.convert_to_numpy(mask), bool) for mask in found]

    def mask_of(self, place: int, scores: np.ndarray, keep: int) -> np.ndarray:
        """The mask of one target that keeps so many weights, those of the highest scores.

        Args:
            place: Which of the targets.
            scores: As in `masks`, but that all may be zero.
            keep: A count, of an n:m pattern what the pattern says.
        """
        ranked = ops.convert_to_tensor(scores / (np.max(scores) or 1.0), "float32")
        layouts, granularity = [self.layouts[place]], self.recipe.granularity
        (mask,) = choose_masks([ranked], layouts, np.array([keep]), granularity, False)
        return np.asarray(ops.convert_to_numpy(mask), bool)

    def check_scores(self, scores: Iterable[np.ndarray]) -> float:
        """The largest score of all.

        Raises:
            ValueError: If scores are not finite, or all of them are zero.
        """
        largest = 0.0
        for target, score in zip(self.selection.targets, scores, strict=True):
            if not np.isfinite(score).all():
                raise ValueError(
                    f"The scores of {target.path!r} are not finite. Look for NaN or infinity in "
                    "the calibration data and the model's loss, or raise damping."
                )
            largest = max(largest, float(score.max()))
        if largest <= 0:
            raise ValueError(
                "All scores are zero: the calibration data says nothing about the weights. Give "
                "inputs that are not all zero, and targets whose loss has a gradient."
            )
        return largest

    def write(self, values: Sequence[np.ndarray], masks: Sequence[np.ndarray]) -> None:
        """Gives the model new weights, with exact zeros where the masks are False.

        Raises:
            ValueError: If nothing is left of a layer and the recipe is strict.
        """
        self.recipe.check_filled(self.selection, [int(mask.sum()) for mask in masks])
        for place, (value, mask) in enumerate(zip(values, masks, strict=True)):
            self.write_one(place, value, mask)

    def write_one(self, place: int, values: np.ndarray, mask: np.ndarray) -> None:
        """Gives one target new weights, with exact zeros where the mask is False."""
        variable = self.variables[place]
        variable.assign(ops.convert_to_tensor(np.where(mask, values, 0), variable.dtype))

    def report(self) -> SparsityReport:
        """What of the model is zero now."""
        return report(
            self.model,
            exclude=self.recipe.exclude,
            include=self.recipe.include,
            keep_dense=self.recipe.keep_dense,
        )


def check_finite(model: keras.Model) -> None:
    """Checks that a model is worth pruning: NaN ranks nowhere, and infinity above everything.

    Raises:
        ValueError: If weights are not finite, naming them.
    """
    paths = broken_weights(model)
    if paths:
        raise ValueError(
            f"Model {model.name!r} has weights that are NaN or infinite: {', '.join(paths)}. Its "
            "training diverged: load weights from before that, or train it again with a lower "
            "learning rate or with clipnorm."
        )


def to_rows(layout: Layout, values: np.ndarray) -> np.ndarray:
    """Views a weight as one row per output, shape `(outputs, positions * inputs)`."""
    order = layout.positions + layout.inputs + layout.outputs
    positions, inputs, outputs = layout.matrix_shape
    return values.transpose(order).reshape(positions * inputs, outputs).T


def from_rows(layout: Layout, rows: np.ndarray) -> np.ndarray:
    """The inverse of `to_rows`."""
    order = layout.positions + layout.inputs + layout.outputs
    shape = [layout.shape[axis] for axis in order]
    return rows.T.reshape(shape).transpose(np.argsort(order))
