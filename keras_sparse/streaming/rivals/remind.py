"""REMIND: replay of quantized features in the middle of a model."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np

from keras_sparse.backend.any_batch import any_batch_step
from keras_sparse.messages.arguments import boolean, integer, number, optional, wrong
from keras_sparse.streaming.augmentation.mixing import mix
from keras_sparse.streaming.learner.classifier import compile_as_the_source, softmax
from keras_sparse.streaming.learner.schedule import PerClassLinearDecay
from keras_sparse.streaming.learner.stream_states import State
from keras_sparse.streaming.replay.replay_buffer import ReplayBuffer
from keras_sparse.streaming.replay.resizing import interpolate
from keras_sparse.streaming.rivals.frozen_trunk import FrozenTrunk
from keras_sparse.streaming.rivals.product_quantizer import ProductQuantizer

# Of a random resized crop of maps: least share of the area, and the aspect ratios.
_LEAST_AREA, _RATIOS = 2 / 7, (3 / 4, 4 / 3)


class REMIND(FrozenTrunk):
    """Freezes a model up to a layer, and trains the rest on quantized features of that layer.

    Before the stream, `base_initialize` trains the whole model and makes the codebooks.

    ```python
    learner = REMIND(model, "stage1_dense", codebooks=4, codebook_size=16)
    learner.base_initialize(x, y, epochs=1)
    learner.partial_fit(x[0], y[0])
    ```

    Args:
        model: A built classifier of logits, Sequential or functional.
        layer: The name of the last frozen layer.
        capacity: Examples in the buffer; `None` for any number.
        capacity_bytes: Of the buffer, a byte for each code.
        replay_size: N, how many examples are replayed in a step.
        codebooks: Parts of the layer's channels.
        codebook_size: Vectors in each codebook.
        mixup_alpha: Of manifold Mixup; `None` for none.
        crop: Whether maps are cropped and resized at random.
        extra: Whether two layers, each with batch normalization, are put behind the cut, so that
            as many weights are trained as the whole model has. They are trained by
            `base_initialize` with the rest; `learner.model` has them.
        standardize: As for `StreamingLearner`.
        schedule: Sets the learning rate; `None` for 0.1 to 0.001 within each class.
        seed: Of the buffer, the codebooks and the augmentation.

    Raises:
        ValueError: If an argument is none that can be used.

    Source: Hayes et al. (2020); Wolfe (2023), Table 10 and 5.6, footnote 31.
    """

    def __init__(
        self,
        model: keras.Model,
        layer: str,
        *,
        capacity: int | None = None,
        capacity_bytes: float | None = None,
        replay_size: int = 50,
        codebooks: int = 32,
        codebook_size: int = 256,
        mixup_alpha: float | None = 0.1,
        crop: bool = True,
        extra: bool = False,
        standardize: Any = None,
        schedule: PerClassLinearDecay | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(model, layer, standardize)
        if boolean("extra", extra):
            self.head = with_extra_layers(model, self.head)
            self.model = keras.Model(self.trunk.inputs, self.head(self.trunk.outputs[0]))
        integer("codebook_size", codebook_size, 1, 256)
        self.quantizer = ProductQuantizer(codebooks, codebook_size, seed)
        self.buffer = ReplayBuffer(capacity, capacity_bytes, seed=seed)
        self.replay_size = integer("replay_size", replay_size, 0)
        self.mixup_alpha = optional(number, "mixup_alpha", mixup_alpha, "(0, inf)")
        self.crop = boolean("crop", crop)
        self.schedule = optional(_schedule, "schedule", schedule) or PerClassLinearDecay()
        self.seed, self.position = seed, 0
        compile_as_the_source(self.head, from_logits=True)
        self._step = any_batch_step(self.head)

    def begin(self, features: np.ndarray, y: np.ndarray) -> None:
        """Makes the codebooks, and stores codes."""
        self.quantizer.fit(features)
        for codes, label in zip(self.quantizer.encode(features), y, strict=True):
            self.buffer.add(codes, int(label))

    def announce(self, y: np.ndarray) -> None:
        """Tells the schedule how many examples of each class are going to come."""
        self.schedule.announce(y)

    def partial_fit(self, x: np.ndarray, y: int) -> None:
        """Learns from one example. See `StreamLearner.partial_fit`."""
        label = self.label(y)
        if not self.quantizer.centers.size:
            raise ValueError("REMIND has no codebooks yet. Call base_initialize before the stream.")
        codes = self.quantizer.encode(self.features(np.asarray(x)[None]))
        rate = self.schedule.next(label) if self.schedule.sizes else None
        batch, labels = codes, np.array([label])
        if self.replay_size and len(self.buffer):
            old, old_labels = self.buffer.sample(self.replay_size)
            batch, labels = np.concatenate([batch, old]), np.concatenate([labels, old_labels])
        features = self.quantizer.decode(batch)
        soft = np.eye(self.classes, dtype=np.float32)[labels]
        random = np.random.default_rng((self.seed, self.position))
        if self.crop and features.ndim == 4:
            features = np.stack([random_resized_crop(each, random) for each in features])
        features, soft = mix(features, soft, self.mixup_alpha, None, random)
        if rate is not None:
            self.head.optimizer.learning_rate = rate
        self._step(features, soft)
        self.buffer.add(codes[0], label)
        self.position += 1

    def probabilities(self, x: np.ndarray) -> np.ndarray:
        """How likely each class is, of features that are quantized as those it learned from."""
        features = self.features(x)
        if self.quantizer.centers.size:
            features = self.quantizer.decode(self.quantizer.encode(features))
        return softmax(self.head.predict_on_batch(features))

    def state(self) -> State:
        """The model, the optimizer, the codebooks, the buffer and the schedule."""
        sizes, models = self.both_arrays()
        buffer, arrays = self.buffer.state()
        description = {
            "sizes": sizes,
            "buffer": buffer,
            "schedule": self.schedule.state(),
            "position": self.position,
        }
        return description, [*models, self.quantizer.centers, *arrays]

    def restore(self, description: dict[str, Any], arrays: list[np.ndarray]) -> None:
        """Becomes what `state` described."""
        self.quantizer.centers, *buffer = self.assign_both(description["sizes"], arrays)
        self.buffer.restore(description["buffer"], buffer)
        self.schedule.restore(description["schedule"])
        self.position = description["position"]


def _schedule(name: str, value: Any) -> PerClassLinearDecay:
    if not isinstance(value, PerClassLinearDecay):
        raise wrong(name, value, "None or a PerClassLinearDecay")
    return value


def random_resized_crop(feature_map: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A random part of a map, in the size of the map.

    Args:
        feature_map: Float32 `(h, w, c)`.
        random: Random numbers.
    """
    height, width = feature_map.shape[:2]
    area = height * width * random.uniform(_LEAST_AREA, 1)
    ratio = math.exp(random.uniform(*np.log(_RATIOS)))
    rows = min(height, max(1, round(math.sqrt(area / ratio))))
    columns = min(width, max(1, round(math.sqrt(area * ratio))))
    top, left = int(random.integers(height - rows + 1)), int(random.integers(width - columns + 1))
    part = feature_map[top : top + rows, left : left + columns]
    return interpolate(part[None], height, width)[0]


def with_extra_layers(model: keras.Model, head: keras.Model) -> keras.Model:
    """The part of a model that learns, behind two more layers.

    They are as wide as makes its weights about as many as those of the whole model. Without batch
    normalization they did not learn digits at the source's learning rate.

    Args:
        model: The whole model.
        head: Its part behind the cut, of features or maps.

    Source: Wolfe (2023), 5.6, footnote 31.
    """
    shape = head.input_shape[1:]
    channels, frozen = shape[-1], model.count_params() - head.count_params()
    taps = 9 if len(shape) == 3 else 1
    width = max(1, round((frozen - 2 * channels) / (2 * taps * channels + 2)))

    def layer(units: int, x: Any) -> Any:
        if taps == 1:
            x = keras.layers.Dense(units, use_bias=False)(x)
        else:
            x = keras.layers.Conv2D(units, 3, padding="same", use_bias=False)(x)
        return keras.layers.ReLU()(keras.layers.BatchNormalization()(x))

    inputs = keras.Input(shape)
    return keras.Model(inputs, head(layer(channels, layer(width, inputs))))
