"""Gradients of functions of tensors, and derivatives by variables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from keras_sparse.backend.compiled import compiled


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


def straight_through(function: Callable[[Any], Any], value: Any) -> Any:
    """`function(value)`, through which gradients pass as if it were the identity.

    Args:
        function: Takes and returns a tensor of one shape and type. It reads no variable.
        value: The tensor.
    """
    if keras.backend.backend() == "jax":
        # In a loop that JAX compiles, a gradient of one's own may hold nothing that is made there.
        fixed = ops.stop_gradient(value)
        return ops.stop_gradient(function(fixed)) + (value - fixed)

    @ops.custom_gradient
    def passed(x: Any) -> Any:
        return function(x), lambda *slopes, upstream=None: slopes[0] if slopes else upstream

    return passed(value)


def with_gradient(value: Any, change: Callable[[Any], Any]) -> Any:
    """A tensor as it is, whose gradient is changed on its way back.

    Args:
        value: The tensor.
        change: Takes and returns a gradient. It reads no variable.
    """

    @ops.custom_gradient
    def passed(x: Any) -> Any:
        def back(*slopes: Any, upstream: Any = None) -> Any:
            return change(slopes[0] if slopes else upstream)

        return ops.copy(x), back

    return passed(value)


def masked_gradient(gradient: Any, mask: Any) -> Any:
    """A gradient with zeros where a mask is False; slices stay slices."""
    rows = getattr(gradient, "indices", None)
    if rows is None:
        return ops.where(mask, gradient, ops.zeros((), gradient.dtype))
    import tensorflow as tf

    values = tf.where(tf.gather(mask, rows), gradient.values, tf.zeros((), gradient.dtype))
    return tf.IndexedSlices(values, rows, gradient.dense_shape)


def as_dense(gradient: Any) -> Any:
    """A gradient as a tensor. That of an embedding, read by gather, names the rows it is of."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.convert_to_tensor(gradient)
    return ops.convert_to_tensor(gradient)


def derivatives(
    objective: Callable[..., Any], variables: Sequence[Any], others: Sequence[Any]
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The first and second derivatives of a scalar by Keras variables, outside of training.

    Args:
        objective: Computes the scalar from tensors, and from the variables as they are.
        variables: Float variables to differentiate by.
        others: The other variables that it reads.

    Returns:
        Two compiled functions that follow later changes of the variables: the gradients, of
        `objective`'s arguments, and the Hessian times a vector, of the vector (tensors of the
        variables' shapes) and `objective`'s arguments.
    """
    if keras.backend.backend() == "jax":
        return _on_jax(objective, variables, others)
    return _on_tensorflow(objective, variables)


def _dot(one: Sequence[Any], two: Sequence[Any]) -> Any:
    products = [
        ops.sum(ops.cast(a, "float32") * ops.cast(b, "float32"))
        for a, b in zip(one, two, strict=True)
    ]
    return ops.sum(ops.stack(products))


def _on_tensorflow(
    objective: Callable[..., Any], variables: Sequence[Any]
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    import tensorflow as tf

    # Outside of a replica a mirrored variable is read from its first copy, so watch that one.
    natives = [getattr(v.value, "values", (v.value,))[0] for v in variables]

    def first(*batch: Any) -> Any:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(natives)
            value = objective(*batch)
        found = tape.gradient(value, natives, unconnected_gradients="zero")
        return [tf.convert_to_tensor(gradient) for gradient in found]

    def second(vectors: Any, *batch: Any) -> Any:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(natives)
            along = _dot(first(*batch), vectors)
        found = tape.gradient(along, natives, unconnected_gradients="zero")
        return [tf.convert_to_tensor(product) for product in found]

    return compiled(first), compiled(second)


def _on_jax(
    objective: Callable[..., Any], variables: Sequence[Any], others: Sequence[Any]
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    import jax

    def at(values: Any, fixed: Any, batch: Any) -> Any:
        mapping = [*zip(variables, values, strict=True), *zip(others, fixed, strict=True)]
        with keras.StatelessScope(state_mapping=mapping):
            return objective(*batch)

    def product(values: Any, fixed: Any, batch: Any, vectors: Any) -> Any:
        return jax.grad(lambda v: _dot(jax.grad(at)(v, fixed, batch), vectors))(values)

    first, second = jax.jit(jax.grad(at)), jax.jit(product)

    def now() -> tuple[list[Any], list[Any]]:
        return [v.value for v in variables], [v.value for v in others]

    return (
        lambda *batch: first(*now(), batch),
        lambda vectors, *batch: second(*now(), batch, vectors),
    )


def input_gradients(objective: Callable[..., Any], variables: Sequence[Any]) -> Callable[..., Any]:
    """The gradient of a scalar by its first argument, compiled once.

    Args:
        objective: Computes the scalar from tensors, and from variables as they are.
        variables: Keras variables that it reads.

    Returns:
        A function of `objective`'s arguments that follows later changes of the variables and
        gives a tensor of the shape of the first.
    """
    if keras.backend.backend() == "jax":
        import jax

        def at(first: Any, values: Any, rest: Any) -> Any:
            with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
                return objective(first, *rest)

        slope = jax.jit(jax.grad(at))
        return lambda first, *rest: slope(first, [v.value for v in variables], rest)

    def found(first: Any, *rest: Any) -> Any:
        return gradient(lambda values: objective(values[0], *rest), [first])[0]

    return compiled(found)
