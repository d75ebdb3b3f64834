"""Gradients of functions of tensors; gradients and curvature of a loss outside of training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

# Gradients of a float16 model underflow without it; a power of two is undone exactly.
_FLOAT16_SCALE = 2.0**10


def gradient(function: Callable[[Sequence[Any]], Any], values: Sequence[Any]) -> list[Any]:
    """The gradient of a function of tensors, inside the compiled graph.

    Args:
        function: Takes tensors and returns a scalar.
        values: The tensors.

    Returns:
        Tensors of the shapes of `values`, zeros where the function does not depend on one.
    """
    if keras.backend.backend() == "jax":
        import jax

        return jax.grad(function)(list(values))
    import tensorflow as tf

    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(values)
        result = function(values)
    found = tape.gradient(result, values, unconnected_gradients="zero")
    return [tf.convert_to_tensor(slope) for slope in found]


def as_dense(gradient: Any) -> Any:
    """A gradient as a tensor. That of an embedding, read by gather, names the rows it is of."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.convert_to_tensor(gradient)
    return ops.convert_to_tensor(gradient)


class LossGradients:
    """The gradient of the mean loss of a batch with respect to some of a model's weights.

    The model runs in inference mode: no dropout, batch normalization by its moving statistics,
    which stay as they are. Each method is compiled once and follows later changes of the weights.

    ```python
    gradients = LossGradients(model, model.trainable_variables)
    for value in gradients(x[:100], y[:100]):
        print(value.shape)
    ```

    Args:
        model: A built Keras model.
        variables: Float variables of the model to differentiate by.
        loss: A Keras loss, its name, or a function `loss(y, outputs)`. Defaults to the loss that
            the model is compiled with.

    Raises:
        ValueError: If no loss is given and the model is not compiled.
    """

    def __init__(self, model: keras.Model, variables: Sequence[Any], loss: Any = None) -> None:
        self.model, self.variables = model, list(variables)
        self._loss = _get_loss(model, loss)
        self._scale = _FLOAT16_SCALE if model.compute_dtype == "float16" else 1.0
        compile_ = _on_jax if keras.backend.backend() == "jax" else _on_tensorflow
        self._gradients, self._hessian_product = compile_(self)

    def objective(self, x: Any, y: Any) -> Any:
        """The mean loss of a batch, times the scale of the gradients."""
        loss = self._loss(y, self.model(x, training=False))
        return ops.mean(ops.cast(loss, "float32")) * self._scale

    def __call__(self, x: Any, y: Any) -> list[Any]:
        """Gradients at the current weights, float32 tensors of the variables' shapes.

        Args:
            x: A batch of inputs.
            y: Its targets.
        """
        return self._unscaled(self._gradients(*_tensors(x, y)))

    def hessian_product(self, x: Any, y: Any, vectors: Sequence[Any]) -> list[Any]:
        """The Hessian of the mean loss times a vector.

        Args:
            x: A batch of inputs.
            y: Its targets.
            vectors: The vector, as tensors of the variables' shapes.
        """
        given = [ops.convert_to_tensor(vector, "float32") for vector in vectors]
        return self._unscaled(self._hessian_product(*_tensors(x, y), given))

    def _unscaled(self, values: Sequence[Any]) -> list[Any]:
        return [ops.cast(value, "float32") / self._scale for value in values]


def _get_loss(model: keras.Model, loss: Any) -> Callable[[Any, Any], Any]:
    if loss is not None:
        return keras.losses.get(loss)
    compiled = getattr(model, "_compile_loss", None)
    if compiled is None:
        raise ValueError(
            f"Model {model.name!r} is not compiled, so its loss is not known. Compile it, or give "
            "loss=..., such as keras.losses.SparseCategoricalCrossentropy(from_logits=True)."
        )
    return compiled


def _tensors(x: Any, y: Any) -> tuple[Any, Any]:
    x, y = (
        None if given is None else keras.tree.map_structure(ops.convert_to_tensor, given)
        for given in (x, y)
    )
    return x, y


def _dot(one: Sequence[Any], two: Sequence[Any]) -> Any:
    products = [
        ops.sum(ops.cast(a, "float32") * ops.cast(b, "float32"))
        for a, b in zip(one, two, strict=True)
    ]
    return ops.sum(ops.stack(products))


def _on_tensorflow(owner: LossGradients) -> tuple[Callable[..., Any], Callable[..., Any]]:
    import tensorflow as tf

    # Outside of a replica a mirrored variable is read from its first copy, so watch that one.
    natives = [getattr(v.value, "values", (v.value,))[0] for v in owner.variables]

    def first(x: Any, y: Any) -> Any:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(natives)
            value = owner.objective(x, y)
        found = tape.gradient(value, natives, unconnected_gradients="zero")
        return [tf.convert_to_tensor(gradient) for gradient in found]

    def second(x: Any, y: Any, vectors: Any) -> Any:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(natives)
            along = _dot(first(x, y), vectors)
        found = tape.gradient(along, natives, unconnected_gradients="zero")
        return [tf.convert_to_tensor(product) for product in found]

    return tf.function(first, reduce_retracing=True), tf.function(second, reduce_retracing=True)


def _on_jax(owner: LossGradients) -> tuple[Callable[..., Any], Callable[..., Any]]:
    import jax

    chosen = {id(variable) for variable in owner.variables}
    others = [variable for variable in owner.model.variables if id(variable) not in chosen]

    def objective(values: Any, fixed: Any, x: Any, y: Any) -> Any:
        mapping = [
            *zip(owner.variables, values, strict=True),
            *zip(others, fixed, strict=True),
        ]
        with keras.StatelessScope(state_mapping=mapping):
            return owner.objective(x, y)

    def product(values: Any, fixed: Any, x: Any, y: Any, vectors: Any) -> Any:
        return jax.grad(lambda at: _dot(jax.grad(objective)(at, fixed, x, y), vectors))(values)

    def with_weights(function: Callable[..., Any]) -> Callable[..., Any]:
        compiled = jax.jit(function)

        def call(*arguments: Any) -> Any:
            weights, rest = ([v.value for v in group] for group in (owner.variables, others))
            return compiled(weights, rest, *arguments)

        return call

    return with_weights(jax.grad(objective)), with_weights(product)
