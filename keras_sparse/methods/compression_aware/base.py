"""The base class of callbacks that train a dense model for compression in one shot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from keras import ops
from typing_extensions import Unpack

from keras_sparse.backend.compiled import compiled
from keras_sparse.engine.callback import SparseCallback
from keras_sparse.messages.arguments import number
from keras_sparse.messages.keywords import keywords_of, unknown_keyword
from keras_sparse.sparsity.allocation import check_sparsity
from keras_sparse.sparsity.granularity import NM
from keras_sparse.sparsity.masks import mask_change
from keras_sparse.sparsity.operators import LargestKept, TopK, get_operator
from keras_sparse.sparsity.recipe import CommonArguments
from keras_sparse.sparsity.selection import Selection


class CompressionAwareCallback(SparseCallback):
    """Base class: learns dense weights that compression operators do little harm to.

    Args:
        sparsities: Fractions of weights to remove, each in [0, 1), of which every step draws one;
            `None` for 0.5, 0.7 and 0.9, or for none if there are `operators`.
        operators: Further operators to draw from: see `get_operator`.
        **kwargs: `granularity` and `allocation` of the sparsities, `exclude`, `include`,
            `keep_dense`, `strict`, `seed`: see `SparseCallback`.

    Raises:
        ValueError: If there is no operator, or one that cannot be read.
    """

    @classmethod
    def for_run(
        cls, sparsity: float | None = None, granularity: Any = None, **common: Any
    ) -> CompressionAwareCallback:
        """Trains for the sparsity or pattern that the dense model is pruned to afterwards."""
        if isinstance(granularity, NM):
            return cls(operators=[granularity], **common)
        # Asked for nothing to be pruned, for which there is nothing to train, by its default.
        return cls(sparsity or None, granularity=granularity, **common)

    ends_sparse: ClassVar[bool] = False

    def __init__(
        self,
        sparsities: Sequence[float] | float | None = None,
        operators: Sequence[Any] | Any = (),
        **kwargs: Unpack[CommonArguments],
    ) -> None:
        if "sparsity" in kwargs:  # the base class has it, and these methods have several
            raise unknown_keyword(type(self).__name__, "sparsity", keywords_of(type(self)))
        super().__init__(**kwargs)
        one = isinstance(operators, str) or not isinstance(operators, Sequence)
        further = [operators] if one else list(operators)
        if sparsities is None:
            sparsities = () if further else (0.5, 0.7, 0.9)
        levels = (
            list(sparsities)
            if isinstance(sparsities, Sequence) and not isinstance(sparsities, str)
            else [sparsities]
        )
        self.operators = [
            *(TopK(check_sparsity(x, "sparsities"), self.recipe.granularity) for x in levels),
            *(get_operator(operator, "operators") for operator in further),
        ]
        if not self.operators:
            raise ValueError(
                f"{type(self).__name__} needs something to compress by and received none. Give "
                "sparsities=[0.5, 0.7, 0.9], operators=['2:4'] or operators=['4bit']."
            )
        self._before: list[list[np.ndarray]] | None = None
        self._choose: dict[Any, Any] = {}
        self._mask_change: float | None = None

    @property
    def sparsity_required(self) -> bool:
        """Whether there must be a sparsity."""
        return False

    def bound(self, selection: Selection) -> list[Any]:
        """The operators on the model's tensors."""
        common = self.recipe
        return [operator.bind(common, selection) for operator in self.operators]

    def _settings(self) -> dict[str, Any]:
        return {**super()._settings(), "_choose": {}}

    def _masks(self) -> list[list[np.ndarray]]:
        weights = [ops.convert_to_tensor(v) for v in self.selection.variables(self.model)]
        kept = [each for each in self.bound(self.selection) if isinstance(each, LargestKept)]
        return [
            [np.asarray(ops.convert_to_numpy(mask), bool) for mask in self._kept_by(each, weights)]
            for each in kept
        ]

    def _kept_by(self, operator: LargestKept, weights: list[Any]) -> list[Any]:
        """An operator's masks, chosen in one graph for all operators of its pattern."""
        pattern = operator.granularity, operator.joint
        if pattern not in self._choose:
            layouts = self.selection.layouts
            self._choose[pattern] = compiled(
                lambda weights, budget: operator.masks(weights, layouts, budget)
            )
        return self._choose[pattern](weights, ops.convert_to_tensor(operator.budget))

    def begin_epoch(self, epoch: int) -> None:
        """Remembers what the operators would keep."""
        super().begin_epoch(epoch)
        if self._before is None:
            self._before = self._masks()

    def end_epoch(self, epoch: int, logs: dict[str, float]) -> None:
        """Compares what the operators would keep with what they would have kept before."""
        before, self._before = self._before, self._masks()
        pairs = list(zip(before or [], self._before, strict=True))
        changes = [mask_change(old, new)["swapped"] for old, new in pairs]
        self._mask_change = float(np.mean(changes)) if changes else None

    def epoch_logs(self, epoch: int, logs: dict[str, float]) -> dict[str, float]:
        """How far the operators' masks moved in the epoch, on average over the operators."""
        return {} if self._mask_change is None else {"mask_change": self._mask_change}

    def uninstall(self) -> None:
        """Gives the model its own optimizer back."""
        super().uninstall()
        self._before, self._choose = None, {}


def check_rho(rho: float) -> float:
    """Checks the step of a perturbation.

    Raises:
        ValueError: If it is not a number greater than 0.
    """
    return number("rho", rho, "(0, inf)", "For no perturbation use TopKPlus or STE.")
