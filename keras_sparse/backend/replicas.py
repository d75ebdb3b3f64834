"""Updates that are the same on every replica; the engine's only use of TensorFlow."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops


def strategy_scope(model: keras.Model) -> Any:
    """The distribution scope in which the model's variables live."""
    if keras.backend.backend() == "tensorflow":
        return model.distribute_strategy.scope()
    return contextlib.nullcontext()


def replica_count() -> int:
    """Replicas of the `tf.distribute` strategy that the caller runs under, 1 without."""
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    return 1 if context is None else context.num_replicas_in_sync


def sum_over_replicas(tensors: Sequence[Any]) -> list[Any]:
    """Sums tensors over the replicas of a `tf.distribute` strategy.

    Each replica's loss is already divided by the number of replicas, so the sum of their
    gradients is the gradient of the whole batch.
    """
    if replica_count() == 1:
        return list(tensors)
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    return list(context.all_reduce(tf.distribute.ReduceOp.SUM, list(tensors)))


def assign_on_replicas(
    strategy: Any, update: Callable[..., None], anchor: Any, *arguments: Any
) -> None:
    """Calls `update(*arguments)` where it may assign to variables.

    Under a `tf.distribute` strategy a variable cannot be assigned from within a replica;
    `update` then runs once on each replica's own copies of the variables.

    Args:
        strategy: The `tf.distribute` strategy of the variables; ignored on other backends.
        update: A function of `arguments` that assigns to variables among them.
        anchor: Any variable of the strategy.
        arguments: Keras variables, tensors, and (nested) lists of them.
    """
    if keras.backend.backend() != "tensorflow":
        update(*arguments)
        return
    import tensorflow as tf

    def merged(distribution: Any, *merged_arguments: Any) -> None:
        distribution.extended.update(
            anchor.value, lambda _, *local: update(*local), args=merged_arguments, group=False
        )

    native = tf.nest.map_structure(_native, arguments)
    tf.__internal__.distribute.interim.maybe_merge_call(merged, strategy, *native)


def assign_if(condition: Any, compute: Callable[[], Any], variables: Any) -> None:
    """Assigns `compute()` to `variables` where a boolean scalar is true.

    On TensorFlow the branch assigns, so that nothing is copied when it is not taken; JAX has no
    side effects, so there the branch returns values.

    Args:
        condition: A boolean scalar.
        compute: Gives new values, in the structure of `variables`. A value may be a function that
            makes it: on TensorFlow these are called one after the other, once all other variables
            are assigned, so that the new values are not in memory together. What it reads of the
            variables is then new. `None` leaves a variable as it is.
        variables: A (nested) structure of variables.
    """
    flat = keras.tree.flatten(variables)

    def values() -> list[Any]:
        new = compute()
        keras.tree.assert_same_structure(new, variables)
        return keras.tree.flatten(new)

    if keras.backend.backend() == "tensorflow":
        ops.cond(condition, lambda: _assign_in_turn(flat, values()), lambda: None)
        return
    current = [ops.convert_to_tensor(variable) for variable in flat]

    def changed() -> list[Any]:
        made = [value() if callable(value) else value for value in values()]
        return [
            c if v is None else ops.cast(v, c.dtype) for v, c in zip(made, current, strict=True)
        ]

    for variable, value in zip(flat, ops.cond(condition, changed, lambda: current), strict=True):
        variable.assign(value)


def _assign_in_turn(variables: Sequence[Any], values: Sequence[Any]) -> None:
    import tensorflow as tf

    def assigned(variable: Any, value: Any) -> Any:
        return _native(variable).assign(ops.cast(value, variable.dtype), read_value=False)

    both = zip(variables, values, strict=True)
    pairs = [(variable, value) for variable, value in both if value is not None]
    before = [assigned(variable, value) for variable, value in pairs if not callable(value)]
    for variable, make in pairs:
        if callable(make):
            with tf.control_dependencies([each for each in before if each is not None]):
                before = [assigned(variable, make())]


def _native(argument: Any) -> Any:
    return argument.value if isinstance(argument, keras.Variable) else argument
