"""Cutting a row of layers into consecutive parts."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np

from keras_sparse.messages.names import unknown_name
from keras_sparse.probe.flops import layer_shapes, weight_uses
from keras_sparse.sparsity.selection import Target

WAYS = ("params", "flops", "stages", "random")


def parts_of(
    model: keras.Model,
    layers: Sequence[tuple[keras.layers.Layer, Sequence[Target]]],
    parts: int,
    by: str,
    seed: int = 0,
) -> np.ndarray:
    """The number of the part that each layer goes to.

    Args:
        model: The model.
        layers: Its prunable layers in order, each with its weight tensors.
        parts: How many parts, from 1 to the number of layers.
        by: `"params"` or `"flops"` (consecutive layers, the largest part as small as it can be),
            `"stages"` (consecutive layers, cut at the last down-samplings) or `"random"` (layers
            dealt out at random, equally many to each).
        seed: Seed of the random way.

    Returns:
        Integers of shape `(layers,)`.

    Raises:
        ValueError: For another `by`, a model with too few down-samplings, or one whose input
            shape is not known where it matters.
    """
    if by == "params":
        return balanced([sum(t.layout.size for t in targets) for _, targets in layers], parts)
    if by == "flops":
        uses = dict(zip(map(id, model.variables), weight_uses(model), strict=True))
        trainable = [uses[id(variable)] for variable in model.trainable_variables]
        loads = [sum(trainable[t.index] * t.layout.size for t in targets) for _, targets in layers]
        return balanced(loads, parts)
    if by == "stages":
        return _stages(model, [layer for layer, _ in layers], parts)
    if by == "random":
        dealt = np.arange(len(layers)) * parts // len(layers)
        return np.random.default_rng(seed).permutation(dealt)
    raise unknown_name("by", by, WAYS)


def balanced(loads: Sequence[float], parts: int) -> np.ndarray:
    """Consecutive parts of which the heaviest is as light as possible.

    ```python
    balanced([1, 1, 1, 3, 3], 3)  # [0, 0, 0, 1, 2]
    ```

    Args:
        loads: The load of each item, in order.
        parts: How many parts, none of them empty.

    Returns:
        The number of the part of each item.
    """
    sums = np.concatenate([[0.0], np.cumsum(np.asarray(loads, float))])
    items = len(loads)

    def load(begin: int, end: int) -> float:
        return float(sums[end] - sums[begin])

    # For the first items, by their number: (heaviest, sum of squares, which evens ties, cut).
    best = [(load(0, end), load(0, end) ** 2, 0) for end in range(items + 1)]
    cuts = []
    for part in range(1, parts):
        best = [
            min(
                (
                    max(best[cut][0], load(cut, end)),
                    best[cut][1] + load(cut, end) ** 2,
                    cut,
                )
                for cut in range(part, end)
            )
            if end > part
            else (np.inf, np.inf, 0)
            for end in range(items + 1)
        ]
        cuts.append([cut for _, _, cut in best])
    numbers = np.zeros(items, int)
    end = items
    for at in reversed(cuts):
        end = at[end]
        numbers[end:] += 1
    return numbers


def _stages(model: keras.Model, layers: Sequence[keras.layers.Layer], parts: int) -> np.ndarray:
    shapes = layer_shapes(model)
    starts, smallest = [], np.inf
    for i, layer in enumerate(layers):
        calls = shapes.get(id(layer), ())
        area = _area(layer, calls[-1][1]) if calls else None
        if area is not None and area < smallest:
            if np.isfinite(smallest):
                starts.append(i)
            smallest = area
    if len(starts) < parts - 1:
        raise ValueError(
            f"by='stages' cuts where feature maps get smaller, which they do {len(starts)} times "
            f"between the layers of model {model.name!r}: it makes at most {len(starts) + 1} "
            f"partitions. Received: {parts}. Ask for fewer, or take by='params'."
        )
    cuts = starts[len(starts) - (parts - 1) :]
    return np.searchsorted(cuts, np.arange(len(layers)), side="right")


def _area(layer: keras.layers.Layer, shape: tuple[int, ...]) -> float | None:
    """Positions of a feature map, `None` for an output that has none."""
    if len(shape) < 3:
        return None
    first = getattr(layer, "data_format", "channels_last") == "channels_first"
    return float(np.prod(shape[2:] if first else shape[1:-1]))
