"""A function on tensors compiled by the backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as a graph (TensorFlow) or jitted (JAX), traced once for its arguments.

    As in Keras's own training, AutoGraph does not rewrite it.

    Args:
        function: Takes and returns tensors or nested structures of them.
    """
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    import tensorflow as tf

    return tf.function(function, reduce_retracing=True, autograph=False)
