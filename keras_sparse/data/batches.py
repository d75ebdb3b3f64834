"""A reproducible input pipeline: order and augmentation that follow from a seed alone.

Nothing of this package is imported here, so that a process that runs another Keras can use it.
"""

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

_PAD = 4  # pixels on each side before the random crop, as usual for CIFAR


def pipeline(
    x: np.ndarray,
    y: np.ndarray,
    batch_size: int,
    *,
    augment: bool,
    shuffle: bool,
    seed: int,
    initial_epoch: int,
    drop_remainder: bool,
) -> "tf.data.Dataset":
    """As `keras_sparse.data.pipeline`, whose arguments have been checked."""
    steps = len(x) // batch_size if drop_remainder else math.ceil(len(x) / batch_size)
    import tensorflow as tf

    batches = _Batches(x, y, batch_size, steps, augment, shuffle, seed, initial_epoch)
    rows = batch_size if steps * batch_size <= len(x) else None
    shapes = [(rows, *a.shape[1:]) for a in (x, y)]

    def begin(_: Any) -> Any:
        return tf.numpy_function(batches.begin, [], tf.int64)

    def read(epoch: Any, step: Any) -> tuple[Any, ...]:
        arrays = tf.numpy_function(batches.read, [epoch, step], [x.dtype, y.dtype])
        return tuple(tf.ensure_shape(a, shape) for a, shape in zip(arrays, shapes, strict=True))

    # Not from_generator: making one sets malloc's trim threshold for the whole process, after
    # which every training step pays for thousands of page faults (LeNet-5: a third of its time).
    passes = tf.data.Dataset.range(1).map(begin)
    dataset = passes.flat_map(
        lambda epoch: tf.data.Dataset.range(steps).map(lambda step: read(epoch, step))
    )
    return dataset.apply(tf.data.experimental.assert_cardinality(steps)).prefetch(2)


@dataclass
class _Batches:
    """Yields the batches of `epoch`, which moves on when its last batch is taken.

    Keras and `tf.distribute` make iterators that they look into once or never, so that counting
    the passes begun would make the epoch depend on who asks.
    """

    x: np.ndarray
    y: np.ndarray
    batch_size: int
    steps: int
    augment: bool
    shuffle: bool
    seed: int
    epoch: int

    def __post_init__(self) -> None:
        self._order = functools.lru_cache(maxsize=2)(self._draw_order)

    def _draw_order(self, epoch: int) -> np.ndarray:
        if not self.shuffle:
            return np.arange(len(self.x))
        return np.random.default_rng((self.seed, epoch)).permutation(len(self.x))

    def begin(self) -> np.int64:
        """The epoch of a pass that begins now."""
        return np.int64(self.epoch)

    def read(self, epoch: int, step: int) -> tuple[np.ndarray, np.ndarray]:
        """A batch, which follows from its arguments and the seed alone."""
        chosen = self._order(int(epoch))[step * self.batch_size : (step + 1) * self.batch_size]
        images = self.x[chosen]
        if self.augment:
            rng = np.random.default_rng((self.seed, int(epoch), int(step)))
            images = _crop_and_flip(images, rng)
        if step == self.steps - 1:
            # Before the batch is handed over: whoever has it may begin the next pass at once.
            self.epoch = int(epoch) + 1
        return images, self.y[chosen]


def _crop_and_flip(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    count, height, width, channels = images.shape
    padded = np.zeros((count, height + 2 * _PAD, width + 2 * _PAD, channels), images.dtype)
    padded[:, _PAD:-_PAD, _PAD:-_PAD] = images
    moves = rng.integers(0, (2 * _PAD + 1, 2 * _PAD + 1, 2), (count, 3))
    out = np.empty_like(images)
    # Slicing image by image costs a half of gathering pixels, in NumPy or in TensorFlow.
    for i, (top, left, flip) in enumerate(moves.tolist()):
        crop = padded[i, top : top + height, left : left + width]
        out[i] = crop[:, ::-1] if flip else crop
    return out
