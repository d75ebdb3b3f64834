"""Mask exploration: weak weights are dropped, and as many others grow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from keras import ops
from numpy.typing import ArrayLike
from typing_extensions import Unpack

from keras_sparse.engine.callback import SparseCallback
from keras_sparse.engine.rule import Clock, Rule, Tensors, Update
from keras_sparse.engine.rules.planned import PlannedUpdates
from keras_sparse.messages.arguments import number
from keras_sparse.sparsity.bundles import Bundles
from keras_sparse.sparsity.duration import Duration, Run
from keras_sparse.sparsity.granularity import NM, Granularity
from keras_sparse.sparsity.masks import choose_masks, kept_counts, prune_further
from keras_sparse.sparsity.recipe import CommonArguments
from keras_sparse.sparsity.saliency import scores
from keras_sparse.sparsity.selection import Selection


class DropAndGrow(PlannedUpdates):
    """Drops a fraction of the kept weights, the smallest, and grows as many at random.

    A weight that grows starts from zero, and so do the optimizer's moments of it; one that was
    dropped in the same update and grows back goes on as it was. A method overrides how weights
    are dropped, how the growth is shared out over tensors, and where weights grow.

    Args:
        steps: Increasing integer steps of the updates.
        fractions: Fraction of the kept weights that each update drops.
        granularity: The pruning pattern.
        seed: Seed of random growth.
        dense_share: Fraction of the run's steps that compute gradients of all weights.
    """

    reset_grown: ClassVar[bool] = True

    def __init__(
        self,
        steps: ArrayLike,
        fractions: ArrayLike,
        granularity: Granularity,
        seed: int = 0,
        dense_share: float = 0.0,
    ) -> None:
        super().__init__(steps)
        self.fractions = np.asarray(fractions, "float32")
        self.granularity = granularity
        self.seed = seed
        self.dense_share = dense_share

    def dropped(self, fraction: Any, active: Any) -> Any:
        """How many weights to drop: the fraction of those kept, rounded down."""
        exact = fraction * ops.cast(active, "float32")
        return ops.cast(ops.floor(exact * (1 + 1e-6)), "int32")

    def before_drop(self, update: Any, tensors: Tensors) -> Tensors:
        """The tensors that an update drops from and grows in. By default as they are.

        Args:
            update: Integer scalar, which of the plan's updates it is.
            tensors: The pruned tensors.
        """
        return tensors

    def keep(self, update: Any, tensors: Tensors, active: Any) -> list[Any]:
        """Masks after the drop: in each tensor the largest weights.

        Args:
            update: Integer scalar, which of the plan's updates it is.
            tensors: The pruned tensors.
            active: How many weights of each tensor are kept before, shape `(tensors,)`.
        """
        fraction = ops.take(self.fractions, update)
        budget = active - self.dropped(fraction, active)
        return prune_further(
            tensors.weights, tensors.masks, self.layouts, budget, self.granularity, joint=False
        )

    def growth(self, kept: Sequence[Any], tensors: Tensors, active: Any) -> Any:
        """How many weights each tensor grows, shape `(tensors,)`: as many as it lost.

        Args:
            kept: The masks after the drop.
            tensors: The pruned tensors, before it.
            active: How many weights of each tensor were kept before, shape `(tensors,)`.
        """
        return active - kept_counts(kept)

    def grow_scores(self, clock: Clock, tensors: Tensors) -> Sequence[Any]:
        """Where weights grow: at those of largest absolute value. By default at random."""
        bundles = Bundles(tensors.weights)
        return bundles.split(bundles.uniform(self.seed, clock.step))

    def update_masks(self, clock: Clock, counters: Mapping[str, Any], tensors: Tensors) -> Update:
        """Drops, then grows among all that is not kept."""
        planned = self.planned(clock.step)
        left = self.before_drop(planned - 1, tensors)
        active = kept_counts(left.masks)
        kept = self.keep(planned - 1, left, active)
        grown = choose_masks(
            self.grow_scores(clock, left),
            self.layouts,
            self.growth(kept, left, active),
            self.granularity,
            joint=False,
            absolute=True,
            among=[ops.logical_not(mask) for mask in kept],
        )
        masks = [ops.logical_or(k, g) for k, g in zip(kept, grown, strict=True)]
        weights = None if left is tensors else left.weights
        return Update(masks, {"updates": planned}, weights=weights, survivors=left.masks)

    def trained_weights(
        self, masks: Sequence[np.ndarray], state: Mapping[str, Sequence[np.ndarray]]
    ) -> Sequence[float]:
        """The kept ones, and all where a step looks at the dense gradient."""
        share = self.dense_share
        return [share * mask.size + (1 - share) * np.count_nonzero(mask) for mask in masks]


def cosine_fractions(initial: float, steps: np.ndarray, last: int) -> np.ndarray:
    """`a / 2 (1 + cos(pi t / T))`: the drop fraction falls from `initial` to 0 at step `last`.

    Source: Evci et al. (2020), section 3.
    """
    return initial / 2 * (1 + np.cos(np.pi * np.asarray(steps) / last))


class Exploration(SparseCallback):
    """Base class of callbacks that start from random masks and explore others.

    Args:
        sparsity: Fraction of weights to remove, in [0, 1).
        drop_fraction: Fraction of the kept weights that an update drops, in (0, 1).
        every: Time between updates, as a `Duration` or what `Duration.of` takes. Defaults to 100
            steps, or a twentieth of the run where that is less.
        end: When exploration ends.
        **kwargs: Common arguments: see `SparseCallback`.
    """

    rule_class: ClassVar[type[DropAndGrow]] = DropAndGrow
    always_dense: ClassVar[bool] = False

    def __init__(
        self,
        sparsity: float | None = None,
        drop_fraction: float = 0.3,
        every: Any = None,
        end: Any = "75%",
        **kwargs: Unpack[CommonArguments],
    ) -> None:
        super().__init__(sparsity, **kwargs)
        check_unordered(self, self.recipe.granularity)
        self.drop_fraction = number("drop_fraction", drop_fraction, "(0, 1)")
        self.every = None if every is None else Duration.of(every, "every")
        self.end = Duration.of(end, "end")

    def fractions(self, steps: np.ndarray, last: int) -> np.ndarray:
        """The drop fraction of each update. By default constant."""
        return np.full(len(steps), self.drop_fraction)

    def make_rule(self, run: Run, selection: Selection, final: np.ndarray) -> Rule:
        """Updates every so often until exploration ends."""
        every = min(100, run.steps // 20) if self.every is None else self.every.to_steps(run)
        every, last = max(every, 1), min(self.end.to_steps(run), run.steps - 1)
        steps = np.arange(every, last + 1, every)
        if not len(steps):
            raise ValueError(
                f"{type(self).__name__} would never change its masks: the first update would be "
                f"at step {every}, and the last one may be at step {last} (end={self.end} of "
                f"{run.steps} steps). Lower every, or train longer."
            )
        looks = self.rule_class.uses_gradients
        share = 1.0 if self.always_dense else looks * len(steps) / run.steps
        return self.rule_class(
            steps,
            self.fractions(steps, last),
            self.recipe.granularity,
            self.seed or 0,
            dense_share=share,
        )

    def first_masks(self, selection: Selection, weights: list[Any]) -> list[Any]:
        """Random masks."""
        tensors = [ops.convert_to_tensor(weight) for weight in weights]
        return self.recipe.masks(selection, scores("random", tensors, self.seed))


def check_unordered(callback: SparseCallback, granularity: Granularity) -> None:
    """Refuses n:m patterns, whose groups leave no room to explore across.

    Raises:
        ValueError: If the granularity is n:m.
    """
    if isinstance(granularity, NM):
        raise ValueError(
            f"{type(callback).__name__} moves weights freely within a layer and cannot keep "
            f"{granularity}. Use SRSTE, ACDC or GMP for n:m patterns, or another granularity."
        )
