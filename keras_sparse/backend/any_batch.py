"""Steps of a model's training on batches of any size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras


def any_batch_step(model: keras.Model) -> Callable[[Any, Any], Any]:
    """A step of a compiled model, of inputs and labels `(n, classes)`.

    On TensorFlow it is traced once, for batches of any size: a graph for one size may round
    otherwise than that for any, and what goes on after an interruption would not come to the same
    weights. On JAX each size is compiled.

    Args:
        model: A built and compiled model of one input and one output.
    """
    if keras.backend.backend() == "jax":
        return lambda x, y: model.train_on_batch(x, y)
    import tensorflow as tf

    shapes = (model.input_shape[1:], model.output_shape[1:])

    @tf.function(
        input_signature=[tf.TensorSpec((None, *shape), tf.float32) for shape in shapes],
        jit_compile=model.jit_compile,
    )
    def step(x: Any, y: Any) -> Any:
        # What is returned is part of the graph, and so of how it rounds: as in Keras's own.
        return model.train_step((x, y))

    return step
