"""Top-KAST: always sparse training with a forward and a backward mask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike
from typing_extensions import Unpack

from keras_sparse.engine.rule import Clock, Tensors, Update
from keras_sparse.engine.rules.dense_learning import TopKMasks
from keras_sparse.messages.arguments import number, wrong
from keras_sparse.methods.exploration.base import check_unordered
from keras_sparse.methods.straight_through.base import TopKCallback
from keras_sparse.sparsity.allocation import check_sparsity
from keras_sparse.sparsity.duration import Run
from keras_sparse.sparsity.granularity import Granularity
from keras_sparse.sparsity.masks import apply_mask
from keras_sparse.sparsity.recipe import CommonArguments
from keras_sparse.sparsity.selection import Selection

_BACKWARD = "backward"


@keras.saving.register_keras_serializable(package="keras_sparse")
class TopKASTRule(TopKMasks):
    """Forward with the set A of the largest weights, backward with B, which contains A."""

    uses_gradients = True
    shadow = True
    changes_with_masks = (_BACKWARD,)

    def __init__(
        self,
        budget: ArrayLike,
        granularity: Granularity,
        joint: bool,
        every: int = 1,
        backward_budget: ArrayLike = (),
        density: float = 1.0,
        penalty: float = 1e-4,
    ) -> None:
        super().__init__(budget, granularity, joint, every)
        self.backward_budget = np.asarray(backward_budget, "int32")
        self.density = density
        self.penalty = penalty

    def initial_state(self, weights: Sequence[Any]) -> Mapping[str, Sequence[Any]]:
        """B of the initial weights."""
        return {_BACKWARD: self.top(weights, self.backward_budget)}

    def update_masks(self, clock: Clock, counters: Mapping[str, Any], tensors: Tensors) -> Update:
        """A and B anew."""
        forward = self.top(tensors.weights, self.budget)
        backward = self.top(tensors.weights, self.backward_budget)
        return Update(forward, {}, state={_BACKWARD: backward})

    def learning_gradients(self, gradients: Sequence[Any], tensors: Tensors) -> Sequence[Any]:
        """On B the gradient and that of the exploration penalty, elsewhere nothing.

        The penalty is `1/2 w^2` on A and `1/(2D) w^2` on the rest of B, D the forward density.
        """
        return [
            apply_mask(g + self.penalty * ops.where(a, w, w / self.density), b)
            for g, w, a, b in zip(
                gradients, tensors.weights, tensors.masks, tensors.state[_BACKWARD], strict=True
            )
        ]

    def learned(self, before: Tensors, stepped: Sequence[Any]) -> Sequence[Any]:
        """Weights outside B stay as they were, whatever momentum or decay would do to them."""
        groups = zip(before.state[_BACKWARD], stepped, before.weights, strict=True)
        return [ops.where(b, new, old) for b, new, old in groups]

    def trained_weights(
        self, masks: Sequence[np.ndarray], state: Mapping[str, Sequence[np.ndarray]]
    ) -> Sequence[float]:
        """Those in B."""
        return [float(np.count_nonzero(mask)) for mask in state[_BACKWARD]]


class TopKAST(TopKCallback):
    """Always sparse training: the largest weights compute, somewhat more of them learn.

    The forward pass sees the set A of the largest weights. The gradient is applied to a larger
    set B, so that weights beyond A can grow into it; a penalty that is stronger on these keeps A
    from changing for ever. Weights outside B are left alone until a mask update takes them in.

    ```python
    model.fit(x, y, epochs=30, callbacks=[ks.TopKAST(sparsity=0.9, backward_sparsity=0.8)])
    ```

    Args:
        sparsity: Forward sparsity, the fraction of weights not in A, in [0, 1). The final model
            has it.
        backward_sparsity: Fraction of weights not in B, in [0, sparsity]. Defaults to one minus
            twice the forward density.
        penalty: Strength of the exploration penalty, >= 0. It takes the place of weight decay.
        every: Time between mask updates. Defaults to every step.
        **kwargs: `granularity` (not n:m), `allocation` (here `"uniform"` by default), `exclude`,
            `include`, `keep_dense`, `strict`, `seed`: see `SparseCallback`. The source keeps the
            first and last layer dense.

    Raises:
        ValueError: At construction for arguments out of range; before the first step for a model
            with nothing to prune.

    Source: Jayakumar et al. (2020).
    """

    command = "top_kast"

    rule_class = TopKASTRule

    def __init__(
        self,
        sparsity: float | None = None,
        backward_sparsity: float | None = None,
        penalty: float = 1e-4,
        every: Any = "1st",
        **kwargs: Unpack[CommonArguments],
    ) -> None:
        super().__init__(sparsity, every, **kwargs)
        check_unordered(self, self.recipe.granularity)
        if isinstance(self.recipe.allocation, dict):
            raise ValueError(
                "TopKAST needs one forward and one backward sparsity; allocation cannot be a "
                "mapping. Use 'global', 'uniform', 'er' or 'erk', and exclude for dense layers."
            )
        forward = float(self.recipe.sparsity or 0.0)
        if backward_sparsity is None:
            backward_sparsity = max(0.0, 2 * forward - 1)
        self.backward_sparsity = check_sparsity(backward_sparsity, "backward_sparsity")
        if backward_sparsity > forward:
            allowed = f"at most sparsity={forward}, since B contains A"
            raise wrong("backward_sparsity", backward_sparsity, allowed)
        self.penalty = number("penalty", penalty, "[0, inf)")

    def rule_arguments(self, run: Run, selection: Selection, final: np.ndarray) -> dict[str, Any]:
        """B's budget, the forward density and the penalty."""
        backward = np.full((1,), self.backward_sparsity)
        return {
            "backward_budget": self.recipe.budgets(selection, backward)[0],
            "density": 1 - float(final),
            "penalty": self.penalty if final > 0 else 0.0,
        }
