"""The samples on which a method looks at a model before or after training."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator
from typing import Any

import keras

from keras_sparse.messages.arguments import integer, wrong


def calibration_batches(
    model: keras.Model, data: Any, batch_size: int = 128
) -> Iterator[tuple[Any, Any]]:
    """Yields all of some data in batches, in its order.

    ```python
    for x_batch, y_batch in calibration_batches(model, (x[:1000], y[:1000])):
        print(len(x_batch))
    ```

    Args:
        model: The model that the samples are for.
        data: `(x, y)`, arrays with one entry per sample (or structures of such arrays), or a
            finite iterable of `(x, y)` batches, such as a `tf.data.Dataset`.
        batch_size: Samples in a batch, for arrays.

    Yields:
        Inputs and targets of a batch.

    Raises:
        ValueError: If there is no sample, inputs and targets do not match, or inputs are not of
            the shape that the model takes.
    """
    integer("batch_size", batch_size)
    batches = _array_batches(data, batch_size) if _is_arrays(data) else _given_batches(data)
    made = 0
    for made, (x, y) in enumerate(batches, start=1):
        if made == 1:
            _check_inputs(model, x)
        yield x, y
    if not made:
        raise ValueError(
            "The calibration data holds no batch (a generator is used up after one pass: give "
            "arrays, a list of batches or a tf.data.Dataset)."
        )


def check_data(data: Any) -> None:
    """Checks that something can be data, before any of it is read.

    Raises:
        ValueError: If it is neither an array nor an iterable.
    """
    holds = hasattr(data, "__iter__") or hasattr(data, "__getitem__")
    if isinstance(data, (str, bytes)) or not holds:
        raise wrong("data", data, "arrays or an iterable of batches")


def _is_arrays(data: Any) -> bool:
    return (
        isinstance(data, tuple)
        and len(data) == 2
        and all(hasattr(leaf, "shape") for leaf in keras.tree.flatten(data))
    )


def _array_batches(data: Any, batch_size: int) -> Iterator[tuple[Any, Any]]:
    sizes = {len(leaf) for leaf in keras.tree.flatten(data)}
    if len(sizes) > 1:
        raise ValueError(
            "Calibration inputs and targets must have one entry per sample. Received lengths: "
            f"{[len(leaf) for leaf in keras.tree.flatten(data)]}"
        )
    for i in range(math.ceil(max(sizes) / batch_size)):
        part = operator.itemgetter(slice(i * batch_size, (i + 1) * batch_size))
        x, y = (keras.tree.map_structure(part, side) for side in data)
        yield x, y


def _given_batches(data: Any) -> Iterator[tuple[Any, Any]]:
    check_data(data)
    if hasattr(data, "cardinality") and int(data.cardinality()) == -1:
        raise ValueError(
            "The calibration data has no end: say how many batches with dataset.take(n)."
        )
    for batch in data:
        if not isinstance(batch, (tuple, list)) or len(batch) < 2:
            raise ValueError(
                "Batches of calibration data are tuples (x, y). Received a batch of type "
                f"{type(batch).__name__}"
            )
        yield batch[0], batch[1]


def _check_inputs(model: keras.Model, x: Any) -> None:
    inputs = getattr(model, "inputs", None)  # a subclassed model does not say what it takes
    if not inputs:
        return
    given = [tuple(leaf.shape) for leaf in keras.tree.flatten(x)]
    wanted = [tuple(tensor.shape) for tensor in inputs]
    fits = len(given) == len(wanted) and all(
        len(g) == len(w) and all(a == b or b is None for a, b in zip(g, w, strict=True))
        for g, w in zip(given, wanted, strict=True)
    )
    if not fits:
        raise ValueError(
            f"Model {model.name!r} takes inputs of shape {wanted}, with the batch first. "
            f"Received calibration inputs of shape {given}."
        )
