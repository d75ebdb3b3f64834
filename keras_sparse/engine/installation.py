"""Installing a sparse optimizer in a model, and taking it out again."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_sparse.backend.replicas import strategy_scope
from keras_sparse.engine.rule import Rule
from keras_sparse.engine.sparse_optimizer import SparseOptimizer
from keras_sparse.engine.train_step import replace_step
from keras_sparse.messages.arguments import file_path
from keras_sparse.sparsity.selection import Selection

LossScaleOptimizer = keras.optimizers.LossScaleOptimizer


def innermost(optimizer: Any) -> Any:
    """The optimizer that takes the steps, inside loss scaling."""
    return optimizer.inner_optimizer if isinstance(optimizer, LossScaleOptimizer) else optimizer


def find(model: keras.Model) -> SparseOptimizer | None:
    """The sparse optimizer that is installed in a model, if any."""
    optimizer = innermost(getattr(model, "optimizer", None))
    return optimizer if isinstance(optimizer, SparseOptimizer) else None


def skips_steps(model: keras.Model) -> bool:
    """Whether loss scaling has skipped steps of a model in training."""
    outer = model.optimizer
    if not isinstance(outer, LossScaleOptimizer) or not outer.built:
        return False
    return float(ops.convert_to_numpy(outer.dynamic_scale)) < outer.initial_scale


def own_optimizer(model: keras.Model) -> Any:
    """The user's own optimizer, whatever is wrapped around it."""
    optimizer = innermost(model.optimizer)
    return optimizer.inner_optimizer if isinstance(optimizer, SparseOptimizer) else optimizer


def install(
    model: keras.Model,
    rule: Rule,
    selection: Selection,
    notes: Mapping[str, np.ndarray] | None = None,
    fit: object = None,
) -> tuple[SparseOptimizer, bool]:
    """Puts a `SparseOptimizer` between a compiled model and its optimizer.

    A model whose last training was interrupted, or that was loaded from a checkpoint made while
    training, still carries one; its masks, counters and buffers are taken over.

    Args:
        model: A compiled model.
        rule: The method.
        selection: What is pruned.
        notes: First values of what a callback keeps with the masks, by name.
        fit: Anything that is the same object for all callbacks of one `fit`.

    Returns:
        The sparse optimizer, and whether it was taken over.

    Raises:
        ValueError: If the model carries an unfinished training by another method, or another
            callback of the same `fit` has installed a rule.
    """
    previous = find(model)
    if previous is not None:
        if fit is not None and previous.fit() is fit:
            remove(model)
            raise ValueError(
                f"{type(previous.rule).__name__} and {type(rule).__name__} would both prune model "
                f"{model.name!r} in the same fit. Give it one sparse-training callback."
            )
        _check_same(previous, rule, selection, model)
        previous.replace_rule(rule, notes or {})
        sparse = previous
    else:
        sparse = _put_new(model, rule, selection, notes or {})
    sparse.fit = lambda: fit
    try:
        sparse.train_step = rule.train_step(model, sparse)
    except ValueError:
        remove(model)
        raise
    if sparse.train_step is not None:
        replace_step(model, sparse.train_step)
    _retrace(model)
    return sparse, previous is not None


def _put_new(
    model: keras.Model, rule: Rule, selection: Selection, notes: Mapping[str, np.ndarray]
) -> SparseOptimizer:
    if model.optimizer is None:
        raise ValueError(f"Model {model.name!r} is not compiled. Compile it before fit.")
    with strategy_scope(model):
        sparse = SparseOptimizer(innermost(model.optimizer), rule, selection.targets, notes=notes)
        sparse.build(model.trainable_variables)
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        _put(model, sparse)
    return sparse


def remove(model: keras.Model) -> None:
    """Gives a model its own optimizer back."""
    sparse = find(model)
    if sparse is None:
        return
    _put(model, sparse.inner_optimizer)
    if sparse.train_step is not None:
        replace_step(model, None)
    _retrace(model)


@contextlib.contextmanager
def without(model: keras.Model) -> Iterator[None]:
    """Gives a model its own optimizer back for a while, to write a plain file in training."""
    installed = innermost(model.optimizer)
    _put(model, own_optimizer(model))
    _name_optimizer(model)
    try:
        yield
    finally:
        _put(model, installed)
        _name_optimizer(model)


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


def _put(model: keras.Model, optimizer: Any) -> None:
    """Makes an optimizer the one that takes a model's steps, inside loss scaling if any."""
    if isinstance(model.optimizer, LossScaleOptimizer):
        model.optimizer.inner_optimizer = optimizer
    else:
        model.optimizer = optimizer


def _retrace(model: keras.Model) -> None:
    """Makes the next step compile anew."""
    model.train_function = None
    _name_optimizer(model)


def _name_optimizer(model: keras.Model) -> None:
    """Makes files name the optimizer that the model has."""
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
