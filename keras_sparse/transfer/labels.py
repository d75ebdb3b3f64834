"""The classes of a downstream task."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_sparse.messages.arguments import integer, optional, wrong


def class_labels(y: Any, classes: int | None = None) -> tuple[np.ndarray, int]:
    """Class indices of shape `(samples,)`, and how many classes there are.

    Args:
        y: Integers of shape `(samples,)` or `(samples, 1)`.
        classes: How many classes; `None` for as many as the largest index tells.

    Raises:
        ValueError: If they are no class indices, or do not fit the number of classes.
    """
    optional(integer, "classes", classes, 2)
    labels = np.asarray(y)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or not len(labels):
        cure = "Of one-hot rows make indices first: y.argmax(-1)."
        allowed = "class indices of shape (samples,)"
        raise wrong("y", f"an array of shape {labels.shape}", allowed, cure)
    whole = labels.astype("int64") if labels.dtype.kind in "iuf" else labels
    if labels.dtype.kind not in "iuf" or (whole != labels).any():
        cure = "Number the classes first: numpy.unique(y, return_inverse=True)[1]."
        raise wrong("y", f"an array of {labels.dtype}", "integers from 0 to classes - 1", cure)
    low, high = int(whole.min()), int(whole.max())
    count = max(high + 1, 2) if classes is None else classes
    if low < 0 or high >= count:
        raise ValueError(
            f"Class labels must be from 0 to classes - 1 = {count - 1}. Received: labels from "
            f"{low} to {high}, classes={classes}. Give classes={high + 1}, or number them anew: "
            "numpy.unique(y, return_inverse=True)[1]."
        )
    return whole.astype("int32"), count
