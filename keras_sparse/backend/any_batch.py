"""Steps of a model's training on batches of any size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


def joint_step(
    models: Sequence[keras.Model], optimizer: keras.optimizers.Optimizer
) -> Callable[[Sequence[tuple[Any, Any]]], Any]:
    """One step of an optimizer on the sum of the losses of several models that share layers.

    Only the weights of these models are touched, also where the optimizer knows others.

    Args:
        models: Built models of logits.
        optimizer: Built, of the weights of these models and perhaps others.

    Returns:
        A function of a batch, inputs and soft labels, for each model.

    Raises:
        NotImplementedError: On JAX.
    """
    if keras.backend.backend() == "jax":
        raise NotImplementedError(
            "Several models are trained in one step on TensorFlow only. Set "
            "KERAS_BACKEND=tensorflow."
        )
    import tensorflow as tf

    unique = {id(v): v for model in models for v in model.trainable_variables}
    variables, loss = list(unique.values()), keras.losses.CategoricalCrossentropy(from_logits=True)

    @tf.function(reduce_retracing=True)
    def step(batches: Any) -> Any:
        with tf.GradientTape() as tape:
            losses = [
                loss(y, model(x, training=True))
                for model, (x, y) in zip(models, batches, strict=True)
            ]
            total = tf.add_n(losses)
        gradients = tape.gradient(total, [variable.value for variable in variables])
        optimizer.apply(gradients, variables)
        return total

    return lambda batches: step([tuple(map(tf.convert_to_tensor, each)) for each in batches])
