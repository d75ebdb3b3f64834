"""Steps of a model's training on batches of any size."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
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
        autograph=False,
    )
    def step(x: Any, y: Any) -> Any:
        # What is returned is part of the graph, and so of how it rounds: as in Keras's own.
        return model.train_step((x, y))

    return step


def of_all(models: Iterable[keras.Model], kind: str) -> list[Any]:
    """Variables of several models that share layers, each once.

    Args:
        models: The models.
        kind: The attribute that has them, such as `"trainable_variables"`.
    """
    return list({id(v): v for model in models for v in getattr(model, kind)}.values())


def joint_step(
    models: Sequence[keras.Model], optimizer: keras.optimizers.Optimizer
) -> Callable[[Sequence[tuple[Any, Any]]], Any]:
    """One step of an optimizer on the sum of the losses of several models that share layers.

    Only the weights of these models are touched, also where the optimizer knows others. On JAX
    each size of the batches is compiled.

    Args:
        models: Built models of logits.
        optimizer: Built, of the weights of these models and perhaps others.

    Returns:
        A function of a batch, inputs and soft labels, for each model.

    Raises:
        ValueError: If the optimizer is one that the backend cannot use so.
    """
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)

    def total(batches: Sequence[tuple[Any, Any]]) -> Any:
        pairs = zip(models, batches, strict=True)
        return sum(loss(y, model(x, training=True)) for model, (x, y) in pairs)

    make = _joint_on_jax if keras.backend.backend() == "jax" else _joint_on_tensorflow
    return make(total, models, optimizer)


def _joint_on_tensorflow(
    total: Callable[..., Any], models: Sequence[keras.Model], optimizer: Any
) -> Callable[[Sequence[tuple[Any, Any]]], Any]:
    import tensorflow as tf

    variables = of_all(models, "trainable_variables")
    specs = [
        tuple(
            tf.TensorSpec((None, *shape[1:]), tf.float32)
            for shape in (model.input_shape, model.output_shape)
        )
        for model in models
    ]

    @tf.function(input_signature=[specs], autograph=False)
    def step(batches: Any) -> Any:
        with tf.GradientTape() as tape:
            value = total(batches)
            scaled = optimizer.scale_loss(value)
        gradients = tape.gradient(scaled, [variable.value for variable in variables])
        optimizer.apply(gradients, variables)
        return value

    return lambda batches: step([tuple(map(tf.convert_to_tensor, each)) for each in batches])


def _joint_on_jax(
    total: Callable[..., Any], models: Sequence[keras.Model], optimizer: Any
) -> Callable[[Sequence[tuple[Any, Any]]], Any]:
    import jax

    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        raise ValueError(
            "On JAX a LossScaleOptimizer takes no step on some of its weights. Give the optimizer "
            "in it; bfloat16 needs no scaling."
        )
    trained = of_all(models, "trainable_variables")
    others = of_all(models, "non_trainable_variables")
    touched = [*trained, *others, *optimizer.variables]

    @jax.jit
    def step(values: Any, batches: Any) -> Any:
        rest = values[len(trained) :]

        def of_weights(weights: Any) -> Any:
            mapping = zip(touched, [*weights, *rest], strict=True)
            with keras.StatelessScope(state_mapping=list(mapping)) as scope:
                value = total(batches)
            return value, [scope.get_current_value(each) for each in others]

        weights = values[: len(trained)]
        (value, states), slopes = jax.value_and_grad(of_weights, has_aux=True)(weights)
        now = [*weights, *states, *rest[len(others) :]]
        with keras.StatelessScope(state_mapping=list(zip(touched, now, strict=True))) as scope:
            optimizer.apply(slopes, trained)
        return value, [scope.get_current_value(each) for each in touched]

    def taken(batches: Sequence[tuple[Any, Any]]) -> Any:
        value, now = step([each.value for each in touched], batches)
        for variable, held in zip(touched, now, strict=True):
            variable.assign(held)
        return value

    return taken
