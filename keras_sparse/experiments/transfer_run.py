"""A run of a transfer study: an upstream model, and its transfers to each task."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_sparse import data, structured, transfer
from keras_sparse.analysis.pruned_filters import pruned_filters
from keras_sparse.experiments.catalog import METHODS
from keras_sparse.experiments.classifier import Images
from keras_sparse.experiments.images import accuracy, compiled, warm_cosine
from keras_sparse.experiments.networks import NETWORKS
from keras_sparse.experiments.saving import load_model, save_packed
from keras_sparse.experiments.transfer_config import (
    GMP,
    LTH_T,
    STR,
    STRUCTURED,
    WOODFISHER,
    TransferRunConfig,
    load_task,
)
from keras_sparse.messages.warning import SparsityWarning
from keras_sparse.methods.at_start.lottery_ticket import iterative_magnitude_pruning
from keras_sparse.methods.at_start.static_mask import StaticMask
from keras_sparse.posttrain.woodfisher import woodfisher
from keras_sparse.probe.batch_norm import batch_norm_tuning, batch_normalizations
from keras_sparse.probe.convolutions import CONVOLUTIONS
from keras_sparse.sparsity.report import report
from keras_sparse.transfer.comparison import DENSE

MODEL = "model.keras"
_HEAD = "logits"
_CALIBRATION = 1000
_TEST_BATCH = 500
_GRADIENTS = 200  # Of WoodFisher.
_STEPS = 3  # In which WoodFisher prunes, with training between.
_THRESHOLDS = (1e-4, 0.9)  # Of STR: next to nothing is below the first, next to all below the last.
_APART = 0.005  # How far from the sparsity asked for STR ends, wherever some threshold comes to it.
_FAR = 0.05  # How far where the sparsity leaps from one threshold to the next.
_TRAININGS = 12  # At most, in search of STR's threshold.


def begins_with_dense(method: str) -> bool:
    """Whether an upstream method begins with the trained dense model."""
    special = (GMP, WOODFISHER, LTH_T, STRUCTURED)
    return method in special or (method in METHODS and METHODS[method].after is not None)


def transfer_run(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A run from its configuration: the upstream model is made, then transferred.

    Args:
        config: Fields of `TransferRunConfig`; `"after"` is the folder of the dense run.
        folder: Where the upstream model is kept.

    Returns:
        The `accuracy` of the upstream model on its own task, its `sparsity` without the head,
        `pruned_filters` (`None` without convolutions), and of each of the `tasks` and modes the
        `best` and `last` test accuracy and the seconds.
    """
    given = {name: value for name, value in config.items() if name != "after"}
    settings = TransferRunConfig(**given)
    dense = folder.with_name(config["after"]) / MODEL if "after" in config else None
    began, path = time.process_time(), folder / MODEL
    dataset = load_task(settings.upstream, settings.images, settings.seed)
    if not path.exists():
        save_packed(_upstream_model(settings, dataset, dense), path)
    model = load_model(path)
    x, y = dataset.test
    compiled(model, 0.0, batch_norm_momentum=None)
    shape = model.inputs[0].shape[1:]
    result = {
        "accuracy": accuracy(model, (x[: settings.test_images], y[: settings.test_images])),
        "pruned_filters": pruned_filters(model) if _has_filters(model) else None,
        "sparsity": report(model, exclude=_HEAD).sparsity,
        "parameters": model.count_params(),
        "upstream_seconds": time.process_time() - began,
    }
    return {
        **result,
        "tasks": {task: _transfers(settings, model, task, shape) for task in settings.tasks},
    }


def _has_filters(model: keras.Model) -> bool:
    return any(isinstance(layer, CONVOLUTIONS) for layer in model._flatten_layers())


