"""Training that prepares for removal: units that matter little are driven towards zero."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from keras_sparse.engine.fit_callback import FitCallback
from keras_sparse.messages.arguments import number
from keras_sparse.sparsity.duration import Run
from keras_sparse.sparsity.selection import Which, check_layers
from keras_sparse.structured.coupling.groups import Group, channel_groups

_SMALLEST = 1e-12


class GroupLasso(FitCallback):
    """Adds a penalty on the norm of each unit that `prune` can remove, for the length of a `fit`.

    The penalty of a group is the sum of its units' Euclidean norms, over all weights that make a
    unit in any layer, times the root of how many these are. It is added to the loss; nothing is
    removed, and nothing of it is left in the model.

    ```python
    model.fit(x, y, epochs=2, callbacks=[ks.structured.GroupLasso(1e-4)])
    smaller = ks.structured.prune(model, flops=0.5, criterion="l2")
    ```

    Args:
        strength: What the penalty is multiplied with, greater than 0.
        exclude: Layers, layer names, variable paths or globs, or a predicate
            `f(layer, variable) -> bool`, of what keeps its size.

    Raises:
        ValueError: At construction for arguments out of range; before the first step for a model
            without a graph, or of which nothing can be removed.

    Source: Yuan and Lin (2006); Wen et al. (2016), structured sparsity learning.
    """

    def __init__(self, strength: float = 1e-4, exclude: Which = ()) -> None:
        super().__init__()
        self.strength = number("strength", strength, "(0, inf)")
        self.exclude = check_layers("exclude", exclude)

    def install(self, run: Run) -> None:
        """Puts the penalty beside the regularizer of a weight."""
        found = channel_groups(self.model, self.exclude).groups
        groups = [group for group in found if group.reason is None]
        if not groups:
            raise ValueError(
                f"Nothing of model {self.model.name!r} can be removed, so that there is nothing to "
                "prepare. ks.structured.report names the reasons."
            )
        carrier = self.model.trainable_variables[0]
        carrier.regularizer = _Penalty(carrier.regularizer, groups, self.strength)
        self._carrier = carrier
        self.model.train_function = None

    def uninstall(self) -> None:
        """Takes it out."""
        carrier = getattr(self, "_carrier", None)
        if carrier is not None and isinstance(carrier.regularizer, _Penalty):
            carrier.regularizer = carrier.regularizer.before
            self.model.train_function = None
        self._carrier = None


class _Penalty:
    """The sum of the norms of all units of some groups, besides a weight's own regularizer."""

    def __init__(self, before: Any, groups: list[Group], strength: float) -> None:
        self.before = before
        self.groups = groups
        self.strength = strength

    def __call__(self, weight: Any) -> Any:
        penalty = sum(_norms(group) for group in self.groups) * self.strength
        return penalty if self.before is None else penalty + self.before(weight)


def _norms(group: Group) -> Any:
    """The sum of the norms of a group's units that can be removed."""
    squares: Any = 0.0
    count = 0
    for member in group.members:
        if not member.makes:
            continue
        weight = ops.square(ops.cast(ops.convert_to_tensor(member.variable), "float32"))
        rest = [axis for axis in range(len(weight.shape)) if axis != member.axis]
        along = ops.sum(weight, axis=rest) if rest else weight
        there = np.flatnonzero(member.units >= 0)
        along = ops.take(along, there, axis=0)
        squares += ops.segment_sum(along, member.units[there], num_segments=group.size)
        count += int(np.prod(weight.shape)) // group.size
    free = group.free.astype("float32")
    return ops.sum(ops.sqrt(squares + _SMALLEST) * free) * max(count, 1) ** 0.5
