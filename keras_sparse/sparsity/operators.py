"""Compression operators: what trained weights are turned into at once, by a mask or by rounding."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, TypeAlias

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from keras_sparse.messages.arguments import integer, is_number, wrong
from keras_sparse.probe.layout import Layout
from keras_sparse.sparsity.allocation import Allocation, check_allocation, check_sparsity
from keras_sparse.sparsity.granularity import NM, Granularity, get_granularity
from keras_sparse.sparsity.masks import apply_mask, largest_masks
from keras_sparse.sparsity.recipe import Recipe
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
        return largest_masks(weights, layouts, kept, self.granularity, self.joint)

    def compress(self, weights: Sequence[Any], layouts: Sequence[Layout]) -> list[Any]:
        """The weights with exact zeros where they are not kept."""
        masks = self.masks(weights, layouts)
        return [apply_mask(w, m) for w, m in zip(weights, masks, strict=True)]

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, serialized."""
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
            object.__setattr__(self, "sparsity", check_sparsity(self.sparsity))
        if self.allocation is not None:
            object.__setattr__(self, "allocation", check_allocation(self.allocation))
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
        budget = own.budget(selection)
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
        object.__setattr__(self, "bits", integer("bits", self.bits, 2, 16))

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


def get_operator(value: Any, name: str = "operator") -> Operator:
    """Reads an operator.

    Args:
        value: A `TopK`, a `Quantize`, a sparsity such as 0.9, an n:m pattern such as
            `NM(2, 4)` or `"2:4"`, or a number of bits such as `"4bit"`.
        name: The name of the argument, for errors.

    Raises:
        ValueError: If it is none of these.
    """
    if isinstance(value, (TopK, Quantize)):
        return value
    if is_number(value):
        return TopK(check_sparsity(value, name))
    if isinstance(value, NM):
        return TopK(granularity=value)
    if isinstance(value, str):
        bits = value.removesuffix("bit")
        if bits != value and bits.isdigit():
            return Quantize(int(bits))
        if ":" in value:
            return TopK(granularity=value)
    raise wrong(
        name,
        value,
        "a sparsity such as 0.9, a pattern such as '2:4' or NM(2, 4), bits such as '4bit', "
        "TopK(...) or Quantize(...)",
    )
