"""Training with a mask that never changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from keras import ops
from typing_extensions import Unpack

from keras_sparse.engine.callback import SparseCallback
from keras_sparse.engine.rule import Rule
from keras_sparse.messages.arguments import one_of, wrong
from keras_sparse.messages.names import unknown_name
from keras_sparse.sparsity.duration import Run
from keras_sparse.sparsity.recipe import CommonArguments
from keras_sparse.sparsity.saliency import SALIENCIES, scores
from keras_sparse.sparsity.selection import Selection

_CURRENT = "current"


class StaticMask(SparseCallback):
    """Trains with masks that are chosen before the first step and never change.

    ```python
    model.fit(x, y, epochs=30, callbacks=[ks.StaticMask(sparsity=0.9)])  # random at init
    model.fit(x, y, epochs=5, callbacks=[ks.StaticMask(mask="current")])  # fine-tune a sparse model
    ```

    Args:
        sparsity: Fraction of weights to remove, in [0, 1). Left out where the mask says it.
        mask: `"random"`, `"magnitude"` (of the weights at the start), `"current"` (the zeros
            that the model has), or masks: boolean arrays, either a mapping from layer names or
            variable paths, or a list in the order of the weights to prune.
        **kwargs: `granularity`, `allocation`, `exclude`, `include`, `keep_dense`, `strict`, `seed`:
            see `SparseCallback`.

    Raises:
        ValueError: For a sparsity together with given masks, unknown names, masks of the wrong
            shape, or a model with nothing to prune.

    Source: the random and magnitude baselines at initialization of Lee (2020), chapter 4.
    """

    command = "static"

    def __init__(
        self, sparsity: float | None = None, mask: Any = "random", **kwargs: Unpack[CommonArguments]
    ) -> None:
        self.mask = _checked_mask(mask)
        if not self.sparsity_required and sparsity is not None:
            raise ValueError(
                "sparsity follows from the mask when mask is 'current' or masks. "
                f"Received: sparsity={sparsity}. Leave one of the two out."
            )
        super().__init__(sparsity, **kwargs)

    @property
    def sparsity_required(self) -> bool:
        """Whether there must be a sparsity."""
        return isinstance(self.mask, str) and self.mask != _CURRENT

    def make_rule(self, run: Run, selection: Selection, final: np.ndarray) -> Rule:
        """A rule that keeps its masks."""
        return Rule()

    def first_masks(self, selection: Selection, weights: list[Any]) -> list[Any]:
        """The masks to train with."""
        if self.mask == _CURRENT:
            return [ops.convert_to_numpy(weight) != 0 for weight in weights]
        if not self.sparsity_required:
            return self._given_masks(selection)
        tensors = [ops.convert_to_tensor(weight) for weight in weights]
        return self.recipe.masks(selection, scores(self.mask, tensors, self.seed))

    def _given_masks(self, selection: Selection) -> list[np.ndarray]:
        targets = selection.targets
        if isinstance(self.mask, Mapping):
            by_target: list[Any] = [None] * len(targets)
            for name, mask in self.mask.items():
                hits = [i for i, target in enumerate(targets) if name in target.names]
                if not hits:
                    raise unknown_name("layer in mask", name, [t.path for t in targets])
                for i in hits:
                    by_target[i] = mask
            masks = [
                np.ones(t.layout.shape, bool) if m is None else m
                for t, m in zip(targets, by_target, strict=True)
            ]
        else:
            masks = list(self.mask)
        shapes = [np.shape(mask) for mask in masks]
        wanted = [target.layout.shape for target in targets]
        if shapes != wanted:
            raise ValueError(
                "masks must have the shapes of the weights to prune, "
                f"{[(t.path, t.layout.shape) for t in targets]}. Received shapes: {shapes}"
            )
        return [np.asarray(mask, bool) for mask in masks]


def _checked_mask(mask: Any) -> Any:
    """A name, a mapping of boolean arrays, or a list of them."""
    if isinstance(mask, str):
        return one_of("mask", mask, (*SALIENCIES, _CURRENT))
    allowed = "'random', 'magnitude', 'current', or boolean arrays in a mapping or a list"
    if not isinstance(mask, (Mapping, list, tuple)) or not mask:
        raise wrong("mask", mask, allowed)
    masks = mask.values() if isinstance(mask, Mapping) else mask
    for each in masks:
        if not isinstance(each, (list, tuple)) and not hasattr(each, "shape"):
            raise wrong("mask", mask, allowed)
        values = np.asarray(each)
        if not np.isin(values, (0, 1)).all():
            cure = "Of scores or weights make masks first, such as score > threshold."
            raise wrong("mask", mask, allowed, cure)
    return mask
