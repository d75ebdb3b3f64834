"""Objects for data sets that name none: groups of similar images, in which one follows the next."""

from __future__ import annotations

import numpy as np


def similar_images(
    x: np.ndarray, y: np.ndarray, per_class: int = 8, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """The order of images by class, group and likeness, and which group each is of.

    The images of a class are put into groups by k-means on their pixels, and those of a group in a
    row along the direction in which they vary most, as the frames of an object that turns are.

    Args:
        x: Images, `(n, ...)`.
        y: Class numbers, `(n,)`.
        per_class: Groups of a class, where it has as many images.
        seed: Of k-means.

    Returns:
        Indices of the images in their order, and the number of the group of each of these.
    """
    from sklearn.cluster import KMeans

    rows: list[np.ndarray] = []
    for label in np.unique(y):
        members = np.flatnonzero(y == label)
        pixels = x[members].reshape(len(members), -1).astype("float64")
        kinds = KMeans(min(per_class, len(members)), n_init=1, random_state=seed)
        groups = kinds.fit_predict(pixels)
        rows += [
            _along_the_longest(members[groups == group], pixels[groups == group])
            for group in np.unique(groups)
        ]
    numbers = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    return np.concatenate(rows), numbers


def _along_the_longest(members: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    centered = pixels - pixels.mean(0)
    direction = np.linalg.svd(centered, full_matrices=False)[2][0]
    return members[np.argsort(centered @ direction, kind="stable")]
