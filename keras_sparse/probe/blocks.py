"""The blocks of a model: the layers that stand in the model itself, with all that they hold."""

from __future__ import annotations

import keras


def blocks(model: keras.Model) -> dict[int, int]:
    """For the `id` of each layer of a model that of the block which it belongs to.

    Models inside of the model are looked into; any other layer is a block, together with the
    layers that it holds. A layer that several blocks hold belongs to the first of them.

    ```python
    blocks(model)[id(model.layers[0])]
    ```

    Args:
        model: A built Keras model.
    """
    found: dict[int, int] = {}
    pending = list(reversed(model._flatten_layers(include_self=False, recursive=False)))
    while pending:
        layer = pending.pop()
        if isinstance(layer, keras.Model):
            pending.extend(reversed(layer._flatten_layers(include_self=False, recursive=False)))
            continue
        for held in layer._flatten_layers():
            found.setdefault(id(held), id(layer))
    return found
