"""Which group of features cuts an axis of a weight."""

from __future__ import annotations

import dataclasses

import numpy as np

from keras_sparse.messages.arguments import integer, one_of


@dataclasses.dataclass(frozen=True)
class Cut:
    """An axis of a weight, or of a layer's output, that is cut along with a group of features.

    The axis is `repeats` times as long as the group: once over for each repetition.

    ```python
    ks.graphs.Cut("in", repeats=2).indices([0, 3], 4)  # [0, 3, 4, 7]
    ```

    Args:
        group: `"in"` for the features that a layer takes, `"out"` for those that it makes.
        repeats: How many times the axis runs through the group.

    Raises:
        ValueError: If the group has another name or `repeats` is not positive.

    Source: Wolfe (2023), section 2.2.1.
    """

    group: str
    repeats: int = 1

    def __post_init__(self) -> None:
        one_of("group", self.group, ("in", "out"))
        integer("repeats", self.repeats)

    def indices(self, block: object, width: int) -> np.ndarray:
        """Where a block of the group lies on the axis.

        Args:
            block: Indices of features of the group, `(k,)`.
            width: Number of features of the group.

        Returns:
            Int64 `(repeats * k,)`.
        """
        once = np.asarray(block, np.int64)
        return (np.arange(self.repeats)[:, None] * width + once).reshape(-1)


# For each axis of a weight the cut, `None` for an axis that stays whole.
WeightCuts = dict[str, tuple["Cut | None", ...]]
