"""Gradual magnitude pruning."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from typing_extensions import Unpack

from keras_sparse.engine.callback import SparseCallback
from keras_sparse.engine.rule import Rule
from keras_sparse.engine.rules.scheduled_masks import ScheduledMasks
from keras_sparse.sparsity.duration import Run
from keras_sparse.sparsity.recipe import CommonArguments
from keras_sparse.sparsity.schedules import Polynomial, Schedule, checked_schedule
from keras_sparse.sparsity.selection import Selection


class GMP(SparseCallback):
    """Gradual magnitude pruning: the smallest weights go, more and more of them.

    At each update of the schedule the largest weights are kept, as many as the schedule's
    sparsity leaves; between updates pruned weights stay exactly zero and receive no gradient.
    Start from a trained model, or from scratch. With `OneShot()` it is one-shot magnitude
    pruning followed by fine-tuning.

    ```python
    model.fit(x, y, epochs=30, callbacks=[ks.GMP(sparsity=0.9)])
    model.fit(x, y, epochs=5, callbacks=[ks.GMP(sparsity=0.9, schedule=ks.OneShot())])
    ```

    Args:
        sparsity: Fraction of weights to remove in the end, in [0, 1). Left out with
            `granularity=NM(n, m)`, which fixes it, or with a mapping as `allocation`.
        schedule: A `Schedule`. Defaults to `Polynomial()`: cubic, from a fifth to four fifths of
            the run, every 100 steps.
        **kwargs: `granularity`, `allocation`, `exclude`, `include`, `keep_dense`, `strict`, `seed`:
            see `SparseCallback`.

    Attributes:
        rule_class: The rule that scores weights; a method with another score replaces it.

    Raises:
        ValueError: At construction for arguments out of range; before the first step for a
            schedule that does not fit the run or a model with nothing to prune.

    Source: Zhu and Gupta (2017); Peste (2023), 2.2.2.
    """

    command = "gmp"

    rule_class: ClassVar[type[ScheduledMasks]] = ScheduledMasks

    def __init__(
        self,
        sparsity: float | None = None,
        schedule: Schedule | None = None,
        **kwargs: Unpack[CommonArguments],
    ) -> None:
        super().__init__(sparsity, **kwargs)
        self.schedule = checked_schedule(schedule) or Polynomial()

    def make_rule(self, run: Run, selection: Selection, final: np.ndarray) -> Rule:
        """Magnitude masks at the schedule's steps."""
        steps, sparsities = self.schedule.sparsities(run, final)
        dense = np.zeros_like(sparsities[:1])
        budgets = self.recipe.budgets(selection, np.concatenate([dense, sparsities]))
        return self.rule_class(steps, budgets, self.recipe.granularity, self.recipe.joint)
