"""What a method that prunes one layer after the other says."""

from __future__ import annotations

from typing import NamedTuple

import keras
import numpy as np

from keras_sparse.structured.coupling.groups import ChannelGroups, Group
from keras_sparse.structured.layerwise.uses import Use, use_of
from keras_sparse.structured.training import Samples


class Chosen(NamedTuple):
    """The units of a layer that stay.

    Args:
        indices: In ascending order.
        gains: What the outputs of each are multiplied with; `None` for nothing.
    """

    indices: np.ndarray
    gains: np.ndarray | None = None


class Layerwise:
    """A method that chooses units of one layer at a time, by what the network makes of samples.

    Attributes:
        needs_targets: Whether it looks at targets.
        finds_sizes: Whether it also finds how many units a layer needs.
    """

    needs_targets = True
    finds_sizes = False

    def cannot(self, found: ChannelGroups, use: Use) -> str | None:
        """Why units that enter a layer cannot be chosen by this method; `None` if they can.

        Args:
            found: The model's groups.
            use: The layer that they enter.
        """
        return None

    def choose(
        self,
        model: keras.Model,
        use: Use,
        size: int | None,
        samples: Samples,
    ) -> Chosen:
        """The units of a layer that stay.

        Args:
            model: The model, with the layers before already pruned.
            use: The layer that the units enter.
            size: How many stay; `None` if the method finds it.
            samples: What the network is run on.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement choose")


def uses(found: ChannelGroups, method: Layerwise) -> dict[str, Use | str]:
    """For each group, where its units go in, or why the method leaves it as it is.

    Args:
        found: The groups of a model.
        method: The method.
    """
    return {group.name: use_by(found, group, method) for group in found.groups}


def use_by(found: ChannelGroups, group: Group, method: Layerwise) -> Use | str:
    """The same for one of the groups."""
    use = use_of(found, group)
    return use if isinstance(use, str) else method.cannot(found, use) or use
