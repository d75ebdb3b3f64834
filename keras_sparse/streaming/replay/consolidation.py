"""Two stored examples made one, in place of eviction."""

from __future__ import annotations

import numpy as np

from keras_sparse.streaming.augmentation.mixing import cut_box, paste

KINDS = ("mixup", "cutmix", "sample_pairing")


def interpolated(
    kind: str, one: np.ndarray, other: np.ndarray, alpha: float, random: np.random.Generator
) -> np.ndarray:
    """One example of two of the same class.

    Args:
        kind: `"mixup"`, `"cutmix"` or `"sample_pairing"`, the plain mean.
        one: Of any shape; an image `(h, w, c)` for `"cutmix"`.
        other: As `one`.
        alpha: Of the Beta distribution that `"mixup"` and `"cutmix"` draw the share from.
        random: Random numbers.

    Returns:
        An array like `one`; of integers, rounded.

    Source: Wolfe (2023), D.2.3.
    """
    share = 0.5 if kind == "sample_pairing" else random.beta(alpha, alpha)
    if kind == "cutmix":
        center = int(random.integers(one.shape[0])), int(random.integers(one.shape[1]))
        return paste(one, other, cut_box(one.shape, share, center))
    mixed = share * one.astype(np.float64) + (1 - share) * other
    return (np.rint(mixed) if one.dtype.kind in "iu" else mixed).astype(one.dtype)
