"""What a model computes before its head, in inference mode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_sparse.backend.compiled import compiled
from keras_sparse.messages.arguments import instance, integer
from keras_sparse.probe.calibration import calibration_batches
from keras_sparse.probe.calls import run_recorded
from keras_sparse.transfer.heads import find_head


def extract_features(
    model: keras.Model, data: Any, *, head: Any = None, batch_size: int = 256
) -> np.ndarray:
    """What the head of a model takes in, computed once for all samples.

    The model runs in inference mode: normalization uses the statistics that it was trained with,
    dropout and augmentation layers do nothing, and no variable changes.

    ```python
    features = extract_features(sparse_model, x_train)
    ```

    Args:
        model: A built model.
        data: Inputs, `(x, y)`, or an iterable of batches of these, such as a `tf.data.Dataset`.
        head: As for `replace_head`.
        batch_size: Samples in a batch, for arrays.

    Returns:
        A float32 array of shape `(samples, features)`, in the order of the samples.

    Raises:
        ValueError: If the head cannot be found, does not take vectors, or the data does not fit.

    Source: Peste (2023), 4.4.2 and B.1.
    """
    return features_and_labels(model, data, head, batch_size, targets=False)[0]


def features_and_labels(
    model: keras.Model, data: Any, head: Any, batch_size: int, *, targets: bool = True
) -> tuple[np.ndarray, list[Any]]:
    """The features of `extract_features`, and the targets of each batch."""
    integer("batch_size", batch_size)
    instance("model", model, keras.Model, "a built keras.Model")
    features = compiled(features_before(model, find_head(model, head)))
    found, given = [], []
    for x, y in calibration_batches(model, data, batch_size, targets=targets):
        found.append(ops.convert_to_numpy(features(x)))
        given.append(y)
    return np.concatenate(found), given


def features_before(model: keras.Model, head: keras.layers.Layer) -> Callable[[Any], Any]:
    """A function from a batch of inputs to float32 features, shape `(samples, features)`.

    Args:
        model: A built model.
        head: The layer of it whose input the features are.
    """

    def features(x: Any) -> Any:
        seen: list[Any] = []
        run_recorded(model, [head], x, lambda _, inputs, outputs: seen.append(inputs))
        if len(seen) != 1:
            raise ValueError(
                f"The head {head.name!r} must be called once. It is called {len(seen)} times."
            )
        (found,) = seen
        if any(size != 1 for size in found.shape[1:-1]):
            raise ValueError(
                f"A linear head is trained on a vector of each sample. {head.name!r} takes "
                f"{tuple(found.shape)}. Train the model as a whole with ks.transfer.full, or put "
                "keras.layers.GlobalAveragePooling2D and a Dense layer on its features."
            )
        return ops.cast(ops.reshape(found, (-1, found.shape[-1])), "float32")

    return features
