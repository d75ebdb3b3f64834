"""Points that fill a cube evenly."""

from __future__ import annotations

import warnings

import numpy as np
from scipy.stats import qmc

from keras_sparse.messages.arguments import integer


def sobol_points(dimensions: int, count: int, first: int = 1) -> np.ndarray:
    """Points of Sobol's low-discrepancy sequence, unscrambled, so that they are always the same.

    ```python
    sobol_points(2, 3)  # [[0.5, 0.5], [0.75, 0.25], [0.25, 0.75]]
    ```

    Args:
        dimensions: Coordinates of a point.
        count: Points.
        first: The index of the first one. Point 0 is the corner of the cube and is left out by
            default, as by `tf.math.sobol_sample`.

    Returns:
        Shape `(count, dimensions)`, in [0, 1).

    Raises:
        ValueError: If an argument is out of range.

    Source: Sobol (1967), directions of Joe and Kuo (2008) as in `scipy.stats.qmc.Sobol`.
    """
    integer("dimensions", dimensions, 1, qmc.Sobol.MAXDIM)
    integer("count", count, 0)
    integer("first", first, 0)
    sequence = qmc.Sobol(dimensions, scramble=False)
    with warnings.catch_warnings():
        # A count that is no power of 2 is no mistake: points come one after the other.
        warnings.simplefilter("ignore", UserWarning)
        return sequence.random(first + count)[first:]
