"""A model for another task: a copy with new heads, and how sparse it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from keras_sparse.probe.nonzeros import count_nonzero
from keras_sparse.sparsity.report import report
from keras_sparse.sparsity.selection import survey
from keras_sparse.transfer.heads import with_new_heads
from keras_sparse.transfer.result import Transfer


class Backbone:
    """A copy of an upstream model with new heads.

    Args:
        model: The upstream model.
        classes: As for `replace_head`, like `head`, `initializer` and `seed`.
        head: See there.
        initializer: See there.
        seed: See there.
        dense: Whether the model may be without zeros.

    Attributes:
        copy: The copy.
        heads: Its new layers.

    Raises:
        ValueError: If no weight is zero and the model is not said to be dense.
    """

    def __init__(
        self,
        model: keras.Model,
        classes: int | None,
        head: Any,
        initializer: Any,
        seed: int | None,
        dense: bool,
    ) -> None:
        self.copy, self.heads = with_new_heads(model, classes, head, initializer, seed)
        self.sparsity = self._sparsity()
        if not dense and not self.sparsity:
            raise ValueError(
                f"The backbone of model {model.name!r} is not sparse: none of its weights is 0. "
                "Prune it first (ks.prune, ks.GMP, ks.ACDC, ...), or give dense=True for a dense "
                "reference or a model that ks.structured made smaller."
            )
        # What is frozen counts as not prunable, but in the copy nothing is.
        trainable = all(layer.trainable for layer in model._flatten_layers())
        self._upstream = report(model).sparsity if trainable else self.sparsity

    def _sparsity(self) -> float:
        """The fraction of zeros among the prunable weights, without the heads."""
        selection = survey(self.copy, exclude=tuple(self.heads))
        kept = sum(count_nonzero(variable) for variable in selection.variables(self.copy))
        return 1 - kept / selection.size if selection.size else 0.0

    def without_heads(self, common: Mapping[str, Any]) -> dict[str, Any]:
        """Common arguments of a method, with the heads left out of what is pruned."""
        given = common.get("exclude", ())
        if callable(given):

            def exclude(layer: keras.layers.Layer, variable: Any) -> bool:
                return given(layer, variable) or any(layer is head for head in self.heads)

            return {**common, "exclude": exclude}
        several = isinstance(given, (list, tuple, set))
        # Layers are those of the upstream model, of which the copy has others of the same names.
        names = [
            each.name if isinstance(each, keras.layers.Layer) else each
            for each in (given if several else [given])
        ]
        return {**common, "exclude": (*names, *self.heads)}

    def transfer(self, mode: str, **found: Any) -> Transfer:
        """What the training came to."""
        total = report(self.copy).sparsity
        return Transfer(self.copy, mode, self._upstream, self._sparsity(), total, **found)
