"""DPF: dynamic model pruning with feedback."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from typing_extensions import Unpack

from keras_sparse.engine.callback import SparseCallback
from keras_sparse.engine.rule import Rule
from keras_sparse.engine.rules.dense_learning import DenseLearning
from keras_sparse.engine.rules.scheduled_masks import ScheduledMasks
from keras_sparse.sparsity.duration import Duration, Run
from keras_sparse.sparsity.recipe import CommonArguments
from keras_sparse.sparsity.schedules import Constant, Polynomial
from keras_sparse.sparsity.selection import Selection


@keras.saving.register_keras_serializable(package="keras_sparse")
class DPFRule(DenseLearning, ScheduledMasks):
    """`theta <- theta - eta grad L(m theta)` on all weights, m chosen anew now and then."""


class DPF(SparseCallback):
    """Dynamic pruning with feedback: sparser and sparser masks, dense learning.

    The forward pass sees only the largest weights, but the gradient there is applied to all, so
    that errors of pruning feed back and a weight pruned too early returns. Masks are chosen anew
    every few steps; the sparsity rises along a cubic curve and then stays. At the end the model
    holds the effective weights.

    ```python
    model.fit(x, y, epochs=30, callbacks=[ks.DPF(sparsity=0.9)])
    ```

    Args:
        sparsity: Fraction of weights to remove in the end, in [0, 1). Left out with
            `granularity=NM(n, m)`, which fixes it, or with a mapping as `allocation`.
        every: Time between mask updates. Defaults to 16 steps.
        begin: When the sparsity begins to rise.
        end: When it is reached. Defaults to half of the run.
        **kwargs: `granularity`, `allocation`, `exclude`, `include`, `keep_dense`, `strict`, `seed`:
            see `SparseCallback`.

    Raises:
        ValueError: At construction for arguments out of range; before the first step for times
            outside the run or a model with nothing to prune.

    Source: Lin et al. (2020); Peste (2023), eq. 5.8.
    """

    command = "dpf"

    def __init__(
        self,
        sparsity: float | None = None,
        every: Any = "16st",
        begin: Any = 0,
        end: Any = "50%",
        **kwargs: Unpack[CommonArguments],
    ) -> None:
        super().__init__(sparsity, **kwargs)
        self.every = Duration.of(every, "every")
        self.begin, self.end = Duration.of(begin, "begin"), Duration.of(end, "end")

    def make_rule(self, run: Run, selection: Selection, final: np.ndarray) -> Rule:
        """A cubic rise, then the same sparsity until the end."""
        rise = Polynomial(self.begin, self.end, self.every)
        steps, sparsities = rise.sparsities(run, final)
        later = steps[-1] + max(self.every.to_steps(run), 1)
        if later < run.steps:
            stay = Constant(f"{later}st", "100%", self.every)
            more, constant = stay.sparsities(run, final)
            steps = np.concatenate([steps, more])
            sparsities = np.concatenate([sparsities, constant])
        dense = np.zeros_like(sparsities[:1])
        budgets = self.recipe.budgets(selection, np.concatenate([dense, sparsities]))
        return DPFRule(steps, budgets, self.recipe.granularity, self.recipe.joint)
