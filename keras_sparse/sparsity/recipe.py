"""What is pruned, how much and in which pattern: the arguments that every method shares."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Any, TypedDict

import keras
import numpy as np

from keras_sparse.messages.arguments import boolean
from keras_sparse.messages.warning import SparsityWarning
from keras_sparse.sparsity.allocation import (
    Allocation,
    check_allocation,
    check_sparsity,
    final_sparsities,
)
from keras_sparse.sparsity.granularity import NM, Granularity, get_granularity
from keras_sparse.sparsity.masks import choose_masks, mask_budgets
from keras_sparse.sparsity.reasons import check_keep_dense
from keras_sparse.sparsity.selection import Selection, Which, check_layers, select


class LayerArguments(TypedDict, total=False):
    """Which layers are pruned: the keyword arguments of everything that prunes."""

    exclude: Which
    include: Which
    keep_dense: str | Iterable[str]
    strict: bool


class PatternArguments(LayerArguments, total=False):
    """Which layers are pruned, and in which pattern."""

    granularity: Granularity | str | None


class RecipeArguments(PatternArguments, total=False):
    """The keyword arguments that all functions share that prune."""

    allocation: Allocation


class CommonArguments(RecipeArguments, total=False):
    """The keyword arguments that all methods of training share, by the names of `SparseCallback`.

    A method takes them as `**kwargs: Unpack[CommonArguments]`, by which an editor knows them.
    """

    seed: int | None


class Recipe:
    """The common arguments of pruning methods, checked, and what follows from them.

    Args:
        sparsity: Fraction of weights to remove, in [0, 1). May be left out with an n:m pattern,
            which fixes it, or with a mapping, whose other layers then stay dense.
        granularity: `Unstructured()`, `NM(n, m)`, `Block(rows, cols)`, `Channel()`, `"n:m"`, or
            `"xnnpack"`, which gives each layer the pattern that the runtime computes faster.
        allocation: `"global"`, `"uniform"`, `"er"`, `"erk"` or a mapping from layer names or
            globs to sparsities.
        exclude: Layers, names, globs or a predicate of what stays dense.
        include: The same of what is pruned though it would not be by default.
        keep_dense: Any of `"first"`, `"last"`, `"depthwise"`.
        strict: Whether a layer of which nothing is left is an error rather than a warning.
        sparsity_required: Whether there must be a sparsity.

    Raises:
        ValueError: If an argument is out of range, or two contradict each other.
    """

    def __init__(
        self,
        sparsity: float | None,
        *,
        granularity: Granularity | str | None = None,
        allocation: Allocation = "global",
        exclude: Which = (),
        include: Which = (),
        keep_dense: Any = (),
        strict: bool = False,
        sparsity_required: bool = True,
    ) -> None:
        self.granularity = get_granularity(granularity)
        self.allocation = check_allocation(allocation)
        self.exclude = check_layers("exclude", exclude)
        self.include = check_layers("include", include)
        self.strict = boolean("strict", strict)
        self.keep_dense = check_keep_dense(keep_dense)
        self.sparsity = self._check_sparsity(sparsity, sparsity_required)

    def _check_sparsity(self, sparsity: float | None, required: bool) -> float | None:
        pattern = self.granularity.sparsity if isinstance(self.granularity, NM) else None
        if sparsity is None:
            if pattern is None and not isinstance(self.allocation, dict) and required:
                raise ValueError("A sparsity is needed, such as sparsity=0.9.")
            return pattern
        check_sparsity(sparsity)
        if pattern is not None and abs(pattern - sparsity) > 1e-9:
            raise ValueError(
                f"{self.granularity} fixes the sparsity at {pattern:g}. Received: "
                f"sparsity={sparsity}. Leave sparsity out, or choose another pattern."
            )
        return float(sparsity)

    def replaced(
        self,
        *,
        sparsity: float | None,
        granularity: Granularity | str | None,
        allocation: Allocation | None = None,
    ) -> Recipe:
        """The same choice of layers with another sparsity, pattern and, if given, allocation.

        Raises:
            ValueError: If they contradict each other.
        """
        return Recipe(
            sparsity,
            granularity=granularity,
            allocation=self.allocation if allocation is None else allocation,
            exclude=self.exclude,
            include=self.include,
            keep_dense=self.keep_dense,
            strict=self.strict,
        )

    @property
    def joint(self) -> bool:
        """Whether all tensors share one ranking."""
        return self.allocation == "global"

    def select(self, model: keras.Model) -> Selection:
        """The weights of a model that are pruned, and the reasons for the others.

        Raises:
            ValueError: If nothing can be pruned, or a name means nothing.
        """
        selection = select(
            model,
            exclude=self.exclude,
            include=self.include,
            keep_dense=self.keep_dense,
            granularity=self.granularity,
        )
        if not isinstance(self.allocation, dict):
            return selection
        open_ = np.isnan(self.final(selection))
        left_out = {t.path for t, is_open in zip(selection.targets, open_, strict=True) if is_open}
        return selection.restricted_to(
            lambda target: "not named in allocation" if target.path in left_out else None
        )

    def final(self, selection: Selection) -> np.ndarray:
        """The sparsity asked for, shape `()`, or `(targets,)` with a mapping."""
        names = [target.names for target in selection.targets]
        return final_sparsities(self.allocation, self.sparsity, names)

    def budgets(self, selection: Selection, sparsities: np.ndarray) -> np.ndarray:
        """What may be kept at each of several sparsities, a row each. See `mask_budgets`."""
        layouts = selection.layouts
        return mask_budgets(self.granularity, self.allocation, layouts, sparsities)

    def budget(self, selection: Selection) -> np.ndarray:
        """What may be kept at the final sparsity. See `mask_budgets`."""
        return self.budgets(selection, self.final(selection)[None])[0]

    def masks(
        self, selection: Selection, scores: Sequence[Any], *, absolute: bool = False
    ) -> list[Any]:
        """Masks that keep the highest scores, or absolute scores, at the final sparsity."""
        return choose_masks(
            scores,
            selection.layouts,
            self.budget(selection),
            self.granularity,
            self.joint,
            absolute=absolute,
        )

    def check_filled(self, selection: Selection, kept: Iterable[int]) -> None:
        """Warns of layers of which nothing is left: no signal passes there.

        Args:
            selection: What is pruned.
            kept: How many weights each of its targets keeps.

        Raises:
            ValueError: If there are such layers and the recipe is strict.
        """
        pairs = zip(selection.targets, kept, strict=True)
        empty = [target.path for target, count in pairs if count == 0]
        if not empty:
            return
        message = (
            f"Nothing is left of {', '.join(empty)}: no signal passes there. Ask for a lower "
            "sparsity, leave the layer dense (exclude=...), or choose an allocation that gives "
            "each layer its share (allocation='uniform' or 'erk')."
        )
        if self.strict:
            raise ValueError(message)
        warnings.warn(message, SparsityWarning, stacklevel=3)
