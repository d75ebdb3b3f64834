"""Greedy forward selection of the hidden units of a two-layer Keras model."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_sparse.distribute.communicator import Communicator
from keras_sparse.messages.arguments import instance, optional, wrong
from keras_sparse.structured.units.distributed_selection import distributed_selection
from keras_sparse.structured.units.greedy_selection import GreedySelection
from keras_sparse.structured.units.two_layer import recorded, two_layers
from keras_sparse.structured.units.unit_selection import select_units


def greedy_forward_selection(
    model: keras.Model,
    data: Any,
    size: int | None = None,
    *,
    epsilon: float | None = None,
    loss: Any = None,
    batch_size: int | None = None,
    replacement: bool = True,
    num_candidates: int | None = None,
    count_unique: bool = False,
    seed: int | None = 0,
    workers: Communicator | None = None,
) -> GreedySelection:
    """Greedy forward selection in a two-layer Keras model, which is not changed.

    Starting from no hidden unit, adds the one that lowers the loss most, again and again; a unit
    that is picked again weighs more. The pruned model is good before it is trained any further.

    ```python
    selection = ks.structured.greedy_forward_selection(model, (x, y), size=200)
    small = ks.structured.smaller_model(model, selection.indices, selection.gains)
    ```

    Args:
        model: A built Sequential or functional model with two `Dense` layers, the second one last.
        data: Arrays `(x, y)`, or a finite iterable of batches.
        size: Picks. Give it or `epsilon`.
        epsilon: Stops at a loss of at most this, on all samples.
        loss: A loss of Keras, or its name. Defaults to the one that the model is compiled with.
        batch_size: Samples of the batch that is drawn anew for each pick. Defaults to all samples.
        replacement: Whether a unit can be picked again.
        num_candidates: Random units that are compared for each pick. Defaults to all.
        count_unique: Whether `size` counts units, not picks.
        seed: Of batches and candidates.
        workers: What `keras_sparse.distribute.connect` returns, if several share the work; between
            the two layers is then nothing else. See `distributed_selection`.

    Returns:
        A `GreedySelection`.

    Raises:
        ValueError: If an argument is out of range, the model or the data do not suit, or
            `epsilon` is not reached.

    Source: Wolfe (2023), Algorithms 2, 3 and 6.
    """
    layers = two_layers(model)
    optional(instance, "workers", workers, Communicator, "a Communicator")
    if model.layers[-1] is not layers.output:
        raise wrong("model", model.layers[-1].name, f"one that ends with {layers.output.name!r}")
    chosen = getattr(model, "loss", None) if loss is None else loss
    if chosen is None:
        raise wrong("loss", loss, "given for a model that is not compiled")
    seen = recorded(model, data)
    output = layers.output
    bias = ops.convert_to_numpy(output.bias) if output.use_bias else None
    kernel = ops.convert_to_numpy(output.kernel)
    shared: dict[str, Any] = {
        "epsilon": epsilon,
        "loss": chosen,
        "bias": bias,
        "batch_size": batch_size,
        "replacement": replacement,
        "num_candidates": num_candidates,
        "count_unique": count_unique,
        "seed": seed,
    }
    if workers is None:
        return select_units(
            seen.hidden, kernel, seen.targets, size, activation=output.activation, **shared
        )
    hidden = layers.hidden
    own = ops.convert_to_numpy(hidden.bias) if hidden.use_bias else None
    if model.layers.index(output) != model.layers.index(hidden) + 1:
        raise wrong(
            "model",
            model.name,
            f"one with nothing between {hidden.name!r} and {output.name!r}, for several workers",
        )
    return distributed_selection(
        workers,
        seen.inputs,
        ops.convert_to_numpy(hidden.kernel),
        kernel,
        seen.targets,
        size,
        activation=hidden.activation,
        hidden_bias=own,
        output_activation=output.activation,
        **shared,
    )
