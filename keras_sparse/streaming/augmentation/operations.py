"""The operations of AutoAugment on uint8 images, pixel for pixel as Pillow has them.

Keras's preprocessing layers draw a strength for each image from a range, compute in floats, and
round otherwise; a policy asks for one strength, on bytes.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

# What stands in for pixels from outside of the image.
_FILL = 128
_LUMA = np.array([19595, 38470, 7471])
_LEVELS = np.arange(256)
_WEIGHTS = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], np.int32)


def invert(image: np.ndarray) -> np.ndarray:
    """`255 - p`."""
    return 255 - image


def solarize(image: np.ndarray, threshold: float) -> np.ndarray:
    """Inverts the pixels of at least a threshold."""
    return np.where(image < threshold, image, 255 - image)


def posterize(image: np.ndarray, bits: int) -> np.ndarray:
    """Keeps the upper bits of each pixel."""
    return image & np.uint8(256 - 2 ** (8 - bits))


def autocontrast(image: np.ndarray) -> np.ndarray:
    """Stretches each channel over all levels."""

    def stretched(counts: np.ndarray) -> np.ndarray:
        used = np.flatnonzero(counts)
        low, high = used[0], used[-1]
        if high <= low:
            return _LEVELS
        scale = 255.0 / (high - low)
        return np.clip((_LEVELS * scale + -low * scale).astype(int), 0, 255)

    return _by_levels(image, stretched)


def equalize(image: np.ndarray) -> np.ndarray:
    """Makes the levels of each channel about equally frequent."""

    def equalized(counts: np.ndarray) -> np.ndarray:
        used = counts[counts > 0]
        step = (used.sum() - used[-1]) // 255
        if len(used) < 2 or not step:
            return _LEVELS
        before = np.concatenate([[0], np.cumsum(counts)[:-1]])
        return np.minimum((before + step // 2) // step, 255)

    return _by_levels(image, equalized)


def _by_levels(image: np.ndarray, table: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    channels = [image[..., c] for c in range(image.shape[-1])]
    counts = [np.bincount(channel.ravel(), minlength=256) for channel in channels]
    tables = [table(count).astype(np.uint8) for count in counts]
    return np.stack([table[c] for table, c in zip(tables, channels, strict=True)], -1)


def brightness(image: np.ndarray, factor: float) -> np.ndarray:
    """Black at 0, the image at 1."""
    return _blend(np.zeros_like(image), image, factor)


def color(image: np.ndarray, factor: float) -> np.ndarray:
    """Gray at 0, the image at 1; an image of one channel has no color to change."""
    return image if image.shape[-1] == 1 else _blend(_gray(image)[..., None], image, factor)


def contrast(image: np.ndarray, factor: float) -> np.ndarray:
    """The mean gray at 0, the image at 1."""
    gray = image[..., 0] if image.shape[-1] == 1 else _gray(image)
    return _blend(np.full_like(image, int(gray.mean() + 0.5)), image, factor)


def sharpness(image: np.ndarray, factor: float) -> np.ndarray:
    """Smoothed at 0, the image at 1; the border stays."""
    height, width = image.shape[:2]
    smooth = image.copy()
    wide = image.astype(np.int32)
    total = sum(
        _WEIGHTS[i, j] * wide[i : height - 2 + i, j : width - 2 + j]
        for i in range(3)
        for j in range(3)
    )
    # A thirteenth of the sum, rounded: the halves of Pillow's floats never occur.
    smooth[1:-1, 1:-1] = (2 * total + 13) // 26
    return _blend(smooth, image, factor)


def _gray(image: np.ndarray) -> np.ndarray:
    return ((image.astype(np.int64) @ _LUMA + 0x8000) >> 16).astype(np.uint8)


def _blend(zero: np.ndarray, one: np.ndarray, factor: float) -> np.ndarray:
    low = zero.astype(np.float32)
    mixed = low + np.float32(factor) * (one.astype(np.float32) - low)
    return np.clip(mixed, 0, 255).astype(np.uint8)


def shear_x(image: np.ndarray, slope: float) -> np.ndarray:
    """Moves each row by its number times the slope."""
    return _affine(image, (1, slope, 0, 0, 1, 0))


def shear_y(image: np.ndarray, slope: float) -> np.ndarray:
    """Moves each column by its number times the slope."""
    return _affine(image, (1, 0, 0, slope, 1, 0))


def translate_x(image: np.ndarray, share: float) -> np.ndarray:
    """Moves the image by a share of its width."""
    return _affine(image, (1, 0, share * image.shape[1], 0, 1, 0))


def translate_y(image: np.ndarray, share: float) -> np.ndarray:
    """Moves the image by a share of its height."""
    return _affine(image, (1, 0, 0, 0, 1, share * image.shape[0]))


def rotate(image: np.ndarray, degrees: float) -> np.ndarray:
    """Turns the image counterclockwise about its center."""
    angle = -math.radians(degrees % 360)
    cos, sin = round(math.cos(angle), 15), round(math.sin(angle), 15)
    y, x = image.shape[0] / 2, image.shape[1] / 2
    return _affine(image, (cos, sin, x - cos * x - sin * y, -sin, cos, y + sin * x - cos * y))


def _affine(image: np.ndarray, matrix: tuple[float, ...]) -> np.ndarray:
    """Each pixel from the one that `(a, b, c, d, e, f)` sends its center into."""
    a, b, c, d, e, f = matrix
    height, width = image.shape[:2]
    y, x = np.mgrid[:height, :width] + 0.5
    columns = np.floor(a * x + b * y + c).astype(int)
    rows = np.floor(d * x + e * y + f).astype(int)
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    moved = np.full_like(image, _FILL)
    moved[inside] = image[rows[inside], columns[inside]]
    return moved
