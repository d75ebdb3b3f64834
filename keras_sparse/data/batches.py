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


def check_seed(seed: int) -> None:
    """Refuses a seed that is not a non-negative integer.

    Raises:
        ValueError: If it is negative.
    """
    if seed < 0:
        raise ValueError(f"seed must be a non-negative integer; got {seed}.")


def pipeline(
    x: np.ndarray,
    y: np.ndarray,
    batch_size: int,
    *,
    augment: bool = False,
    shuffle: bool = True,
    seed: int = 0,
    initial_epoch: int = 0,
    drop_remainder: bool = False,
) -> "tf.data.Dataset":
    """Makes a `tf.data.Dataset` of batches whose order and augmentation follow from the seed alone.

    Order, crops and flips are drawn from seed, epoch and step; neither TensorFlow's global
    seed nor the number of threads has a say. A full pass over the data set ends an epoch and the
    next pass is the next epoch; a pass that is left early is not counted. The arrays are read in
    place, not copied. (Keras warns that it leaves the order alone unless `fit` gets
    `shuffle=False`.)

    Augmentation is CIFAR's standard one (He et al. 2016, section 4.2): 4 pixels of zeros (the mean
    colour, once standardised) on each side, a random crop of the original size, and a horizontal
    flip with probability 1/2.

    ```python
    from keras_sparse import data

    digits = data.load("digits")
    batches = data.pipeline(*digits.train, batch_size=128, seed=1)
    print(int(batches.cardinality()))  # 12
    ```

    Args:
        x: the images, `(n, h, w, c)`; of any shape `(n, ...)` without augmentation.
        y: the labels, `(n, ...)`.
        batch_size: images per batch.
        augment: whether to crop and flip at random.
        shuffle: whether to draw a new order every epoch.
        seed: a non-negative integer.
        initial_epoch: number of the first pass; to resume a training, the same as in `fit`.
        drop_remainder: whether to leave out a last batch that is smaller than the others.

    Returns:
        A data set of `(x, y)` batches with a known cardinality, the steps of one epoch.

    Raises:
        ValueError: if the arguments do not fit together.
    """
    x, y = np.asarray(x), np.asarray(y)
    if x.ndim == 0 or y.ndim == 0 or len(x) != len(y):
        raise ValueError(f"x and y must have one entry per image; got {x.shape} and {y.shape}.")
    if augment and x.ndim != 4:
        raise ValueError(
            f"augment=True needs images (n, h, w, c); got x of shape {x.shape}. "
            "Load the data with flatten=False, or pass augment=False."
        )
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1; got {batch_size}.")
    steps = len(x) // batch_size if drop_remainder else math.ceil(len(x) / batch_size)
    if steps == 0:
        raise ValueError(
            f"{len(x)} images make no batch of {batch_size}. "
            "Give a smaller batch_size, more images, or drop_remainder=False."
        )
    if initial_epoch < 0:
        raise ValueError(f"initial_epoch counts from 0; got {initial_epoch}.")
    check_seed(seed)
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
