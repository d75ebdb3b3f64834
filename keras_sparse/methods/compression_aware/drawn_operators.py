"""One of several compression operators, drawn at random inside the compiled graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_sparse.backend.step_random import uniform
from keras_sparse.probe.layout import Layout
from keras_sparse.sparsity.masks import apply_mask
from keras_sparse.sparsity.operators import Compression, LargestKept, Quantize

_WHICH, _PLAIN = 0, 1


class DrawnOperators:
    """Operators of which each step draws one, each as likely as the others.

    What is drawn follows from the seed and the step alone: the same on every replica, after a
    resume, and inside a loop of compiled steps.

    Args:
        operators: The operators.
        seed: Seed of what is drawn.
    """

    def __init__(self, operators: Sequence[Compression], seed: int = 0) -> None:
        self.operators, self.seed = list(operators), seed
        # Operators of one pattern differ in nothing but their budgets, and share their graph.
        self._patterns: list[LargestKept | None] = []
        self._pattern_of: list[int] = []
        for operator in self.operators:
            self._pattern_of.append(self._place(operator))

    def _place(self, operator: Compression) -> int:
        own = operator if isinstance(operator, LargestKept) else None
        for i, known in enumerate(self._patterns):
            if _pattern(known) == _pattern(own):
                return i
        self._patterns.append(own)
        return len(self._patterns) - 1

    def drawn(self, step: Any) -> Any:
        """The place of the operator that a step uses, an integer scalar."""
        number = uniform((), self.seed, step, _WHICH) * len(self.operators)
        return ops.cast(number, "int32")

    def with_probability(self, probability: float, step: Any) -> Any:
        """Whether an event of the step occurs that does so with a probability."""
        return uniform((), self.seed, step, _PLAIN) < probability

    def masks(self, drawn: Any, weights: Sequence[Any], layouts: Sequence[Layout]) -> list[Any]:
        """The masks of the drawn operator, all True for a quantizer.

        Args:
            drawn: The operator's place.
            weights: Tensors of the layouts' shapes.
            layouts: Their layouts.
        """
        # Each pattern's masks are made and one is chosen: XLA takes minutes to compile branches
        # that hold the search for a threshold.
        pattern = ops.take(np.asarray(self._pattern_of, "int32"), drawn)
        chosen = self._pattern_masks(0, drawn, weights, layouts)
        for i in range(1, len(self._patterns)):
            own = self._pattern_masks(i, drawn, weights, layouts)
            chosen = [
                ops.where(ops.equal(pattern, i), mine, before)
                for mine, before in zip(own, chosen, strict=True)
            ]
        return chosen

    def _pattern_masks(
        self, pattern: int, drawn: Any, weights: Sequence[Any], layouts: Sequence[Layout]
    ) -> list[Any]:
        own = self._patterns[pattern]
        if own is None:
            return [ops.ones(layout.shape, "bool") for layout in layouts]
        # Rows of operators of another pattern are never used.
        budgets = np.stack(
            [
                o.budget if isinstance(o, LargestKept) and at == pattern else own.budget
                for o, at in zip(self.operators, self._pattern_of, strict=True)
            ]
        )
        return own.masks(weights, layouts, ops.take(budgets, drawn, axis=0))

    def compress(
        self,
        drawn: Any,
        weights: Sequence[Any],
        masks: Sequence[Any],
        layouts: Sequence[Layout],
    ) -> list[Any]:
        """The weights with the drawn operator's masks applied, or rounded by it.

        Args:
            drawn: The operator's place.
            weights: Tensors of the layouts' shapes.
            masks: Its masks.
            layouts: The weights' layouts.
        """
        values = [apply_mask(w, m) for w, m in zip(weights, masks, strict=True)]
        for i, operator in enumerate(self.operators):
            if isinstance(operator, Quantize):
                rounded = operator.compress(weights, layouts)
                values = [
                    ops.where(ops.equal(drawn, i), mine, before)
                    for mine, before in zip(rounded, values, strict=True)
                ]
        return values


def _pattern(operator: Any) -> tuple[Any, ...]:
    if not isinstance(operator, LargestKept):
        return ()
    return operator.granularity, operator.joint, operator.budget.shape
