"""Random numbers inside the compiled graph that follow from a seed and the step alone."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


class StepSeed(keras.random.SeedGenerator):
    """A seed for `keras.random` that holds no state.

    The same step draws the same numbers on every replica, and after a resume. Each tensor of a
    step needs a seed of its own.

    ```python
    keras.random.uniform((3,), seed=StepSeed(0, step, i))
    ```

    Args:
        seed: Integer.
        step: Integer scalar, may be a tensor.
        tensor: Integer, the place of the tensor that is drawn for.
    """

    def __init__(self, seed: int, step: Any, tensor: int = 0) -> None:
        # Not the base class's, which makes a variable.
        first = (seed * 1_000_003 + tensor) % 2**31
        self._value = ops.stack([ops.cast(first, "uint32"), ops.cast(step, "uint32")])

    def next(self, ordered: bool = True) -> Any:
        """The seed."""
        return self._value
