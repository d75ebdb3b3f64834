"""Values of variables that are set aside and come back bit by bit."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras
from keras import ops

from keras_sparse.backend.replicas import strategy_scope


class Snapshot:
    """The values that some variables have now.

    ```python
    before = Snapshot(model, model.variables)
    model.fit(x, y)
    before.restore()
    ```

    Args:
        model: The model that the variables belong to.
        variables: Keras variables.
    """

    def __init__(self, model: keras.Model, variables: Sequence[Any]) -> None:
        self._model = model
        self._values = [(v, ops.convert_to_numpy(v).copy()) for v in variables]

    def restore(self) -> None:
        """Gives the variables these values."""
        with strategy_scope(self._model):
            for variable, value in self._values:
                variable.assign(value)


@contextlib.contextmanager
def borrowed(model: keras.Model, variables: Sequence[Any]) -> Iterator[None]:
    """Gives variables their values back, whatever is done to them meanwhile."""
    before = Snapshot(model, variables)
    with strategy_scope(model):
        try:
            yield
        finally:
            before.restore()
