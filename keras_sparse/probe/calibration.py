"""The samples on which a method looks at a model before or after training.

Every method that takes calibration data reads it here, so that all of them take the same:

- arrays: inputs alone, or a tuple `(x, y)` or `(x, y, sample_weight)`; a dict or, for a model of
  several inputs, a list of arrays as inputs;
- batches: any iterable of inputs alone or of tuples `(x, y, ...)`, such as a list, a
  `tf.data.Dataset` or a `keras.utils.PyDataset`.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import keras

from keras_sparse.messages.arguments import integer, wrong
from keras_sparse.probe.vocabulary import check_tokens, embeddings

_KINDS = (
    "inputs or (x, y) as arrays, or an iterable of batches, each of inputs or a tuple (x, y). "
    "Several inputs are a list or a dict of arrays"
)


def calibration_batches(
    model: keras.Model, data: Any, batch_size: int = 128, *, targets: bool = True
) -> Iterator[tuple[Any, Any]]:
    """Yields all of some data in batches, in its order.

    ```python
    for x_batch, y_batch in calibration_batches(model, (x[:1000], y[:1000])):
        print(len(x_batch))
    ```

    Args:
        model: The model that the samples are for.
        data: Arrays with one entry per sample, or a finite iterable of batches: see above.
        batch_size: Samples in a batch, for arrays.
        targets: Whether targets are needed.

    Yields:
        Inputs and targets of a batch; targets that are not needed may be `None`.

    Raises:
        ValueError: If there is no sample, targets are needed and missing, inputs and targets do
            not match, inputs are not of the shape that the model takes, or tokens are none that
            its embeddings know.
    """
    integer("batch_size", batch_size)
    check_data(data)
    arrays = arrays_of(model, data)
    made = 0
    for x, y in given_batches(model, data) if arrays is None else _cut(arrays, batch_size):
        if made == 0:
            check_inputs(model, x)
            readers = embeddings(model)
        if readers:
            check_tokens(readers, _leaves(model.inputs, x))
        if targets and y is None:
            raise ValueError(
                "The calibration data has inputs alone, and this method asks for the loss, for "
                "which it needs targets too. Give (x, y), or batches (x, y)."
            )
        made += 1
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


def arrays_of(model: keras.Model, data: Any) -> tuple[Any, Any] | None:
    """Inputs and targets (or `None`) of data that is given as arrays, `None` for batches.

    Raises:
        ValueError: If the arrays do not have one entry per sample.
    """
    leaves = [leaf for leaf in keras.tree.flatten(data) if leaf is not None]
    if not leaves or not all(hasattr(leaf, "shape") for leaf in leaves):
        return None
    if isinstance(data, tuple) and len(data) <= 3:
        x, y = (*data, None)[:2]
    elif hasattr(data, "shape") or isinstance(data, dict) or _are_inputs(model, data):
        x, y = data, None
    else:
        return None
    sizes = [len(leaf) for leaf in leaves]
    if len(set(sizes)) > 1:
        raise ValueError(
            "Calibration inputs and targets must have one entry per sample. Received lengths: "
            f"{sizes}"
        )
    return x, y


def given_batches(
    model: keras.Model, data: Any, endless: bool = False
) -> Iterator[tuple[Any, Any]]:
    """Inputs and targets (or `None`) of each batch of data that comes in batches.

    Args:
        model: The model that the samples are for.
        data: An iterable of batches, or a `keras.utils.PyDataset`.
        endless: Whether the data may be without an end.

    Raises:
        ValueError: If it is none of these, or has no end.
    """
    size = _length(data)
    if size is None and not endless:
        raise ValueError(
            "The calibration data has no end: say how many batches with dataset.take(n)."
        )
    if isinstance(data, keras.utils.PyDataset):
        places = itertools.count() if size is None else range(int(size))
        batches: Iterable[Any] = (data[i] for i in places)
    elif isinstance(data, str) or not (hasattr(data, "__iter__") or hasattr(data, "__getitem__")):
        raise ValueError(f"Calibration data is {_KINDS}. Received: {type(data).__name__}")
    else:
        batches = data
    for batch in batches:
        x, y = batch, None
        if isinstance(batch, (tuple, list)) and not _are_inputs(model, batch):
            x, y = (*batch, None, None)[:2]
        leaves = keras.tree.flatten(x)
        if not leaves or not all(hasattr(leaf, "shape") for leaf in leaves):
            raise ValueError(
                f"Calibration data is {_KINDS}. Received a batch of type {type(batch).__name__}"
            )
        if len(leaves[0]):
            yield x, y


def check_inputs(model: keras.Model, x: Any) -> None:
    """Checks the shapes of a batch of inputs, for a model that says what it takes.

    Raises:
        ValueError: If the model takes others.
    """
    inputs = getattr(model, "inputs", None)  # a subclassed model does not say what it takes
    if not inputs:
        return
    given = [tuple(leaf.shape) for leaf in _leaves(inputs, x)]
    wanted = [tuple(tensor.shape) for tensor in inputs]
    fits = len(given) == len(wanted) and all(
        len(g) == len(w) and all(a == b or b is None for a, b in zip(g, w, strict=True))
        for g, w in zip(given, wanted, strict=True)
    )
    if not fits:
        raise ValueError(
            f"Model {model.name!r} takes inputs of shape {wanted}, with the batch first. "
            f"Received calibration inputs of shape {given}. Data is {_KINDS}."
        )


def _leaves(inputs: Sequence[Any], x: Any) -> list[Any]:
    """A batch in the order of a model's inputs."""
    names = [tensor.name for tensor in inputs]
    by_name = isinstance(x, dict) and all(name in x for name in names)
    return [x[name] for name in names] if by_name else keras.tree.flatten(x)


def _are_inputs(model: keras.Model, given: Any) -> bool:
    """Whether a list holds an array for each of a model's several inputs."""
    count = len(getattr(model, "inputs", None) or ())
    arrays = isinstance(given, list) and all(hasattr(item, "shape") for item in given)
    return arrays and count > 1 and len(given) == count


def _cut(arrays: tuple[Any, Any], batch_size: int) -> Iterator[tuple[Any, Any]]:
    samples = len(keras.tree.flatten(arrays[0])[0])
    for i in range(math.ceil(samples / batch_size)):
        part = operator.itemgetter(slice(i * batch_size, (i + 1) * batch_size))
        x, y = (None if side is None else keras.tree.map_structure(part, side) for side in arrays)
        yield x, y


def _length(data: Any) -> float | None:
    """Batches of some data, NaN if only a pass tells, `None` if it has no end."""
    if isinstance(data, keras.utils.PyDataset):
        return data.num_batches
    if hasattr(data, "cardinality") and int(data.cardinality()) == -1:
        return None
    return math.nan