def _transfers(
    settings: TransferRunConfig, model: keras.Model, task: str, shape: Any
) -> dict[str, dict[str, Any]]:
    """What the transfers of a model to a task came to, by mode."""
    dataset = load_task(task, settings.transfer_images, settings.seed)
    images = Images(dataset, shape, batch_size=settings.batch_size, test=settings.test_images)
    (x, y), (x_test, y_test) = (
        tuple(np.concatenate(part) for part in zip(*batches.as_numpy_iterator(), strict=True))
        for batches in (images.train_batches(shuffle=False), images.test_batches())
    )
    tested = data.pipeline(x_test, y_test, _TEST_BATCH, shuffle=False)
    found = {}
    for mode in settings.modes:
        common: dict[str, Any] = {
            "classes": dataset.num_classes,
            "dense": report(model, exclude=_HEAD).sparsity == 0,
            "batch_size": settings.batch_size,
            "seed": settings.seed,
        }
        trained: dict[str, Any] = {
            "epochs": settings.transfer_epochs,
            "validation_data": tested,
            "verbose": 0,
        }
        began = time.process_time()
        keras.utils.set_random_seed(settings.seed)
        if mode == "lbfgs":
            made = transfer.linear(model, x, y, solver="lbfgs", **common)
            score = made.model.evaluate(tested, verbose=0)[1]
            scores = {"best": score, "last": score}
        elif mode == "linear":
            rate = settings.linear_rate
            made = transfer.linear(model, x, y, learning_rate=rate, **common, **trained)
            scores = {"best": made.best(), "last": made.last()}
        else:
            rate = settings.full_rate
            made = transfer.full(model, x, y, learning_rate=rate, **common, **trained)
            scores = {"best": made.best(), "last": made.last()}
        found[mode] = {**scores, "seconds": time.process_time() - began}
    return found


def _upstream_model(
    settings: TransferRunConfig, dataset: data.Dataset, dense: Path | None
) -> keras.Model:
    keras.utils.set_random_seed(settings.seed)
    if dense is not None:
        return _from_dense(settings, dataset, load_model(dense))
    if settings.method == STR:
        return _str(settings, dataset)
    model = NETWORKS[settings.model](dataset.input_shape, dataset.num_classes)
    how = {"exclude": _HEAD, "seed": settings.seed}
    callback = None
    if settings.method != DENSE:
        method = METHODS[settings.method]
        calibration = tuple(part[:_CALIBRATION] for part in dataset.train)
        more = {"data": calibration} if method.takes_data else {}
        callback = method.make(sparsity=settings.sparsity, **how, **more)
    _fit(model, settings, dataset, settings.epochs, [callback] if callback else [])
    return model


def _str(settings: TransferRunConfig, dataset: data.Dataset) -> keras.Model:
    """STR, whose sparsity follows from its threshold: the one that comes to the sparsity."""
    (low, high), (under, over) = (math.log(threshold) for threshold in _THRESHOLDS), (0.0, 1.0)
    apart, found, told = math.inf, None, []
    for _ in range(_TRAININGS):
        share = min(max((settings.sparsity - under) / (over - under), 0.25), 0.75)
        middle = low + share * (high - low)
        keras.utils.set_random_seed(settings.seed)
        model = NETWORKS[settings.model](dataset.input_shape, dataset.num_classes)
        pruning = METHODS[STR].make(threshold=math.exp(middle), exclude=_HEAD)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always", SparsityWarning)
            _fit(model, settings, dataset, settings.epochs, [pruning])
        reached = report(model, exclude=_HEAD).sparsity
        if abs(reached - settings.sparsity) < apart:
            apart, found, told = abs(reached - settings.sparsity), model, said
        if apart <= _APART:
            break
        if reached < settings.sparsity:
            low, under = middle, reached
        else:
            high, over = middle, reached
    if found is None or apart > _FAR:
        raise RuntimeError(
            f"In {_TRAININGS} trainings STR came to {under:.1%} and {over:.1%} zeros, not within "
            f"{_FAR} of {settings.sparsity:.1%}. Train for more epochs, or leave STR out."
        )
    for each in told:  # Those of thresholds that are not taken are nobody's concern.
        warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
    return found


