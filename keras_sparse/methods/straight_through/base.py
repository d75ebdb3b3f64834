"""The base class of callbacks that keep the largest weights from the first step on."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from keras import ops
from typing_extensions import Unpack

from keras_sparse.engine.callback import SparseCallback
from keras_sparse.engine.rule import Rule
from keras_sparse.engine.rules.dense_learning import TopKMasks
from keras_sparse.sparsity.duration import Duration, Run
from keras_sparse.sparsity.recipe import CommonArguments
from keras_sparse.sparsity.selection import Selection


class TopKCallback(SparseCallback):
    """Base class: constant sparsity from the first step, masks by magnitude chosen anew.

    Each layer has the same sparsity unless asked otherwise. Magnitudes of initial weights, from
    which training starts here, do not compare between layers: they follow from the layers' widths,
    and wide layers that get nothing in a common ranking stay dead.

    Args:
        sparsity: Fraction of weights to remove, in [0, 1).
        every: Time between updates, as a `Duration` or what `Duration.of` takes.
        **kwargs: Common arguments: see `SparseCallback`; `allocation` is `"uniform"` by default.
    """

    rule_class: ClassVar[type[TopKMasks]]

    def __init__(
        self, sparsity: float | None = None, every: Any = "1st", **kwargs: Unpack[CommonArguments]
    ) -> None:
        kwargs.setdefault("allocation", "uniform")
        super().__init__(sparsity, **kwargs)
        self.every = Duration.of(every, "every")

    def make_rule(self, run: Run, selection: Selection, final: np.ndarray) -> Rule:
        """Masks of the largest weights."""
        return self.rule_class(
            self.recipe.budget(selection),
            self.recipe.granularity,
            self.recipe.joint,
            max(self.every.to_steps(run), 1),
            **self.rule_arguments(run, selection, final),
        )

    def rule_arguments(self, run: Run, selection: Selection, final: np.ndarray) -> dict[str, Any]:
        """The rule's further arguments."""
        return {}

    def first_masks(self, selection: Selection, weights: list[Any]) -> list[Any]:
        """The largest of the initial weights."""
        tensors = [ops.convert_to_tensor(weight) for weight in weights]
        return self.recipe.masks(selection, tensors, absolute=True)
