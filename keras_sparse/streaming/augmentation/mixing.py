"""Mixup and CutMix, for each example one or the other."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np


class Box(NamedTuple):
    """A part of an image.

    Args:
        top: First row.
        bottom: Behind the last row.
        left: First column.
        right: Behind the last column.
    """

    top: int
    bottom: int
    left: int
    right: int

    @property
    def area(self) -> int:
        """Pixels in it."""
        return (self.bottom - self.top) * (self.right - self.left)


def cut_box(shape: tuple[int, ...], share: float, center: tuple[int, int]) -> Box:
    """The box that CutMix takes from the partner, clipped to the image.

    Args:
        shape: Of the image, `(h, w, ...)`.
        share: What is to stay of the image, as it was drawn, in [0, 1].
        center: Row and column.

    Source: Wolfe (2023), D.2.1; Yun et al. (2019).
    """
    root = math.sqrt(1 - share)
    height, width = int(shape[0] * root), int(shape[1] * root)
    top, left = int(center[0]) - height // 2, int(center[1]) - width // 2
    rows = np.clip([top, top + height], 0, shape[0])
    columns = np.clip([left, left + width], 0, shape[1])
    return Box(int(rows[0]), int(rows[1]), int(columns[0]), int(columns[1]))


def paste(image: np.ndarray, partner: np.ndarray, box: Box) -> np.ndarray:
    """A copy of an image with a box of another."""
    pasted = image.copy()
    rows, columns = slice(box.top, box.bottom), slice(box.left, box.right)
    pasted[rows, columns] = partner[rows, columns]
    return pasted


def mix(
    x: np.ndarray,
    y: np.ndarray,
    mixup_alpha: float | None,
    cutmix_alpha: float | None,
    random: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Mixes each example of a batch with its partner in a random permutation of the batch.

    With both alphas a fair coin decides for each example by which of the two.

    Args:
        x: Float examples, `(n, ...)`; images `(n, h, w, c)` for CutMix.
        y: One-hot labels, `(n, classes)`.
        mixup_alpha: Of the Beta distribution of Mixup's share; `None` for no Mixup.
        cutmix_alpha: The same for CutMix.
        random: Random numbers.

    Returns:
        Mixed examples, and labels that sum to 1.

    Source: Wolfe (2023), D.2.1, footnote 27.
    """
    if mixup_alpha is None and cutmix_alpha is None:
        return x, y
    partners = random.permutation(len(x))
    coins = random.random(len(x)) < 0.5
    mixed_x, mixed_y = np.empty_like(x), np.empty_like(y)
    for i, partner in enumerate(partners):
        if mixup_alpha is not None and (cutmix_alpha is None or coins[i]):
            share = random.beta(mixup_alpha, mixup_alpha)
            mixed_x[i] = share * x[i] + (1 - share) * x[partner]
        elif cutmix_alpha is not None:
            share = random.beta(cutmix_alpha, cutmix_alpha)
            height, width = x.shape[1:3]
            center = int(random.integers(height)), int(random.integers(width))
            box = cut_box(x.shape[1:], share, center)
            mixed_x[i] = paste(x[i], x[partner], box)
            share = 1 - box.area / (height * width)
        mixed_y[i] = share * y[i] + (1 - share) * y[partner]
    return mixed_x, mixed_y
