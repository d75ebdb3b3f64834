"""i-SpaSP in a layer of a whole network."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np

from keras_sparse.messages.arguments import integer, wrong
from keras_sparse.structured.layerwise.method import Chosen, Layerwise
from keras_sparse.structured.layerwise.taken import taken
from keras_sparse.structured.layerwise.uses import Use
from keras_sparse.structured.training import Samples
from keras_sparse.structured.units.channel_pursuit import i_spasp_channels


@dataclasses.dataclass(frozen=True)
class ISpaSP(Layerwise):
    """i-SpaSP, layer by layer: units that the next layer's outputs miss and that are active.

    Filters inside of residual blocks, expanded channels of inverted residuals, attention heads,
    and hidden units between two layers; those of feed-forward blocks are an extension of ours.
    What the next layer's outputs miss is measured before its bias, with the batch normalization
    behind it, before the skip connection. Importance depends on the samples by their sum alone,
    as that part of the network is linear: each layer takes one pass over the data, and its
    iterations as long as those of one sample. Weights that stay are not changed; no labels.

    ```python
    smaller = ks.structured.prune(model, flops=0.5, criterion=ks.structured.ISpaSP(10), data=x)
    ```

    Args:
        iterations: T.
        merge_factor: How many times the kept units are taken by importance.

    Raises:
        ValueError: If an argument is out of range.

    Source: Wolfe (2023), Algorithm 4, 4.4.1, C.1.3 and C.1.4.
    """

    iterations: int = 20
    merge_factor: int = 2

    needs_targets = False

    def __post_init__(self) -> None:
        integer("iterations", self.iterations)
        integer("merge_factor", self.merge_factor)

    def choose(
        self,
        model: keras.Model,
        use: Use,
        size: int | None,
        samples: Samples,
    ) -> Chosen:
        """The units that stay; see `Layerwise`."""
        found = i_spasp_channels(
            _summed(model, use, samples)[None],
            use.linear(),
            use.size if size is None else size,
            iterations=self.iterations,
            merge_factor=self.merge_factor,
            units=use.units,
        )
        return Chosen(found.indices)


def _summed(model: keras.Model, use: Use, samples: Samples) -> np.ndarray:
    """What the layer takes, summed over the samples, units last."""
    sums = [each.astype(float).sum(axis=0) for each in taken(model, use, samples)]
    if len({each.shape for each in sums}) > 1:
        raise wrong("data", {each.shape for each in sums}, "samples of one shape", "Pad them.")
    return np.moveaxis(np.sum(sums, axis=0), use.axis, -1)
