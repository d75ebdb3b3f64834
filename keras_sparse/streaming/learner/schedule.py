"""Learning rates that fall in the course of each class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from keras_sparse.messages.arguments import integer, number, wrong


class PerClassLinearDecay:
    """From one rate to another between a class's first and last example, for each class anew.

    A class that is interrupted goes on where it was.

    ```python
    schedule = PerClassLinearDecay(0.1, 0.001, sizes={0: 5})
    [schedule.next(0) for _ in range(5)]  # 0.1, 0.07525, 0.0505, 0.02575, 0.001
    ```

    Args:
        start: The rate at the first example of a class.
        end: The rate at its last.
        sizes: How many examples of each class are going to come; `fit_stream` knows them.

    Raises:
        ValueError: If a value is out of range.

    Source: Wolfe (2023), D.1.1.
    """

    def __init__(
        self, start: float = 0.1, end: float = 0.001, sizes: Mapping[int, int] | None = None
    ) -> None:
        self.start = number("start", start, "(0, inf)")
        self.end = number("end", end, "[0, inf)")
        if sizes is not None and not isinstance(sizes, Mapping):
            raise wrong("sizes", sizes, "a mapping of classes to numbers of examples")
        self.sizes = {int(c): integer("sizes", n) for c, n in (sizes or {}).items()}
        self.met: dict[int, int] = {}

    def announce(self, y: ArrayLike) -> None:
        """Counts the examples of a stream that is going to come, on top of those announced."""
        for label, count in zip(*np.unique(np.asarray(y), return_counts=True), strict=True):
            self.sizes[int(label)] = self.sizes.get(int(label), 0) + int(count)

    def next(self, label: int) -> float:
        """The rate for the next example of a class; after its last, that of the last.

        Raises:
            ValueError: If the class was not announced.
        """
        if label not in self.sizes:
            allowed = f"one of those announced, {sorted(self.sizes)}"
            cure = "Announce how many come of it, by a learner's announce([label] * count)."
            raise wrong("label", label, allowed, cure)
        k, size = self.met.get(label, 0), self.sizes[label]
        self.met[label] = k + 1
        if size == 1:
            return self.start
        return self.start + (self.end - self.start) * min(k, size - 1) / (size - 1)

    def state(self) -> dict[str, Any]:
        """What was met and announced, for JSON."""
        return {"met": list(self.met.items()), "sizes": list(self.sizes.items())}

    def restore(self, state: dict[str, Any]) -> None:
        """Becomes what `state` described."""
        self.met, self.sizes = ({int(c): n for c, n in state[key]} for key in ("met", "sizes"))
