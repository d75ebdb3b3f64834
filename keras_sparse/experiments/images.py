"""Image classifiers: how they are compiled for runs and benchmarks, and what a trained one is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_sparse.data import Dataset
from keras_sparse.experiments.backup import resumable_fit
from keras_sparse.models import set_batch_norm_momentum
from keras_sparse.sparsity.report import report


def warm_cosine(peak: float, steps: int, warmup: int = 0) -> Any:
    """A learning rate that rises from a tenth of its peak and falls to 0 along a cosine.

    Args:
        peak: Its largest value.
        steps: Steps in all.
        warmup: Those in which it rises; without any it begins at the peak.
    """
    return keras.optimizers.schedules.CosineDecay(
        peak / 10 if warmup else peak,
        decay_steps=steps - warmup,
        warmup_target=peak if warmup else None,
        warmup_steps=warmup,
    )


def compiled(
    model: keras.Model,
    rate: Any,
    momentum: float = 0.9,
    batch_norm_momentum: float | None = 0.9,
    weight_decay: float | None = None,
    clipnorm: float | None = None,
    from_logits: bool = True,
    **more: Any,
) -> keras.Model:
    """A classifier, compiled with SGD.

    Args:
        model: The model.
        rate: The learning rate or its schedule.
        momentum: SGD's momentum.
        batch_norm_momentum: That of moving averages; `None` leaves them theirs.
        weight_decay: Decoupled weight decay.
        clipnorm: The largest norm of all gradients together.
        from_logits: Whether its outputs are logits, rather than probabilities.
        **more: Further arguments of `model.compile`.

    Returns:
        The model.
    """
    if batch_norm_momentum is not None:
        set_batch_norm_momentum(model, batch_norm_momentum)
    model.compile(
        keras.optimizers.SGD(
            rate, momentum, weight_decay=weight_decay or None, global_clipnorm=clipnorm
        ),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits),
        # A metric by its name is made in the first step, which is then traced twice.
        metrics=[keras.metrics.SparseCategoricalAccuracy("accuracy")],
        **more,
    )
    return model


def accuracy(model: keras.Model, test: tuple[np.ndarray, np.ndarray]) -> float:
    """The fraction of images that a compiled model knows.

    Args:
        model: A model that `compiled` has made ready.
        test: Images and labels.
    """
    return model.evaluate(*test, batch_size=500, verbose=0)[1]


def outcome(model: keras.Model, test: tuple[np.ndarray, np.ndarray]) -> dict[str, Any]:
    """What a trained model came to: its accuracy, its zeros, the cost of an inference.

    Args:
        model: A model that `compiled` has made ready.
        test: Images and labels.
    """
    loss, accuracy = model.evaluate(*test, batch_size=500, verbose=0)
    found = report(model)
    # Both are known or neither is.
    ratio = found.flops / found.dense_flops if found.flops and found.dense_flops else None
    return {
        "test_accuracy": accuracy,
        "test_loss": loss,
        "sparsity": found.sparsity,
        "layer_sparsity": {row.path: row.sparsity for row in found.prunable},
        "inference_flops_ratio": ratio,
    }


def trained(
    model: keras.Model, dataset: Dataset, folder: Path | None, **fit: Any
) -> dict[str, Any]:
    """Trains a model in the folder of its run, and tells what it came to.

    Args:
        model: A model that `compiled` has made ready.
        dataset: What it is trained and tested on.
        folder: Where the backup is; `None` for none.
        **fit: Further arguments of `resumable_fit`.

    Returns:
        Its `outcome`, what the training cost, and the logs of each epoch as `"history"`.
    """
    rows = resumable_fit(model, dataset.train, folder and folder / "backup", **fit)
    return {
        **outcome(model, dataset.test),
        "train_flops_ratio": rows[-1].get("train_flops_ratio", 1.0) if rows else 1.0,
        "seconds": sum(row["seconds"] for row in rows),
        "cpu_seconds": sum(row["cpu_seconds"] for row in rows),
        "history": rows,
    }
