"""GraNet: gradual pruning with neuroregeneration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike
from typing_extensions import Unpack

from keras_sparse.engine.callback import SparseCallback
from keras_sparse.engine.rule import Clock, Rule, Tensors
from keras_sparse.messages.arguments import number
from keras_sparse.methods.exploration.base import (
    DropAndGrow,
    check_unordered,
    cosine_fractions,
)
from keras_sparse.sparsity.duration import Duration, Run
from keras_sparse.sparsity.granularity import Granularity
from keras_sparse.sparsity.masks import apply_mask, choose_masks, mask_budgets, prune_further
from keras_sparse.sparsity.recipe import CommonArguments
from keras_sparse.sparsity.saliency import scores
from keras_sparse.sparsity.schedules import Polynomial
from keras_sparse.sparsity.selection import Selection


@keras.saving.register_keras_serializable(package="keras_sparse")
class GraNetRule(DropAndGrow):
    """Prunes to a plan's sparsity; then, in each tensor, the smallest go and as many grow back.

    Args:
        steps: Increasing integer steps of the updates.
        fractions: Fraction of the weights left that each update regenerates.
        granularity: The pruning pattern.
        budgets: What each update leaves, rows of `mask_budgets`.
        joint: Whether all tensors share one ranking in pruning.
        dense_share: Fraction of the run's steps that compute gradients of all weights.
    """

    uses_gradients = True

    def __init__(
        self,
        steps: ArrayLike,
        fractions: ArrayLike,
        granularity: Granularity,
        budgets: ArrayLike,
        joint: bool,
        dense_share: float = 0.0,
    ) -> None:
        super().__init__(steps, fractions, granularity, dense_share=dense_share)
        self.budgets, self.joint = np.asarray(budgets, "int32"), joint

    def grow_scores(self, clock: Clock, tensors: Tensors) -> Sequence[Any]:
        """The dense gradient."""
        return tensors.gradients

    def before_drop(self, update: Any, tensors: Tensors) -> Tensors:
        """Prunes further. What goes is gone: should it grow in the same update, it starts anew."""
        budget = ops.take(self.budgets, update, axis=0)
        masks = prune_further(
            tensors.weights, tensors.masks, self.layouts, budget, self.granularity, self.joint
        )
        left = [apply_mask(w, mask) for w, mask in zip(tensors.weights, masks, strict=True)]
        return tensors._replace(weights=left, masks=masks)


class GraNet(SparseCallback):
    """Gradual pruning that regenerates: after each cut the weakest move to large gradients.

    At each update the smallest weights are pruned, as many as a cubic schedule says, over all
    layers together. Of what is left in a layer the smallest fraction is then replaced by as many
    weights where the dense gradient of that step is largest in magnitude; they start from zero,
    with the optimizer's moments at zero. The fraction falls along a cosine, to zero with the last
    cut (the source's goes on to the end of training). Between `GMP`, which never gives a weight
    back, and `RigL`, which is sparse from the first step on.

    ```python
    model.fit(x, y, epochs=30, callbacks=[ks.GraNet(sparsity=0.9)])
    model.fit(x, y, epochs=30, callbacks=[ks.GraNet(0.9, initial_sparsity=0.5)])
    ```

    Args:
        sparsity: Fraction of weights to remove in the end, in [0, 1).
        initial_sparsity: Sparsity of the beginning, in [0, 1), not above `sparsity`: 0 to start
            dense, more to start from random masks, shared out over layers by `"erk"`.
        drop_fraction: Fraction of the weights left that a first update would replace, in (0, 1).
        every: Time between updates. Defaults to 100 steps, or a twentieth of the run where that
            is less.
        end: The last update, at which the final sparsity is met. Defaults to three quarters of
            the run.
        **kwargs: `granularity`, `allocation`, `exclude`, `include`, `keep_dense`, `strict`, `seed`:
            see `SparseCallback`.

    Raises:
        ValueError: At construction for arguments out of range; before the first step for a run
            that is too short, or a layer that is to be less sparse than `initial_sparsity`.

    Source: Liu et al. (2021).
    """

    command = "granet"

    def __init__(
        self,
        sparsity: float | None = None,
        initial_sparsity: float = 0.0,
        drop_fraction: float = 0.5,
        every: Any = None,
        end: Any = "75%",
        **kwargs: Unpack[CommonArguments],
    ) -> None:
        super().__init__(sparsity, **kwargs)
        check_unordered(self, self.recipe.granularity)
        self.initial_sparsity = number("initial_sparsity", initial_sparsity, "[0, 1)")
        self.drop_fraction = number("drop_fraction", drop_fraction, "(0, 1)")
        self.every = None if every is None else Duration.of(every, "every")
        self.end = Duration.of(end, "end")

    def make_rule(self, run: Run, selection: Selection, final: np.ndarray) -> Rule:
        """Updates along a cubic schedule."""
        least = float(np.nanmin(final))
        if least < self.initial_sparsity:
            raise ValueError(
                "initial_sparsity must not be above the sparsity of any layer in the end, "
                f"{least:g} here. Received: initial_sparsity={self.initial_sparsity}"
            )
        every = Duration(steps=max(min(100, run.steps // 20), 1)) if not self.every else self.every
        schedule = Polynomial("0%", self.end, every, self.initial_sparsity)
        steps, sparsities = schedule.sparsities(run, final)
        return GraNetRule(
            steps,
            cosine_fractions(self.drop_fraction, steps, max(int(steps[-1]), 1)),
            self.recipe.granularity,
            self.recipe.budgets(selection, sparsities),
            self.recipe.joint,
            dense_share=len(steps) / run.steps,
        )

    def first_masks(self, selection: Selection, weights: list[Any]) -> list[Any] | None:
        """Random masks where training starts sparse."""
        if self.initial_sparsity == 0:
            return None
        granularity = self.recipe.granularity
        layouts = selection.layouts
        budget = mask_budgets(granularity, "erk", layouts, np.array([self.initial_sparsity]))[0]
        drawn = scores("random", [ops.convert_to_tensor(w) for w in weights], self.seed)
        return choose_masks(drawn, layouts, budget, granularity, joint=False)
