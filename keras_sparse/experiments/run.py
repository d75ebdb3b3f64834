"""A training run in a folder: resumable after every epoch, finished with files to look at.

`config.json` without `result.json` marks a run to resume, with it a finished one. Every file is
written whole or not at all.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import shutil
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras

from keras_sparse import data, models
from keras_sparse.deploy import to_litert
from keras_sparse.engine.backup import finished_epochs
from keras_sparse.experiments.backup import resumable_fit
from keras_sparse.experiments.config import (
    CONFIG,
    RESULT,
    RunConfig,
    check_settings,
    read_config,
    read_result,
)
from keras_sparse.experiments.folder import (
    BACKUP,
    HISTORY,
    MODEL,
    check_contents,
    check_place,
    has_step,
)
from keras_sparse.experiments.images import compiled, warm_cosine
from keras_sparse.experiments.pipelines import NAMED
from keras_sparse.experiments.saving import save_packed
from keras_sparse.plots.runs import read_history, training_curve, write_history
from keras_sparse.sparsity.report import report
from keras_sparse.storage.files import remove_leftovers, replace_file
from keras_sparse.storage.lock import locked

CALIBRATION = 1000  # samples for methods that look at data before or after training


def train(
    config: RunConfig,
    out: str | os.PathLike[str],
    resume: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    trained: str | os.PathLike[str] | None = None,
) -> dict[str, Any]:
    """Trains in a folder and leaves there what the run came to.

    At the end the folder holds `model.keras`, `model.tflite` (checked against Keras on test
    images), `history.csv` (a row an epoch), `curve.png`, and last of all `result.json`. Up to
    then it holds a backup, written after each epoch, from which an interrupted run goes on. The
    order of the images follows from seed and epoch alone, so that a run ends with the same
    weights whether it was interrupted or not. Nothing is written before the method has accepted
    model and settings, and a run without a finished epoch may be begun anew with other ones.

    ```python
    result = train(RunConfig(data="digits", epochs=20), "runs/digits")
    print(result["accuracy"], result["sparsity"], result["tflite_bytes"])
    ```

    Args:
        config: What to train.
        out: The folder, which is made if need be.
        resume: Whether to go on with the run in the folder; a finished one gives its result.
        callbacks: Further Keras callbacks.
        trained: Folder of a finished dense run with the same settings, whose model is pruned
            instead of training it once more. For methods that are dense training and pruning
            after it.

    Returns:
        What `result.json` holds.

    Raises:
        ValueError: If the folder holds another run or foreign files, `resume` finds no run or no
            readable backup, the configuration does not suit the model or the data, or `trained`
            holds no such run or the method cannot start from one.
        FolderInUseError: If another process trains in the folder.
        OSError: If the folder cannot be written, or the data cannot be had.
        FloatingPointError: If training diverged; the backups of earlier epochs stay.
    """
    out = Path(out).expanduser()
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"Runs end with a LiteRT file, which needs KERAS_BACKEND=tensorflow. Received: "
            f"KERAS_BACKEND={keras.backend.backend()}"
        )
    check_place(out)
    with locked(out):
        check_contents(out, resume)
        return _train(config, out, resume, callbacks, trained)


def _train(
    config: RunConfig,
    out: Path,
    resume: bool,
    callbacks: Sequence[keras.callbacks.Callback],
    trained: str | os.PathLike[str] | None,
) -> dict[str, Any]:
    if resume:
        if has_step(out):
            check_settings(dataclasses.asdict(config), read_config(out), out)
        result = read_result(out)
        if result is not None:
            return result
    remove_leftovers(out)
    if trained is not None:
        trained = Path(trained).expanduser()
        _check_trained(config, trained)
    keras.utils.set_random_seed(config.seed)
    dataset = data.load(config.data, limit=config.limit, seed=config.seed)
    if trained is None:
        model, history = _fit(config, out, dataset, callbacks)
    else:
        model = keras.saving.load_model(os.path.join(trained, MODEL))
        history = read_history(os.path.join(trained, HISTORY))
        _begin(config, out)
    result = _finish(config, out, model, dataset, history)
    shutil.rmtree(out / BACKUP, ignore_errors=True)
    return result


def _begin(config: RunConfig, out: Path) -> None:
    replace_file(out / CONFIG, config.to_json().encode())


def _fit(
    config: RunConfig,
    out: Path,
    dataset: data.Dataset,
    callbacks: Sequence[keras.callbacks.Callback],
) -> tuple[keras.Model, dict[str, list[float]]]:
    model = compiled_model(config, dataset)
    scored = dataset.train if NAMED[config.method].all_data else _calibration(dataset)
    method = config.callback(scored)
    # After the method's own beginning, in which it refuses what it cannot work with.
    begin = keras.callbacks.LambdaCallback(on_train_begin=lambda logs: _begin(config, out))
    try:
        rows = resumable_fit(
            model,
            dataset.train,
            out / BACKUP,
            epochs=config.epochs,
            batch_size=config.batch_size,
            seed=config.seed,
            augment=config.augment,
            callbacks=[each for each in (config.precision_callback(), method) if each],
            watching=[begin, *callbacks],
            validation_data=dataset.test,
            validation_batch_size=500,
        )
    except FloatingPointError as error:
        raise FloatingPointError(
            f"{error} {os.fspath(out)!r} keeps the state of {finished_epochs(out / BACKUP)} "
            "finished epochs, but the same settings would diverge again: start a run in another "
            f"folder with a learning rate below {config.learning_rate:g}."
        ) from error
    return model, {name: [row[name] for row in rows] for name in rows[0]}


def _check_trained(config: RunConfig, trained: Path) -> None:
    """Checks that a folder holds the dense run that a method would begin with."""
    if not config.prunes_dense_model:
        raise ValueError(
            f"trained is for methods that prune after dense training. Received: method="
            f"{config.method!r}. Leave trained out, and it trains itself."
        )
    if read_result(trained) is None:
        raise ValueError(f"trained={os.fspath(trained)!r} holds no finished run.")
    check_settings(dataclasses.asdict(config.dense()), read_config(trained), trained)


def compiled_model(config: RunConfig, dataset: data.Dataset) -> keras.Model:
    """The model of a run before its first step, with SGD and its learning-rate schedule.

    Args:
        config: What to train.
        dataset: The data set that it names.

    Raises:
        ValueError: If the model cannot be built with the configuration's arguments.
    """
    shapes = {"input_shape": dataset.input_shape, "num_classes": dataset.num_classes}
    try:
        model = models.get(config.model, **shapes, seed=config.seed, **config.model_args)
    except TypeError as error:
        raise ValueError(
            f"Model {config.model!r} cannot be built with {dict(config.model_args)}: {error}"
        ) from error
    start = NAMED[config.method].start
    if start is not None:
        start(model, config.seed)
    steps = math.ceil(len(dataset.x_train) / config.batch_size)
    warmup = steps if config.epochs > 1 else 0
    rate = warm_cosine(config.learning_rate, config.epochs * steps, warmup)
    return compiled(
        model,
        rate,
        config.momentum,
        batch_norm_momentum=None,
        weight_decay=config.weight_decay,
        # Without it LeNet-5, which has no normalization, diverges from some seeds.
        clipnorm=1.0,
    )


def _calibration(dataset: data.Dataset) -> tuple[Any, Any]:
    return dataset.x_train[:CALIBRATION], dataset.y_train[:CALIBRATION]


def steps_to_loss(config: RunConfig, losses: Sequence[float], images: int) -> int | None:
    """Steps until the end of the first epoch with a training loss below the target.

    Args:
        config: The run's settings.
        losses: The mean training loss of each epoch.
        images: Training images.

    Returns:
        The number, `None` if there is no such epoch.
    """
    below = [i for i, loss in enumerate(losses) if loss < config.loss_target]
    return math.ceil(images / config.batch_size) * (below[0] + 1) if below else None


def _finish(
    config: RunConfig,
    out: Path,
    model: keras.Model,
    dataset: data.Dataset,
    history: dict[str, list[float]],
) -> dict[str, Any]:
    began = time.perf_counter()
    config.prune_trained(model, _calibration(dataset))
    loss, accuracy = model.evaluate(*dataset.test, batch_size=500, verbose=0)
    save_packed(model, out / MODEL)
    exported = to_litert(
        model, out / "model.tflite", not config.is_dense, inputs=dataset.x_test[:64]
    )
    counted = report(model, exclude=config.exclude, keep_dense=config.keep_dense)
    write_history(history, out / HISTORY)
    title = f"{config.method}: {config.model} on {config.data}, {counted.sparsity:.1%} zeros"
    training_curve(history, out / "curve.png", title=title)
    # Dense training takes three inferences a sample, and each method logs its share of that.
    dense_cost = 3 * (counted.dense_flops or math.nan) * len(dataset.x_train) * config.epochs
    result = {
        **dataclasses.asdict(config),
        "accuracy": accuracy,
        "loss": loss,
        "steps_to_loss": steps_to_loss(config, history["loss"], len(dataset.x_train)),
        "sparsity": counted.sparsity,
        "nonzeros": counted.nonzeros,
        "weights": counted.size,
        "layers": {row.path: row.sparsity for row in counted.prunable},
        "inference_flops": counted.flops,
        "dense_inference_flops": counted.dense_flops,
        "training_flops": dense_cost * history.get("train_flops_ratio", [1.0])[-1],
        "dense_training_flops": dense_cost,
        "keras_bytes": (out / MODEL).stat().st_size,
        "tflite_bytes": exported.bytes,
        "tflite_gzip_bytes": exported.gzip_bytes,
        "tflite_error": max(exported.max_error.values()),
        "seconds": sum(history["seconds"]) + time.perf_counter() - began,
        "version": version("keras-sparse"),
    }
    # JSON knows no NaN.
    known = {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in result.items()}
    replace_file(out / RESULT, (json.dumps(known, indent=2) + "\n").encode())
    return known
