"""Dense-sparse-dense training, and its finer variant: sparsity as a regularizer on the way."""

from __future__ import annotations

from typing import Any

import numpy as np
from typing_extensions import Unpack

from keras_sparse.engine.callback import SparseCallback
from keras_sparse.engine.rule import Rule
from keras_sparse.engine.rules.scheduled_masks import ScheduledMasks
from keras_sparse.messages.arguments import number
from keras_sparse.sparsity.duration import Duration, Run
from keras_sparse.sparsity.recipe import CommonArguments
from keras_sparse.sparsity.selection import Selection


class _SparsePhases(SparseCallback):
    """Training whose sparse phases end before the run does: the final model is dense."""

    ends_sparse = False

    def _phases(
        self, run: Run, selection: Selection, final: np.ndarray, steps: Any, shares: Any
    ) -> Rule:
        """Masks at given steps, each at a share of the sparsity; a share of 0 is a dense phase."""
        sparsities = np.multiply.outer(np.append(0.0, shares), final)
        budgets = self.recipe.budgets(selection, sparsities)
        return ScheduledMasks(steps, budgets, self.recipe.granularity, self.recipe.joint)


class DSD(_SparsePhases):
    """Dense-sparse-dense training: prune in the middle of the run, and restore what was pruned.

    The model is trained dense, then with its smallest weights cut off, and dense again with those
    starting from zero. It ends dense: the sparse phase is there to find better weights.

    ```python
    model.fit(x, y, epochs=30, callbacks=[ks.DSD(sparsity=0.3)])
    ```

    Args:
        sparsity: Fraction of weights that the sparse phase removes, in [0, 1). The source takes
            0.25 to 0.5.
        prune: When the sparse phase begins. Defaults to a third of the run.
        restore: When it ends. Defaults to two thirds of the run.
        **kwargs: `granularity`, `allocation`, `exclude`, `include`, `keep_dense`, `strict`, `seed`:
            see `SparseCallback`.

    Raises:
        ValueError: At construction for arguments out of range; before the first step for phases
            that do not follow each other within the run.

    Source: Han et al. (2017).
    """

    def __init__(
        self,
        sparsity: float | None = None,
        prune: Any = "33.4%",
        restore: Any = "66.7%",
        **kwargs: Unpack[CommonArguments],
    ) -> None:
        super().__init__(sparsity, **kwargs)
        self.prune, self.restore = Duration.of(prune, "prune"), Duration.of(restore, "restore")

    def make_rule(self, run: Run, selection: Selection, final: np.ndarray) -> Rule:
        """Masks at `prune`, none from `restore` on."""
        prune, restore = self.prune.to_steps(run), self.restore.to_steps(run)
        if not prune < restore < run.steps:
            raise ValueError(
                f"prune={self.prune} (step {prune}) must come before restore={self.restore} (step "
                f"{restore}), and that before the end of the run ({run.steps} steps)."
            )
        return self._phases(run, selection, final, [prune, restore], [1.0, 0.0])


class SkinnyIHT(_SparsePhases):
    """Alternates sparse and dense phases at a low, rising sparsity, and ends dense.

    Each period begins with a sparse phase and ends with a dense one, in which pruned weights
    start from zero. The sparsity rises from period to period up to the given one.

    ```python
    model.fit(x, y, epochs=30, callbacks=[ks.SkinnyIHT(sparsity=0.5)])
    ```

    Args:
        sparsity: Fraction of weights that the last sparse phase removes, in [0, 1).
        period: Length of a sparse and a dense phase together. Defaults to two epochs.
        sparse_share: Part of each period that is sparse, in (0, 1).
        begin: When the first period begins. Defaults to a tenth of the run.
        **kwargs: `granularity`, `allocation`, `exclude`, `include`, `keep_dense`, `strict`, `seed`:
            see `SparseCallback`.

    Raises:
        ValueError: At construction for arguments out of range; before the first step if no whole
            period fits into the run.

    Source: Jin et al. (2016), as described in Peste (2023), 3.2.
    """

    def __init__(
        self,
        sparsity: float | None = None,
        period: Any = 2,
        sparse_share: float = 0.5,
        begin: Any = "10%",
        **kwargs: Unpack[CommonArguments],
    ) -> None:
        super().__init__(sparsity, **kwargs)
        self.period, self.begin = Duration.of(period, "period"), Duration.of(begin, "begin")
        self.sparse_share = number("sparse_share", sparse_share, "(0, 1)")

    def make_rule(self, run: Run, selection: Selection, final: np.ndarray) -> Rule:
        """Sparse and dense phases in turn."""
        period, begin = self.period.to_steps(run), self.begin.to_steps(run)
        sparse = round(period * self.sparse_share)
        periods = (run.steps - begin - sparse - 1) // max(period, 1) + 1
        if not 0 < sparse < period or periods < 1:
            raise ValueError(
                f"No sparse and dense phase fit into the run: period={self.period} is {period} "
                f"steps, of which {sparse} are sparse, and the run has {run.steps} steps of which "
                f"{begin} come before begin={self.begin}."
            )
        starts = begin + period * np.arange(periods)
        rising = (np.arange(periods) + 1) / periods
        steps = np.stack([starts, starts + sparse], axis=1).ravel()
        shares = np.stack([rising, np.zeros(periods)], axis=1).ravel()
        return self._phases(run, selection, final, steps, shares)
