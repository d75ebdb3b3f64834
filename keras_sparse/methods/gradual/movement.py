"""Movement pruning: weights are kept that move away from zero."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike
from typing_extensions import Unpack

from keras_sparse.engine.callback import SparseCallback
from keras_sparse.engine.rule import Clock, Rule, Tensors, Update
from keras_sparse.engine.rules.scheduled_masks import ScheduledMasks
from keras_sparse.messages.arguments import boolean, number, wrong
from keras_sparse.sparsity.duration import Run
from keras_sparse.sparsity.granularity import Granularity
from keras_sparse.sparsity.recipe import CommonArguments
from keras_sparse.sparsity.schedules import Polynomial, Schedule, checked_schedule
from keras_sparse.sparsity.selection import Selection

_SCORES = "scores"


class _Scores(Rule):
    """Learns a score for each weight: `S <- S - eta_S (g W + penalty)`, g at the kept weights."""

    uses_gradients = True
    shadow = True
    masks_follow_step = True
    score_learning_rate: float
    penalty: float

    def initial_state(self, weights: Sequence[Any]) -> Mapping[str, Sequence[Any]]:
        """Scores of zero."""
        return {_SCORES: [ops.zeros_like(weight) for weight in weights]}

    def update_state(self, clock: Clock, tensors: Tensors) -> Mapping[str, Sequence[Any]]:
        """The straight-through gradient step of the scores."""
        new = []
        for s, g, w in zip(tensors.state[_SCORES], tensors.gradients, tensors.weights, strict=True):
            slope = g * w
            if self.penalty:
                slope += self.penalty * ops.sigmoid(s) * (1 - ops.sigmoid(s))
            new.append(s - self.score_learning_rate * slope)
        return {_SCORES: new}

    def trained_weights(
        self, masks: Sequence[np.ndarray], state: Mapping[str, Sequence[np.ndarray]]
    ) -> Sequence[float]:
        """All: the scores of pruned weights learn as well."""
        return [float(mask.size) for mask in masks]


@keras.saving.register_keras_serializable(package="keras_sparse")
class MovementRule(_Scores, ScheduledMasks):
    """Keeps the weights of the highest scores, as many as the schedule says."""

    def __init__(
        self,
        steps: ArrayLike,
        budgets: ArrayLike,
        granularity: Granularity,
        joint: bool,
        resets: ArrayLike | None = None,
        reset_buffers: str = "none",
        score_learning_rate: float = 1.0,
    ) -> None:
        ScheduledMasks.__init__(self, steps, budgets, granularity, joint, resets, reset_buffers)
        self.score_learning_rate, self.penalty = score_learning_rate, 0.0

    def scores(self, tensors: Tensors) -> Sequence[Any]:
        """The learned scores."""
        return tensors.state[_SCORES]


@keras.saving.register_keras_serializable(package="keras_sparse")
class SoftMovementRule(_Scores):
    """Keeps the weights whose scores are above a threshold."""

    def __init__(
        self, threshold: float = 0.0, penalty: float = 0.0, score_learning_rate: float = 1.0
    ) -> None:
        self.threshold, self.penalty = threshold, penalty
        self.score_learning_rate = score_learning_rate

    def due(self, step: Any, counters: Mapping[str, Any]) -> Any:
        """At every step."""
        return ops.ones((), "bool")

    def update_masks(self, clock: Clock, counters: Mapping[str, Any], tensors: Tensors) -> Update:
        """`1[S > tau]`."""
        return Update([s > self.threshold for s in tensors.state[_SCORES]], {})


class MovementPruning(SparseCallback):
    """Keeps weights that training moves away from zero, whatever their size.

    Made for fine-tuning a trained model. Each weight has a score, which rises when a step moves
    the weight away from zero and falls when it moves it towards zero. Hard: the highest scores
    are kept, as many as a cubic schedule says. Soft: all scores above a threshold are kept, and a
    penalty pushes scores down; the sparsity then comes of both.

    ```python
    model.fit(x, y, epochs=6, callbacks=[ks.MovementPruning(sparsity=0.85)])
    model.fit(x, y, epochs=6, callbacks=[ks.MovementPruning(soft=True, penalty=1e-5)])
    ```

    Args:
        sparsity: Fraction of weights to remove in the end, in [0, 1). Left out when soft, with
            `granularity=NM(n, m)`, which fixes it, or with a mapping as `allocation`.
        schedule: A `Schedule` for the hard variant. Defaults to cubic from a tenth to four fifths
            of the run, every 10 steps.
        score_learning_rate: eta_S, greater than 0, a constant.
        soft: Whether to keep what is above `threshold`.
        threshold: tau, for the soft variant; scores start at 0. Defaults to -0.01.
        penalty: lambda of `lambda sum sigmoid(S)`, >= 0, for the soft variant.
        **kwargs: `granularity`, `allocation`, `exclude`, `include`, `keep_dense`, `strict`, `seed`:
            see `SparseCallback`.

    Raises:
        ValueError: At construction for arguments out of range or of the other variant; before
            the first step for a schedule that does not fit the run.

    Source: Sanh et al. (2020).
    """

    command = "movement"

    def __init__(
        self,
        sparsity: float | None = None,
        schedule: Schedule | None = None,
        score_learning_rate: float = 1.0,
        soft: bool = False,
        threshold: float = -0.01,
        penalty: float = 0.0,
        **kwargs: Unpack[CommonArguments],
    ) -> None:
        self.soft = boolean("soft", soft)
        super().__init__(sparsity, **kwargs)
        self.schedule = checked_schedule(schedule) or Polynomial("10%", "80%", "10st")
        self.score_learning_rate = number("score_learning_rate", score_learning_rate, "(0, inf)")
        self.threshold = number("threshold", threshold)
        self.penalty = number("penalty", penalty, "[0, inf)")
        if penalty and not soft:
            raise wrong("penalty", penalty, "0 without soft=True, whose penalty it is")
        if soft and (sparsity is not None or schedule is not None):
            raise ValueError(
                "soft=True has neither sparsity nor schedule: the sparsity follows from threshold "
                "and penalty. Leave them out, or take soft=False."
            )

    @property
    def sparsity_required(self) -> bool:
        """Whether there must be a sparsity."""
        return not self.soft

    def make_rule(self, run: Run, selection: Selection, final: np.ndarray) -> Rule:
        """Masks by the learned scores."""
        if self.soft:
            return SoftMovementRule(self.threshold, self.penalty, self.score_learning_rate)
        steps, sparsities = self.schedule.sparsities(run, final)
        dense = np.zeros_like(sparsities[:1])
        return MovementRule(
            steps,
            self.recipe.budgets(selection, np.concatenate([dense, sparsities])),
            self.recipe.granularity,
            self.recipe.joint,
            score_learning_rate=self.score_learning_rate,
        )
