"""Batches of one size without an end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keras_sparse.messages.arguments import integer, wrong

if TYPE_CHECKING:
    import tensorflow as tf


def endless(x: Any, y: Any, batch_size: int, *, seed: int = 0) -> tf.data.Dataset:
    """Makes a `tf.data.Dataset` of batches that goes on over the epochs, each of the same size.

    The samples come in a new order in each epoch, and the epochs one after the other, so that a
    batch may begin in one and end in the next: each sample has come once before any comes again.

    ```python
    from keras_sparse import data

    digits = data.load("digits")
    batches = data.endless(*digits.train, batch_size=100, seed=1)
    print(batches.element_spec[0].shape)  # (100, 8, 8, 1)
    ```

    Args:
        x: Samples, an array or tensor `(n, ...)`.
        y: Targets, `(n, ...)`.
        batch_size: Samples in a batch, at most n.
        seed: Of the orders, together with TensorFlow's global one.

    Returns:
        A data set of batches `(x, y)` that never ends.

    Raises:
        ValueError: If a batch would be larger than the data, or an argument is wrong.
    """
    if not hasattr(x, "shape") or not hasattr(y, "shape") or len(x) != len(y) or not len(x):
        raise wrong("x", x, "an array with one entry for each of y")
    count = len(x)
    if integer("batch_size", batch_size) > count:
        raise ValueError(
            f"A batch would hold samples twice: there are {count}. Received: "
            f"batch_size={batch_size}. Give a smaller one, or more samples."
        )
    integer("seed", seed, 0)
    import tensorflow as tf

    with tf.device("CPU:0"):
        x, y = tf.convert_to_tensor(x), tf.convert_to_tensor(y)
    order = tf.data.Dataset.range(count).shuffle(count, seed=seed, reshuffle_each_iteration=True)
    chosen = order.repeat().batch(batch_size, drop_remainder=True)
    return chosen.map(lambda places: (tf.gather(x, places), tf.gather(y, places))).prefetch(2)
