"""Bilinear resizing of images, the same on every backend and without a device."""

from __future__ import annotations

import functools

import numpy as np


def interpolate(images: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear, with pixel centers at halves and without anti-aliasing, as Keras resizes.

    Args:
        images: `(n, h, w, c)`.
        height: Of the result, in pixels.
        width: Of the result, in pixels.

    Returns:
        Float32, `(n, height, width, c)`.
    """
    n, h, w, c = images.shape
    rows = _weights(height, h) @ images.reshape(n, h, w * c).astype(np.float32)
    columns = _weights(width, w) @ rows.reshape(n * height, w, c)
    return columns.reshape(n, height, width, c)


def resize(images: np.ndarray, height: int, width: int) -> np.ndarray:
    """Uint8 images of another size, interpolated and rounded."""
    return np.rint(interpolate(images, height, width)).astype(np.uint8)


@functools.cache
def _weights(target: int, source: int) -> np.ndarray:
    centers = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
    lower = np.floor(centers).astype(int)
    share = centers - lower
    found = np.zeros((target, source), np.float32)
    places = np.arange(target)
    found[places, lower] = 1 - share
    found[places, np.minimum(lower + 1, source - 1)] += share.astype(np.float32)
    return found
