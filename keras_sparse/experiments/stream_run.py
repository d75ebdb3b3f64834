"""One run of a streaming method on a data set, and what it is made of."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

from keras_sparse import data, streaming
from keras_sparse.messages.arguments import integer, number, one_of, optional
from keras_sparse.methods import SET
from keras_sparse.streaming.evaluation.events import event_positions
from keras_sparse.streaming.evaluation.orderings import Order
from keras_sparse.streaming.learner.learner import StreamLearner
from keras_sparse.streaming.learner.offline import train_offline

AUGMENTS = {
    "none": None,
    "crop": streaming.StreamingAugment(policy=None, mixup_alpha=None, cutmix_alpha=None),
    "mixup": streaming.StreamingAugment(policy=None, cutmix_alpha=None),
    "cutmix": streaming.StreamingAugment(policy=None, mixup_alpha=None),
    "mix": streaming.StreamingAugment(policy=None),
    "full": streaming.StreamingAugment(),
}
# What digits' sixteen levels are stretched by to fill a byte.
_DIGIT_SCALE = 15


@dataclasses.dataclass(frozen=True)
class StreamConfig:
    """Everything that a streaming run's result follows from.

    Args:
        data: A data set of `keras_sparse.data.load`.
        model: `"mlp"`, `"conv"` or `"small-conv"`.
        method: A name in `METHODS`.
        order: `"class-incremental"`, `"iid"` or `"class-iid"`; or by instances, which are made of
            runs of similar images.
        events: When to test.
        capacity: Examples in the buffer; `None` for as many as the bytes hold.
        capacity_mb: Millions of bytes of the buffer.
        bits: Of a stored pixel.
        area: The share of the pixels that is stored.
        eviction: Of the buffer.
        replay: B, how many examples are replayed in a step.
        augment: A name in `AUGMENTS`.
        base_classes: Classes that rivals are initialized on.
        base_epochs: Passes over them.
        offline_epochs: Passes of the offline reference.
        limit: Training examples; `None` for all.
        test_limit: Test examples; `None` for all.
        noise: Standard deviation of what is added to the pixels, in their units.
        sparsity: Of the method `"sparse-cssl"`.
        frozen: The name of the last frozen layer of the method `"frozen"`.
        seed: Of all that is random.

    Raises:
        ValueError: If a value is none that can be used.
    """

    data: str = "digits"
    model: str = "mlp"
    method: str = "cssl"
    order: str = "class-incremental"
    events: str = "batch"
    capacity: int | None = None
    capacity_mb: float | None = None
    bits: int = 8
    area: float = 1.0
    eviction: str = "class_balanced"
    replay: int = 100
    augment: str = "none"
    base_classes: int = 2
    base_epochs: int = 50
    offline_epochs: int = 40
    limit: int | None = None
    test_limit: int | None = None
    noise: float = 0.0
    sparsity: float = 0.9
    frozen: str = "features"
    seed: int = 0

    def __post_init__(self) -> None:
        data.available(self.data)
        one_of("model", self.model, tuple(MODELS))
        one_of("method", self.method, ("offline", *METHODS))
        one_of("order", self.order, streaming.orderings.NAMES[:3])
        one_of("augment", self.augment, tuple(AUGMENTS))
        for name in ("capacity", "limit", "test_limit"):
            optional(integer, name, getattr(self, name))
        for name in ("base_classes", "base_epochs", "offline_epochs"):
            integer(name, getattr(self, name))
        integer("replay", self.replay, 0)
        integer("seed", self.seed, 0)
        optional(number, "capacity_mb", self.capacity_mb, "(0, inf)")
        number("noise", self.noise, "[0, inf)")
        number("sparsity", self.sparsity, "[0, 1)")
        streaming.ImageCompression(bits=self.bits, area=self.area)
        streaming.ReplayBuffer(eviction=self.eviction)

    @property
    def compression(self) -> streaming.ImageCompression:
        """Of the buffer's images."""
        return streaming.ImageCompression(bits=self.bits, area=self.area)

    @property
    def capacity_bytes(self) -> float | None:
        """Of the buffer."""
        return None if self.capacity_mb is None else 1e6 * self.capacity_mb


@dataclasses.dataclass(frozen=True)
class Stream:
    """A data set as it streams: uint8 images."""

    x: np.ndarray
    y: np.ndarray
    test: tuple[np.ndarray, np.ndarray]
    order: Order
    classes: int
    standardize: tuple[Any, Any]


def stream_of(config: StreamConfig) -> Stream:
    """The stream of a configuration."""
    loaded = data.load(config.data, limit=config.limit, seed=config.seed)
    scale = _DIGIT_SCALE if config.data == "digits" else 1
    random = np.random.default_rng(config.seed)

    def pixels(x: np.ndarray) -> np.ndarray:
        raw = scale * np.rint(x * loaded.std + loaded.mean)
        if config.noise:
            raw = raw + random.normal(0, config.noise, raw.shape)
        return np.clip(np.rint(raw), 0, 255).astype(np.uint8)

    x, y = pixels(loaded.x_train), loaded.y_train
    test = pixels(loaded.x_test)[: config.test_limit], loaded.y_test[: config.test_limit]
    order = streaming.orderings.order_of(config.order, y, seed=config.seed)
    standardize = tuple((scale * each).tolist() for each in (loaded.mean, loaded.std))
    return Stream(x, y, test, order, loaded.num_classes, standardize)


def _mlp(shape: tuple[int, ...], classes: int) -> keras.Model:
    return keras.Sequential(
        [
            keras.Input(shape),
            layers.Flatten(),
            layers.Dense(128, activation="relu", name="middle"),
            layers.Dense(128, activation="relu", name="features"),
            layers.Dense(classes, name="logits"),
        ]
    )


def _conv(shape: tuple[int, ...], classes: int, widths: tuple[int, ...]) -> keras.Model:
    """Four convolutions with batch normalization."""
    inputs = x = keras.Input(shape)
    names = ("first", "second", "middle", "fourth")
    for i, (width, name) in enumerate(zip(widths, names, strict=True)):
        x = layers.Conv2D(width, 3, strides=1 + i % 2, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization()(x)
        x = layers.ReLU(name=name)(x)
    x = layers.GlobalAveragePooling2D(name="features")(x)
    return keras.Model(inputs, layers.Dense(classes, name="logits")(x))


MODELS: dict[str, Callable[[tuple[int, ...], int], keras.Model]] = {
    "mlp": _mlp,
    "small-conv": lambda shape, classes: _conv(shape, classes, (8, 16, 16, 32)),
    "conv": lambda shape, classes: _conv(shape, classes, (32, 32, 64, 64)),
}


def model_of(config: StreamConfig, stream: Stream) -> keras.Model:
    """The network of a configuration, new."""
    keras.utils.set_random_seed(config.seed)
    return MODELS[config.model](stream.x.shape[1:], stream.classes)


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
METHODS: dict[str, tuple[Callable[[StreamConfig, Stream, keras.Model], StreamLearner], bool]] = {
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
    make, initialized = METHODS[settings.method]
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