def _from_dense(
    settings: TransferRunConfig, dataset: data.Dataset, model: keras.Model
) -> keras.Model:
    """The upstream models of methods that begin with the dense one."""
    made: dict[str, Callable[..., keras.Model]] = {
        GMP: _gmp,
        LTH_T: _lth_t,
        STRUCTURED: _structured,
        WOODFISHER: _woodfisher,
    }
    return made.get(settings.method, _one_shot)(settings, dataset, model)


def _gmp(settings: TransferRunConfig, dataset: data.Dataset, model: keras.Model) -> keras.Model:
    how = {"sparsity": settings.sparsity, "exclude": _HEAD, "seed": settings.seed}
    _fit(model, settings, dataset, settings.epochs, [METHODS[GMP].make(**how)])
    return model


def _woodfisher(
    settings: TransferRunConfig, dataset: data.Dataset, model: keras.Model
) -> keras.Model:
    """Pruned in steps, trained after each with its zeros in place."""
    calibration = tuple(part[:_GRADIENTS] for part in dataset.train)
    compiled(model, 0.0, batch_norm_momentum=None)
    for step in range(_STEPS):
        sparsity = 1 - (1 - settings.sparsity) ** ((step + 1) / _STEPS)
        woodfisher(model, calibration, sparsity=sparsity, exclude=_HEAD)
        epochs = max(1, settings.epochs // _STEPS)
        _fit(model, settings, dataset, epochs, [StaticMask(mask="current", exclude=_HEAD)])
    return model


def _lth_t(settings: TransferRunConfig, dataset: data.Dataset, model: keras.Model) -> keras.Model:
    """The dense model under the mask of a ticket, which a new network is searched for."""
    searched = keras.models.clone_model(model)
    _compile(searched, settings, dataset, settings.ticket_epochs)
    fit = {
        "x": _batches(settings, dataset),
        "epochs": settings.ticket_epochs,
        "shuffle": False,
        "verbose": 0,
    }
    ticket = iterative_magnitude_pruning(searched, settings.sparsity, fit, exclude=_HEAD)
    return transfer.lth_transfer(model, ticket)


def _structured(
    settings: TransferRunConfig, dataset: data.Dataset, model: keras.Model
) -> keras.Model:
    """Filters of the smallest norms removed for good, the rest trained on."""
    smaller = structured.prune(model, params=1 - settings.sparsity, criterion="l1")
    _fit(smaller, settings, dataset, settings.epochs, [])
    return smaller


def _one_shot(
    settings: TransferRunConfig, dataset: data.Dataset, model: keras.Model
) -> keras.Model:
    """Pruned at once, not trained; statistics of normalization are measured anew."""
    calibration = tuple(part[:_CALIBRATION] for part in dataset.train)
    compiled(model, 0.0, batch_norm_momentum=None)
    after = METHODS[settings.method].after
    if after is not None:
        after(model, calibration, sparsity=settings.sparsity, exclude=_HEAD)
    if batch_normalizations(model):
        batch_norm_tuning(model, calibration[0])
    return model


def _batches(settings: TransferRunConfig, dataset: data.Dataset) -> Any:
    return data.pipeline(*dataset.train, batch_size=settings.batch_size, seed=settings.seed)


def _compile(
    model: keras.Model, settings: TransferRunConfig, dataset: data.Dataset, epochs: int
) -> None:
    steps = epochs * -(-len(dataset.y_train) // settings.batch_size)
    compiled(model, warm_cosine(settings.learning_rate, steps), weight_decay=5e-4)


def _fit(
    model: keras.Model,
    settings: TransferRunConfig,
    dataset: data.Dataset,
    epochs: int,
    callbacks: list[Any],
) -> None:
    _compile(model, settings, dataset, epochs)
    batches = _batches(settings, dataset)
    model.fit(batches, epochs=epochs, shuffle=False, verbose=0, callbacks=callbacks)
