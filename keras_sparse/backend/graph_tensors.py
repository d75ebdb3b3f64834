"""Reading variables and cutting tensors in few operations of a TensorFlow graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops


def read(variables: Sequence[Any]) -> list[Any]:
    """The values of variables, each read once.

    Keras passes a TensorFlow variable on as it is, and each operation on it reads it anew.
    """
    values = [ops.convert_to_tensor(variable) for variable in variables]
    if keras.backend.backend() != "tensorflow":
        return values
    import tensorflow as tf

    return [tf.convert_to_tensor(value) for value in values]


def row(tensor: Any, index: Any) -> Any:
    """`tensor[index]`, for an integer scalar that is not negative."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.gather(tensor, index)
    return ops.take(tensor, index, axis=0)


def parts(tensor: Any, sizes: Sequence[int]) -> list[Any]:
    """A tensor cut along its first axis into parts of these sizes."""
    if len(sizes) == 1:
        return [tensor]
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return list(tf.split(tensor, list(sizes)))
    return list(ops.split(tensor, np.cumsum(sizes)[:-1].tolist()))
