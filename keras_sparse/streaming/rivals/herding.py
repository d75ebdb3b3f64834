"""Examples whose mean is that of their class."""

from __future__ import annotations

import numpy as np

from keras_sparse.messages.arguments import integer


def herding(features: np.ndarray, count: int) -> np.ndarray:
    """Chooses examples one by one, each so that the mean of those chosen is nearest to that of all.

    ```python
    herding(np.array([[0.0], [1.0], [5.0]]), 1)  # [1]: of mean 2
    ```

    Args:
        features: Of the examples of one class, `(n, d)`.
        count: How many to choose; all if there are fewer.

    Returns:
        Their places, in the order in which they were chosen.

    Raises:
        ValueError: If `count` is less than 1.

    Source: Rebuffi et al. (2017); Wolfe (2023), D.2.4.
    """
    integer("count", count)
    mean, chosen = features.mean(0), np.empty(0, int)
    total, free = np.zeros_like(mean), np.ones(len(features), bool)
    for k in range(1, min(count, len(features)) + 1):
        distances = ((mean - (total + features) / k) ** 2).sum(1)
        best = int(np.argmin(np.where(free, distances, np.inf)))
        chosen, free[best] = np.append(chosen, best), False
        total = total + features[best]
    return chosen
