"""The input pipeline, with its arguments checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from keras_sparse.data import batches
from keras_sparse.messages.arguments import boolean, integer, wrong

if TYPE_CHECKING:
    import tensorflow as tf


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
) -> tf.data.Dataset:
    """Makes a `tf.data.Dataset` of batches whose order and augmentation follow from the seed alone.

    Order, crops and flips are drawn from seed, epoch and step; neither TensorFlow's global
    seed nor the number of threads has a say. A full pass over the data set ends an epoch and the
    next pass is the next epoch; a pass that is left early is not counted. The arrays are read in
    place, not copied. (Keras warns that it leaves the order alone unless `fit` gets
    `shuffle=False`.)

    Augmentation is CIFAR's standard one (He et al. 2016, section 4.2): 4 pixels of zeros (the mean
    color, once standardized) on each side, a random crop of the original size, and a horizontal
    flip with probability 1/2.

    ```python
    from keras_sparse import data

    digits = data.load("digits")
    batches = data.pipeline(*digits.train, batch_size=128, seed=1)
    print(int(batches.cardinality()))  # 12
    ```

    Args:
        x: The images, `(n, h, w, c)`; of any shape `(n, ...)` without augmentation.
        y: The labels, `(n, ...)`.
        batch_size: Images per batch.
        augment: Whether to crop and flip at random.
        shuffle: Whether to draw a new order every epoch.
        seed: A non-negative integer.
        initial_epoch: Number of the first pass; to resume a training, the same as in `fit`.
        drop_remainder: Whether to leave out a last batch that is smaller than the others.

    Returns:
        A data set of `(x, y)` batches with a known cardinality, the steps of one epoch.

    Raises:
        ValueError: If the arguments do not fit together.
    """
    x, y = np.asarray(x), np.asarray(y)
    for name, given in {"x": x, "y": y}.items():
        if given.ndim == 0 or not len(given) or given.dtype == object:
            raise wrong(name, given, "an array with one entry for each image")
    if len(x) != len(y):
        raise ValueError(
            "x and y must have one entry for each image. Received: "
            f"x of shape {x.shape} and y of shape {y.shape}"
        )
    integer("batch_size", batch_size)
    boolean("augment", augment)
    boolean("shuffle", shuffle)
    integer("seed", seed, 0)
    integer("initial_epoch", initial_epoch, 0)
    boolean("drop_remainder", drop_remainder)
    if augment and x.ndim != 4:
        raise ValueError(
            "augment=True needs images of shape (n, h, w, c). Received: x of shape "
            f"{x.shape}. Load the data with flatten=False, or give augment=False."
        )
    if drop_remainder and batch_size > len(x):
        raise ValueError(
            f"{len(x)} images make no batch. Received: batch_size={batch_size}. Give a smaller "
            "one, more images, or drop_remainder=False."
        )
    return batches.pipeline(
        x,
        y,
        batch_size,
        augment=augment,
        shuffle=shuffle,
        seed=seed,
        initial_epoch=initial_epoch,
        drop_remainder=drop_remainder,
    )
