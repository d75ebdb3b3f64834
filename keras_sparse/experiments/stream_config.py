"""What a streaming run is made of: the data as they stream, and the network."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np

from keras_sparse import data, streaming
from keras_sparse.experiments.networks import NETWORKS
from keras_sparse.experiments.stream_objects import similar_images
from keras_sparse.messages.arguments import integer, number, one_of, optional
from keras_sparse.models import set_batch_norm_momentum
from keras_sparse.streaming.evaluation.orderings import Order

METHODS = (
    "cssl",
    "cssl-pretrained",
    "sparse-cssl",
    "fine-tuning",
    "frozen",
    "exstream",
    "slda",
    "remind",
    "remind-extra",
    "icarl",
    "e2eil",
)
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
        order: `"class-incremental"`, `"iid"`, `"class-iid"`, `"instance"` or `"class-instance"`;
            objects of the last two are groups of similar images.
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
        batch_norm_momentum: Share of the old value that a step leaves in the moving statistics of
            batch normalization.
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
    batch_norm_momentum: float = 0.9
    seed: int = 0

    def __post_init__(self) -> None:
        data.available(self.data)
        one_of("model", self.model, tuple(NETWORKS))
        one_of("method", self.method, ("offline", *METHODS))
        one_of("order", self.order, streaming.orderings.NAMES)
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
        number("batch_norm_momentum", self.batch_norm_momentum, "[0, 1)")
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
    objects = None
    if config.order in streaming.orderings.BY_OBJECTS:
        rows, objects = similar_images(x, y, seed=config.seed)
        x, y = x[rows], y[rows]
    order = streaming.orderings.order_of(config.order, y, objects, seed=config.seed)
    standardize = tuple((scale * each).tolist() for each in (loaded.mean, loaded.std))
    return Stream(x, y, test, order, loaded.num_classes, standardize)


def model_of(config: StreamConfig, stream: Stream) -> keras.Model:
    """The network of a configuration, new."""
    keras.utils.set_random_seed(config.seed)
    network = NETWORKS[config.model](stream.x.shape[1:], stream.classes)
    set_batch_norm_momentum(network, config.batch_norm_momentum)
    return network
