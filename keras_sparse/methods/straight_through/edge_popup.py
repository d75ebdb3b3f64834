"""Edge-popup: the weights stay as they are, and which of them count is learned."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike
from typing_extensions import Unpack

from keras_sparse.engine.callback import SparseCallback
from keras_sparse.engine.rule import Clock, Rule, Tensors, Update
from keras_sparse.engine.rules.dense_learning import TopKMasks
from keras_sparse.engine.rules.learned import momentum_step
from keras_sparse.messages.arguments import boolean, number, optional
from keras_sparse.probe.layout import Layout
from keras_sparse.sparsity.allocation import Allocation
from keras_sparse.sparsity.duration import Run
from keras_sparse.sparsity.granularity import Granularity
from keras_sparse.sparsity.masks import apply_mask
from keras_sparse.sparsity.recipe import PatternArguments
from keras_sparse.sparsity.selection import Selection

_SCORES, _VELOCITY = "scores", "score_velocity"


def initial_scores(layouts: Sequence[Layout], seed: int) -> list[np.ndarray]:
    """Scores at the beginning, uniform in `+- 1 / sqrt(fan_in)` (He et al., 2015, a = sqrt(5)).

    Args:
        layouts: The layouts of the weight tensors.
        seed: Seed of the numbers.

    Returns:
        Float32 arrays of the weights' shapes.
    """
    generator = np.random.default_rng(seed)
    bounds = [1 / math.sqrt(_fan_in(layout)) for layout in layouts]
    return [
        generator.uniform(-bound, bound, layout.shape).astype("float32")
        for bound, layout in zip(bounds, layouts, strict=True)
    ]


def signed_constants(layouts: Sequence[Layout], sparsities: ArrayLike) -> list[float]:
    """The standard deviation that suits as many inputs as are kept, `sqrt(2 / (fan_in k))`.

    Args:
        layouts: The layouts of the weight tensors.
        sparsities: The sparsity of all, or of each tensor; k is one less it.

    Source: Ramanujan et al. (2020), section 4.4 (scaled signed Kaiming constant).
    """
    density = np.broadcast_to(1 - np.asarray(sparsities, float), (len(layouts),))
    return [
        math.sqrt(2 / (_fan_in(layout) * max(float(k), 1e-6)))
        for layout, k in zip(layouts, density, strict=True)
    ]


def _fan_in(layout: Layout) -> int:
    positions, inputs, _ = layout.matrix_shape
    return positions * inputs


@keras.saving.register_keras_serializable(package="keras_sparse")
class EdgePopupRule(TopKMasks):
    """`s <- s - eta_s g w sign(s)`; the largest `|s|` are kept, and w never moves."""

    uses_gradients = True
    shadow = True

    def __init__(
        self,
        budget: ArrayLike,
        granularity: Granularity,
        joint: bool,
        every: int = 1,
        rate: float | None = None,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        seed: int = 0,
        constants: Sequence[float] | None = None,
    ) -> None:
        super().__init__(budget, granularity, joint, every)
        self.rate, self.momentum, self.weight_decay = rate, momentum, weight_decay
        self.seed, self.constants = seed, constants

    def initial_state(self, weights: Sequence[Any]) -> Mapping[str, Sequence[Any]]:
        """Random scores."""
        return {
            _SCORES: [
                ops.cast(score, weight.dtype)
                for score, weight in zip(
                    initial_scores(self.layouts, self.seed), weights, strict=True
                )
            ],
            _VELOCITY: [ops.zeros_like(weight) for weight in weights],
        }

    def _values(self, weights: Sequence[Any]) -> list[Any]:
        """The weights as they count: their own, or constants of their signs."""
        if self.constants is None:
            return list(weights)
        return [
            ops.cast(ops.where(w < 0, -constant, constant), w.dtype)
            for w, constant in zip(weights, self.constants, strict=True)
        ]

    def update_state(self, clock: Clock, tensors: Tensors) -> Mapping[str, Sequence[Any]]:
        """SGD with momentum on the scores, by the straight-through gradient of all of them."""
        new: dict[str, list[Any]] = {_SCORES: [], _VELOCITY: []}
        for i, (g, w, s, velocity) in enumerate(
            zip(
                tensors.gradients,
                self._values(tensors.weights),
                tensors.state[_SCORES],
                tensors.state[_VELOCITY],
                strict=True,
            )
        ):
            rate = clock.rate_of(i) if self.rate is None else self.rate
            slope = g * ops.where(s < 0, -w, w) + self.weight_decay * s
            s, velocity = momentum_step(s, velocity, slope, rate, self.momentum)
            new[_SCORES].append(s)
            new[_VELOCITY].append(velocity)
        return new

    def update_masks(self, clock: Clock, counters: Mapping[str, Any], tensors: Tensors) -> Update:
        """The largest scores."""
        return Update(self.top(tensors.state[_SCORES], self.budget), {})

    def learning_gradients(self, gradients: Sequence[Any], tensors: Tensors) -> Sequence[Any]:
        """None."""
        return [ops.zeros_like(gradient) for gradient in gradients]

    def learned(self, before: Tensors, stepped: Sequence[Any]) -> Sequence[Any]:
        """The weights as they were, whatever weight decay did to them."""
        return before.weights

    def effective(self, clock: Clock, tensors: Tensors) -> Sequence[Any]:
        """The kept weights."""
        values = self._values(tensors.weights)
        return [apply_mask(w, m) for w, m in zip(values, tensors.masks, strict=True)]

    def trained_weights(
        self, masks: Sequence[np.ndarray], state: Mapping[str, Sequence[np.ndarray]]
    ) -> Sequence[float]:
        """All: the scores of pruned weights learn as well."""
        return [float(mask.size) for mask in masks]


class EdgePopupArguments(PatternArguments, total=False):
    """The common arguments that `EdgePopup` does not name itself."""

    seed: int | None


class EdgePopup(SparseCallback):
    """Finds a sparse model within random weights, without training the weights.

    The weights that are pruned or kept stay at the values that they have when `fit` begins. Each
    of them has a score; the weights of the largest scores (in magnitude) count, and all scores
    learn by the straight-through gradient, as if the score were a factor of the weight. Weights
    that are not subject to pruning (biases, normalization parameters, layers in `exclude`) learn
    as usual, by the model's optimizer: freeze them (`trainable = False`) or leave them out of the
    model to have nothing trained but the choice, as in the source.

    ```python
    model.fit(x, y, epochs=30, callbacks=[ks.EdgePopup(sparsity=0.5)])
    model.fit(x, y, epochs=30, callbacks=[ks.EdgePopup(sparsity=0.7, signed_constant=True)])
    ```

    Args:
        sparsity: Fraction of weights to remove, in [0, 1). Left out with
            `granularity=NM(n, m)`, which fixes it, or with a mapping as `allocation`.
        score_learning_rate: Of the scores, greater than 0. Defaults to the optimizer's learning
            rate, which may follow a schedule.
        score_momentum: Momentum of the scores, in [0, 1).
        score_weight_decay: Decay of the scores, >= 0.
        signed_constant: Whether weights count as `+- sqrt(2 / (fan_in k))` with their own sign,
            where k is the fraction to keep, in place of their own values.
        allocation: As in `SparseCallback`; by default each layer keeps the same fraction.
        **kwargs: `granularity`, `exclude`, `include`, `keep_dense`, `strict`, `seed`: see
            `SparseCallback`. The seed is that of the first scores.

    Raises:
        ValueError: At construction for arguments out of range; before the first step for a model
            with nothing to prune.

    Source: Ramanujan et al. (2020).
    """

    command = "edge_popup"

    def __init__(
        self,
        sparsity: float | None = None,
        score_learning_rate: float | None = None,
        score_momentum: float = 0.9,
        score_weight_decay: float = 0.0,
        signed_constant: bool = False,
        allocation: Allocation = "uniform",
        **kwargs: Unpack[EdgePopupArguments],
    ) -> None:
        super().__init__(sparsity, allocation=allocation, **kwargs)
        rate = optional(number, "score_learning_rate", score_learning_rate, "(0, inf)")
        self.score_learning_rate = rate
        self.score_momentum = number("score_momentum", score_momentum, "[0, 1)")
        self.score_weight_decay = number("score_weight_decay", score_weight_decay, "[0, inf)")
        self.signed_constant = boolean("signed_constant", signed_constant)

    def make_rule(self, run: Run, selection: Selection, final: np.ndarray) -> Rule:
        """Scores of frozen weights."""
        layouts = selection.layouts
        return EdgePopupRule(
            self.recipe.budget(selection),
            self.recipe.granularity,
            self.recipe.joint,
            rate=self.score_learning_rate,
            momentum=self.score_momentum,
            weight_decay=self.score_weight_decay,
            seed=self.seed or 0,
            constants=signed_constants(layouts, final) if self.signed_constant else None,
        )

    def first_masks(self, selection: Selection, weights: list[Any]) -> list[Any]:
        """The largest of the first scores."""
        layouts = selection.layouts
        scores = [ops.convert_to_tensor(s) for s in initial_scores(layouts, self.seed or 0)]
        return self.recipe.masks(selection, scores, absolute=True)
