"""Compression operators: what trained weights are turned into at once, by a mask or by rounding."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, TypeAlias

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from keras_sparse.probe.layout import Layout
from keras_sparse.sparsity.allocation import Allocation, check_allocation, check_sparsity
from keras_sparse.sparsity.granularity import NM, Granularity, get_granularity
from keras_sparse.sparsity.masks import apply_mask, choose_masks
from keras_sparse.sparsity.recipe import Recipe
from keras_sparse.sparsity.saliency import magnitude
from keras_sparse.sparsity.selection import Selection, check_fit

_PACKAGE = "keras_sparse"


@keras.saving.register_keras_serializable(_PACKAGE)
class LargestKept:
    """A `TopK` that knows the tensors it is for: how much of each is kept.

    Args:
        budget: What may be kept, one row of `mask_budgets`.
        granularity: The pruning pattern.
        joint: Whether all tensors share one ranking.
    """

    def __init__(self, budget: ArrayLike, granularity: Granularity, joint: bool) -> None:
        self.budget = np.asarray(budget, "int32")
        self.granularity, self.joint = granularity, joint

    def masks(self, weights: Sequence[Any], layouts: Sequence[Layout], budget: Any = None) -> Any:
        """Boolean tensors, True where a weight is kept.

        Args:
            weights: Tensors of the layouts' shapes.
            layouts: Their layouts.
            budget: Another row of `mask_budgets` in place of its own.
        """
        kept = self.budget if budget is None else budget
        return choose_masks(magnitude(weights), layouts, kept, self.granularity, self.joint)

    def compress(self, weights: Sequence[Any], layouts: Sequence[Layout]) -> list[Any]:
        """The weights with exact zeros where they are not kept."""
        masks = self.masks(weights, layouts)
        return [apply_mask(w, m) for w, m in zip(weights, masks, strict=True)]

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, serialised."""
        return {
            "budget": self.budget.tolist(),
            "granularity": keras.saving.serialize_keras_object(self.granularity),
            "joint": self.joint,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> LargestKept:
        """Builds the operator from `get_config`."""
        granularity = keras.saving.deserialize_keras_object(config["granularity"])
        return cls(**{**config, "granularity": granularity})


@dataclasses.dataclass(frozen=True)
class TopK:
    """Keeps the largest weights: single ones, n of every m, blocks or channels.

    Args:
        sparsity: Fraction of weights to remove, in [0, 1). Left out for an n:m pattern, which
            fixes it.
        granularity: `Unstructured()`, `NM(n, m)`, `Block(rows, cols)`, `Channel()` or a string
            such as `"2:4"`. Defaults to single weights.
        allocation: `"global"`, `"uniform"`, `"er"`, `"erk"` or a mapping. Defaults to that of
            the method that it is given to.

    Raises:
        ValueError: If an argument is out of range.
    """

    sparsity: float | None = None
    granularity: Granularity | str | None = None
    allocation: Allocation | None = None

    def __post_init__(self) -> None:
        if self.sparsity is not None:
            check_sparsity(self.sparsity)
        if self.allocation is not None:
            check_allocation(self.allocation)
        granularity = get_granularity(self.granularity)
        if self.sparsity is None and not isinstance(granularity, NM):
            raise ValueError("TopK needs a sparsity, such as TopK(0.9), or an n:m granularity.")
        object.__setattr__(self, "granularity", granularity)

    @property
    def label(self) -> str:
        """Such as `"90%"` and `"2:4"`."""
        pattern = self.granularity
        if isinstance(pattern, NM):
            return f"{pattern.n}:{pattern.m}"
        own = "" if pattern == get_granularity(None) else f" {type(pattern).__name__.lower()}"
        return f"{100 * float(self.sparsity or 0):g}%{own}"

    def recipe(self, recipe: Recipe) -> Recipe:
        """A method's common arguments with the operator's own in their place."""
        return recipe.replaced(
            sparsity=self.sparsity, granularity=self.granularity, allocation=self.allocation
        )

    def bind(self, recipe: Recipe, selection: Selection) -> LargestKept:
        """The operator on particular tensors.

        Args:
            recipe: The common arguments of the method that it is given to.
            selection: The tensors.

        Raises:
            ValueError: If the pattern does not fit one of them.
        """
        own = self.recipe(recipe)
        check_fit(selection, own.granularity)
        budget = own.budgets(selection, own.final(selection)[None])[0]
        return LargestKept(budget, own.granularity, own.joint)


@keras.saving.register_keras_serializable(_PACKAGE)
@dataclasses.dataclass(frozen=True)
class Quantize:
    """Rounds weights to a few bits: symmetric, by output channel, to the nearest level.

    `S = max |w| / (2^(b-1) - 1)` of each output channel and `Q(w) = S round(w / S)`. 4 bits are
    the 15 levels -7 to 7. A channel of zeros stays. Activations, biases and normalization are
    left alone.

    Args:
        bits: 2 to 16.

    Raises:
        ValueError: If it is not.

    Source: Peste et al. (2023), 5.4.1, "Quantization".
    """

    bits: int

    def __post_init__(self) -> None:
        if (
            isinstance(self.bits, bool)
            or not isinstance(self.bits, int)
            or not 2 <= self.bits <= 16
        ):
            raise ValueError(f"bits must be an integer from 2 to 16. Received: bits={self.bits!r}")

    @property
    def label(self) -> str:
        """Such as `"4bit"`."""
        return f"{self.bits}bit"

    def bind(self, recipe: Recipe, selection: Selection) -> Quantize:
        """Itself: it fits every tensor."""
        return self

    def compress(self, weights: Sequence[Any], layouts: Sequence[Layout]) -> list[Any]:
        """The rounded weights."""
        return [self.rounded(w, layout) for w, layout in zip(weights, layouts, strict=True)]

    def rounded(self, weight: Any, layout: Layout) -> Any:
        """One tensor's weights on the levels of their channels."""
        matrix = layout.to_matrix(ops.cast(weight, "float32"))
        top = 2 ** (self.bits - 1) - 1
        largest = ops.max(ops.abs(matrix), axis=(0, 1), keepdims=True)
        scale = ops.where(largest > 0, largest / top, ops.ones_like(largest))
        codes = ops.clip(ops.round(matrix / scale), -top, top)
        return ops.cast(layout.from_matrix(scale * codes), weight.dtype)

    def get_config(self) -> dict[str, Any]:
        """The constructor's argument."""
        return {"bits": self.bits}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Quantize:
        """Builds the operator from `get_config`."""
        return cls(**config)


Operator: TypeAlias = TopK | Quantize
Compression: TypeAlias = LargestKept | Quantize


def get_operator(value: Any) -> Operator:
    """Reads an operator.

    Args:
        value: A `TopK`, a `Quantize`, a sparsity such as 0.9, an n:m pattern such as
            `NM(2, 4)` or `"2:4"`, or a number of bits such as `"4bit"`.

    Raises:
        ValueError: If it is none of these.
    """
    if isinstance(value, (TopK, Quantize)):
        return value
    if isinstance(value, (int, float, np.floating)) and not isinstance(value, bool):
        return TopK(float(value))
    if isinstance(value, NM):
        return TopK(granularity=value)
    if isinstance(value, str):
        bits = value.removesuffix("bit")
        if bits != value and bits.isdigit():
            return Quantize(int(bits))
        if ":" in value:
            return TopK(granularity=value)
    raise ValueError(
        "An operator is a sparsity such as 0.9, a pattern such as '2:4' or NM(2, 4), bits such as "
        f"'4bit', TopK(...) or Quantize(...). Received: {value!r}"
    )
