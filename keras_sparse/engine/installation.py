"""Installing a sparse optimizer in a model, and taking it out again."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_sparse.backend.replicas import strategy_scope
from keras_sparse.engine.rule import Rule
from keras_sparse.engine.sparse_optimizer import SparseOptimizer
from keras_sparse.messages.arguments import file_path
from keras_sparse.methods.compression_aware.two_gradient_step import TwoGradientStep
from keras_sparse.methods.compression_aware.two_gradients import TwoGradientRule
from keras_sparse.sparsity.selection import Selection

LossScaleOptimizer = keras.optimizers.LossScaleOptimizer


def innermost(optimizer: Any) -> Any:
    """The optimizer that takes the steps, inside loss scaling."""
    return optimizer.inner_optimizer if isinstance(optimizer, LossScaleOptimizer) else optimizer


def find(model: keras.Model) -> SparseOptimizer | None:
    """The sparse optimizer that is installed in a model, if any."""
    optimizer = innermost(getattr(model, "optimizer", None))
    return optimizer if isinstance(optimizer, SparseOptimizer) else None


def own_optimizer(model: keras.Model) -> Any:
    """The user's own optimizer, whatever is wrapped around it."""
    optimizer = innermost(model.optimizer)
    return optimizer.inner_optimizer if isinstance(optimizer, SparseOptimizer) else optimizer


def learning_rates(model: keras.Model, steps: int) -> np.ndarray:
    """The learning rate of every step of a run, from at most 200 samples of its schedule.

    A rate that callbacks change is taken as it is now.
    """
    rate = own_optimizer(model)._learning_rate
    if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
        at = np.linspace(0, steps - 1, min(steps, 200)).astype(int)
        values = [float(ops.convert_to_numpy(rate(int(step)))) for step in at]
        return np.interp(np.arange(steps), at, values)
    value = rate() if callable(rate) else rate
    return np.full(steps, float(ops.convert_to_numpy(value)))


def install(model: keras.Model, rule: Rule, selection: Selection) -> tuple[SparseOptimizer, bool]:
    """Puts a `SparseOptimizer` between a compiled model and its optimizer.

    A model whose last training was interrupted, or that was loaded from a checkpoint made while
    training, still carries one; its masks, counters and buffers are taken over.

    Returns:
        The sparse optimizer, and whether it was taken over.

    Raises:
        ValueError: If the model carries an unfinished training by another method.
    """
    previous = find(model)
    if previous is not None:
        _check_same(previous, rule, selection, model)
        previous.replace_rule(rule)
        _set_train_step(model, previous)
        _retrace(model)
        return previous, True
    inner = innermost(model.optimizer)
    with strategy_scope(model):
        sparse = SparseOptimizer(inner, rule, selection.targets)
        sparse.build(model.trainable_variables)
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        _put(model, sparse)
    try:
        _set_train_step(model, sparse)
    except ValueError:
        remove(model)
        raise
    _retrace(model)
    return sparse, False


def remove(model: keras.Model) -> None:
    """Gives a model its own optimizer back."""
    sparse = find(model)
    if sparse is None:
        return
    _put(model, sparse.inner_optimizer)
    if isinstance(sparse.rule, TwoGradientRule):
        vars(model).pop("train_step", None)
    _retrace(model)


@contextlib.contextmanager
def without(model: keras.Model) -> Iterator[None]:
    """Gives a model its own optimizer back for a while, to write a plain file in training."""
    installed = innermost(model.optimizer)
    _put(model, own_optimizer(model))
    try:
        yield
    finally:
        _put(model, installed)


def check_weights_path(argument: str, path: str | os.PathLike[str] | None) -> str | None:
    """A path that weights can be written to; `None` stays.

    Raises:
        ValueError: If it ends otherwise than in `.weights.h5`, or its folder is not writable.
    """
    if path is None:
        return None
    path = file_path(argument, path)
    folder = os.path.dirname(path) or "."
    if not path.endswith(".weights.h5"):
        raise ValueError(f"{argument} must end in '.weights.h5'. Received: {argument}={path!r}")
    if not os.path.isdir(folder) or not os.access(folder, os.W_OK):
        raise ValueError(f"{argument} cannot be written: no writable folder {folder!r}.")
    return path


def save_plain_weights(model: keras.Model, path: str) -> None:
    """Saves a model in training and its own optimizer as if it were not sparse, or not at all."""
    with without(model):
        partial = path.removesuffix(".weights.h5") + ".partial.weights.h5"
        model.save_weights(partial, overwrite=True)
        os.replace(partial, path)


def _set_train_step(model: keras.Model, sparse: SparseOptimizer) -> None:
    if isinstance(sparse.rule, TwoGradientRule):
        model.train_step = TwoGradientStep(model, sparse).step


def _put(model: keras.Model, optimizer: Any) -> None:
    """Makes an optimizer the one that takes a model's steps, inside loss scaling if any."""
    if isinstance(model.optimizer, LossScaleOptimizer):
        model.optimizer.inner_optimizer = optimizer
    else:
        model.optimizer = optimizer


def _retrace(model: keras.Model) -> None:
    """Makes the next step compile anew, and files name the optimizer that the model has."""
    model.train_function = None
    compile_config = getattr(model, "_compile_config", None)
    if compile_config is not None and "optimizer" in compile_config.config:
        compile_config.config["optimizer"] = model.optimizer


def _check_same(
    previous: SparseOptimizer, rule: Rule, selection: Selection, model: keras.Model
) -> None:
    same_rule = type(previous.rule) is type(rule)
    if same_rule and previous.targets == selection.targets:
        return
    before = [target.path for target in previous.targets]
    now = [target.path for target in selection.targets]
    difference = sorted(set(before) ^ set(now)) or [
        f"{type(previous.rule).__name__} before, {type(rule).__name__} now"
    ]
    raise ValueError(
        f"Model {model.name!r} carries an unfinished sparse training of another kind (they "
        f"differ in: {', '.join(difference)}). Finish it with the callback it was begun with, "
        "or compile the model anew to start over."
    )
