"""What can be stored as an example."""

from __future__ import annotations

import numpy as np

from keras_sparse.messages.arguments import wrong
from keras_sparse.streaming.replay.compression import ImageCompression


def described(example: np.ndarray) -> str:
    """Type and shape of an example, such as `"uint8[32, 32, 3]"`."""
    return f"{example.dtype}{list(example.shape)}"


def check_example(example: np.ndarray, compression: ImageCompression) -> np.ndarray:
    """An example, as it can be stored.

    Args:
        example: What was given.
        compression: How it is going to be stored.

    Raises:
        ValueError: If it holds other things than finite numbers, or cannot be compressed so.
    """
    found = np.asarray(example)
    if found.dtype.kind not in "iuf":
        raise wrong("example", example, "an array of numbers")
    if found.dtype.kind == "f" and not np.isfinite(found).all():
        raise wrong("example", example, "an array of finite numbers")
    if compression.lossless:
        return found
    if found.dtype != np.uint8 or found.ndim != 3:
        allowed = "a uint8 image (h, w, c), which alone can be compressed"
        raise wrong("example", described(found), allowed)
    if compression.jpeg is not None and found.shape[-1] not in (1, 3):
        raise wrong("example", described(found), "of 1 or 3 channels for JPEG")
    return found
