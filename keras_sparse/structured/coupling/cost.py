"""What a model costs once some of its channels are removed."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np

from keras_sparse.probe.flops import inference_flops, weight_uses
from keras_sparse.probe.variables import owners
from keras_sparse.structured.coupling.channels import Kept
from keras_sparse.structured.coupling.groups import ChannelGroups


class Cost:
    """Parameters and operations of a model without what is removed, from its shapes alone.

    Args:
        model: The model.
        groups: Its groups.
    """

    def __init__(self, model: keras.Model, groups: ChannelGroups) -> None:
        self.model = model
        self.groups = groups
        self._uses: np.ndarray | None = None

    def with_flops(self, input_shape: Any = None) -> Cost:
        """Finds how often each weight is used.

        Raises:
            ValueError: If that depends on an input shape that is not given.
        """
        self._uses = weight_uses(self.model, input_shape)
        self._owner = owners(self.model)
        return self

    def parameters(self, kept: Kept) -> int:
        """Weights that are left."""
        return sum(math.prod(_sizes(kept, variable)) for variable in self.model.weights)

    def flops(self, kept: Kept) -> float:
        """Operations of one inference, as `ks.report` counts those of the smaller model."""
        return float(sum(self.flops_by_variable(kept)))

    def flops_by_variable(self, kept: Kept) -> list[float]:
        """The same for each of `model.variables`."""
        found = []
        for variable, uses in zip(self.model.variables, self._each_uses(), strict=True):
            times = uses * self._passing(kept, self._owner[id(variable)]) if uses else 0.0
            found.append(inference_flops([times], [math.prod(_sizes(kept, variable))]))
        return found

    def _each_uses(self) -> np.ndarray:
        if self._uses is None:
            self.with_flops()
        return np.zeros(0) if self._uses is None else self._uses

    def _passing(self, kept: Kept, layer: keras.layers.Layer) -> float:
        """The part that is left of the positions at which a layer's kernel is used."""
        calls = self.groups.channels.passing.get(id(layer))
        if not calls:
            return 1.0
        parts = [math.prod(float(np.mean(kept.positions(axis))) for axis in axes) for axes in calls]
        return sum(parts) / len(parts)


def _sizes(kept: Kept, variable: Any) -> list[int]:
    return [int(size or 0) for size in kept.shape(variable)]
