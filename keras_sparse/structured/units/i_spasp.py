"""i-SpaSP: iterative sparse structured pruning of a two-layer Keras model."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_sparse.messages.arguments import integer, optional, random_seed
from keras_sparse.structured.units.pursuit import Pursuit, i_spasp_units
from keras_sparse.structured.units.two_layer import recorded, two_layers


def i_spasp(
    model: keras.Model,
    data: Any,
    size: int,
    *,
    iterations: int = 20,
    batch_size: int | None = 512,
    seed: int | None = 0,
) -> Pursuit:
    """i-SpaSP in a two-layer Keras model, which is not changed.

    ```python
    kept = ks.structured.i_spasp(model, x, size=100).indices
    small = ks.structured.smaller_model(model, kept)
    ```

    Args:
        model: A Sequential or functional model with two `Dense` layers.
        data: Inputs, or `(x, y)`; targets play no part.
        size: The units that are kept.
        iterations: T.
        batch_size: Samples of the batch that is drawn anew for each iteration; no more than there
            are. `None` for all samples in each.
        seed: Of the batches.

    Returns:
        A `Pursuit`.

    Raises:
        ValueError: If an argument is out of range, or the model or the data do not suit.

    Source: Wolfe (2023), Algorithm 4.
    """
    layers = two_layers(model)
    integer("size", size, 1, int(layers.hidden.kernel.shape[1]))
    integer("iterations", iterations)
    optional(integer, "batch_size", batch_size)
    random_seed("seed", seed)
    seen = recorded(model, data, targets=False).hidden
    drawn = None if batch_size is None else min(batch_size, len(seen))
    kernel = ops.convert_to_numpy(layers.output.kernel)
    return i_spasp_units(seen, kernel, size, iterations=iterations, batch_size=drawn, seed=seed)
