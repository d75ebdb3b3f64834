"""An optimizer that another one does the work of."""

from __future__ import annotations

from typing import Any

import keras

from keras_sparse.messages.arguments import instance, optional, text


class WrappingOptimizer(keras.optimizers.Optimizer):
    """Base class: stands for the optimizer inside of it wherever Keras or its callbacks look.

    Args:
        inner_optimizer: The `keras.optimizers.Optimizer` that trains.
        name: Its own name.
    """

    def __init__(
        self, inner_optimizer: keras.optimizers.Optimizer, name: str | None = None
    ) -> None:
        super().__init__(learning_rate=0.0, name=optional(text, "name", name))
        kind = keras.optimizers.Optimizer
        self.inner_optimizer = instance("inner_optimizer", inner_optimizer, kind, "an optimizer")

    def __getattr__(self, name: str) -> Any:
        """What this optimizer lacks is the inner one's: Keras itself unwraps one optimizer only."""
        inner = vars(self).get("inner_optimizer")
        if inner is None or name.startswith("__"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(inner, name)

    @property
    def variables(self) -> list[Any]:
        """Its own variables and the inner optimizer's."""
        return self._variables + self.inner_optimizer.variables

    @property
    def iterations(self) -> Any:
        """The inner optimizer's iterations, which its schedules count by."""
        return self.inner_optimizer.iterations

    @property
    def learning_rate(self) -> Any:
        """The inner optimizer's learning rate."""
        return self.inner_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate: Any) -> None:
        self.inner_optimizer.learning_rate = learning_rate

    def scale_loss(self, loss: Any) -> Any:
        """Scales the loss as the inner optimizer wants it."""
        return self.inner_optimizer.scale_loss(loss)
