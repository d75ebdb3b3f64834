"""One run of a streaming method on a data set."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_sparse import streaming
from keras_sparse.experiments.stream_config import (
    AUGMENTS,
    Stream,
    StreamConfig,
    model_of,
    stream_of,
)
from keras_sparse.methods import SET
from keras_sparse.streaming.evaluation.events import event_positions
from keras_sparse.streaming.learner.learner import StreamLearner
from keras_sparse.streaming.learner.offline import train_offline


def _cssl(config: StreamConfig, stream: Stream, model: keras.Model, **more: Any) -> StreamLearner:
    return streaming.StreamingLearner(
        model,
        **{
            "capacity": config.capacity,
            "capacity_bytes": config.capacity_bytes,
            "compression": config.compression,
            "eviction": config.eviction,
            "replay_size": config.replay,
            "augment": AUGMENTS[config.augment],
            "standardize": stream.standardize,
            "seed": config.seed,
            **more,
        },
    )


def _sparse(config: StreamConfig, stream: Stream, model: keras.Model) -> StreamLearner:
    steps = len(stream.y)
    method = SET(config.sparsity, every="5%", keep_dense=("last",))
    return _cssl(config, stream, model, sparse=method, steps=steps)


def _frozen(config: StreamConfig, stream: Stream, model: keras.Model) -> StreamLearner:
    learner = _cssl(config, stream, model)
    _initialize(config, stream, learner)
    fresh = model_of(config, stream)
    fresh.set_weights(model.get_weights())
    streaming.freeze_first(fresh, config.frozen)
    return _cssl(config, stream, fresh)


def _exstream(config: StreamConfig, stream: Stream, model: keras.Model) -> StreamLearner:
    size = model.get_layer("features").output.shape[-1]
    capacity = config.capacity_bytes and config.capacity_bytes / (4 * size)
    per_class = int((config.capacity or capacity or 20 * stream.classes) // stream.classes)
    return streaming.ExStream(
        model, "features", max(1, per_class), standardize=stream.standardize, seed=config.seed
    )


def _slda(config: StreamConfig, stream: Stream, model: keras.Model) -> StreamLearner:
    return streaming.DeepSLDA(model, "features", standardize=stream.standardize)


def _remind(
    config: StreamConfig, stream: Stream, model: keras.Model, extra: bool = False
) -> StreamLearner:
    return streaming.REMIND(
        model,
        "middle",
        capacity=config.capacity,
        capacity_bytes=config.capacity_bytes,
        replay_size=config.replay,
        codebooks=8,
        codebook_size=64,
        extra=extra,
        standardize=stream.standardize,
        seed=config.seed,
    )


def _incremental(kind: Any) -> Callable[[StreamConfig, Stream, keras.Model], StreamLearner]:
    def made(config: StreamConfig, stream: Stream, model: keras.Model) -> StreamLearner:
        images = config.capacity_bytes and config.capacity_bytes // stream.x[0].size
        return kind(
            model,
            "features",
            int(config.capacity or images or len(stream.y)),
            epochs=config.base_epochs,
            augment=AUGMENTS["none" if config.augment == "none" else "crop"],
            standardize=stream.standardize,
            seed=config.seed,
        )

    return made


# By name: what makes the learner, and whether it is initialized on base classes.
_MADE: dict[str, tuple[Callable[[StreamConfig, Stream, keras.Model], StreamLearner], bool]] = {
    "cssl": (_cssl, False),
    "cssl-pretrained": (_cssl, True),
    "sparse-cssl": (_sparse, False),
    "fine-tuning": (lambda c, s, m: _cssl(c, s, m, replay_size=0), False),
    "frozen": (_frozen, False),
    "exstream": (_exstream, True),
    "slda": (_slda, True),
    "remind": (_remind, True),
    "remind-extra": (lambda c, s, m: _remind(c, s, m, extra=True), True),
    "icarl": (_incremental(streaming.ICaRL), False),
    "e2eil": (_incremental(streaming.E2EIL), False),
}


def _initialize(config: StreamConfig, stream: Stream, learner: Any) -> None:
    labels = stream.y[stream.order.indices]
    first = list(dict.fromkeys(labels.tolist()))[: config.base_classes]
    base = np.isin(stream.y, first)
    learner.base_initialize(stream.x[base], stream.y[base], epochs=config.base_epochs)


def _stored_bytes(learner: Any) -> int:
    """What a learner keeps of the examples, in bytes."""
    if hasattr(learner, "buffer"):
        return learner.buffer.nbytes
    if hasattr(learner, "prototypes"):
        return sum(each.vectors.nbytes for each in learner.prototypes)
    if hasattr(learner, "exemplars"):
        return sum(each.nbytes for each in learner.exemplars.values())
    return learner.lda.covariance.nbytes + learner.lda.means.nbytes


def offline_run(config: StreamConfig, stream: Stream) -> list[float]:
    """The accuracies of new models, each trained on all that had come at a testing event."""
    found = []
    for position in event_positions(stream.order, stream.y, config.events):
        met, model = stream.order.indices[:position], model_of(config, stream)
        train_offline(
            model,
            stream.x[met],
            stream.y[met],
            classes=stream.classes,
            epochs=config.offline_epochs,
            augment=AUGMENTS["none" if config.augment == "none" else "crop"],
            standardize=stream.standardize,
            seed=config.seed,
        )
        tester = streaming.StreamingLearner(model, standardize=stream.standardize)
        classes = np.unique(stream.y[met]) if stream.order.by_class else None
        found.append(tester.evaluate(*stream.test, position, classes).accuracy)
    return found


def stream_run(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A run from its configuration, in its folder, where an interrupted one goes on."""
    settings = StreamConfig(**config)
    began, stream = time.process_time(), stream_of(settings)
    if settings.method == "offline":
        accuracies = offline_run(settings, stream)
        return {"accuracies": accuracies, "seconds": time.process_time() - began}
    make, initialized = _MADE[settings.method]
    learner = make(settings, stream, model_of(settings, stream))
    states = folder / "states"
    if initialized and not states.exists():
        _initialize(settings, stream, learner)
    history = learner.fit_stream(
        stream.x,
        stream.y,
        stream.order,
        test=stream.test,
        events=settings.events,
        backup=states,
        backup_every=2000,
    )
    weights = getattr(learner, "model").trainable_variables  # noqa: B009 - of every learner here
    kernels = [keras.ops.convert_to_numpy(v) for v in weights if len(v.shape) > 1]
    zeros = sum(int((kernel == 0).sum()) for kernel in kernels)
    return {
        "accuracies": history.accuracies,
        "ece": history.average_ece,
        "forgetting": history.forgetting,
        "confusion": history.events[-1].confusion,
        "bins": history.events[-1].bins,
        "counts": getattr(getattr(learner, "buffer", None), "class_counts", {}),
        "bytes": _stored_bytes(learner),
        "zeros": zeros / max(1, sum(kernel.size for kernel in kernels)),
        "seconds": time.process_time() - began,
    }
