"""The loss by which candidates are compared."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_sparse.messages.arguments import wrong
from keras_sparse.structured.units.contributions import numbers

_SQUARED = ("mse", "mean_squared_error", "MeanSquaredError")


class Objective:
    """The loss of a network's outputs, for many candidates at once.

    Of the squared loss it is `1/2 E ||f(x) - y||^2`, half of what Keras reports for one output.

    Args:
        targets: Of the samples, as the loss takes them.
        loss: A loss of Keras, or its name.
        activation: What is applied to the outputs first. Defaults to nothing.
        bias: What is added to the outputs before, shape `(outputs,)`. Defaults to nothing.

    Raises:
        ValueError: If the loss is unknown.
    """

    def __init__(
        self, targets: Any, loss: Any = "mse", activation: Any = None, bias: Any = None
    ) -> None:
        self.targets = numbers("targets", targets)
        self.activation = keras.activations.get(activation)
        self.bias = 0.0 if bias is None else numbers("bias", bias)
        plain = self.activation is keras.activations.linear
        self.squared = is_squared(loss)
        self.quadratic = self.squared and plain
        try:
            self._loss = keras.losses.get(loss)
        except ValueError as error:
            raise wrong("loss", loss, "a loss of Keras, or its name") from error
        if self._loss is None:
            raise wrong("loss", loss, "a loss of Keras, or its name")

    def residual(self, outputs: int) -> np.ndarray:
        """What outputs are to come to before the bias, shape `(rows, outputs)`.

        Args:
            outputs: How many there are.

        Raises:
            ValueError: If targets are not of that shape.
        """
        shaped = self.targets.reshape(len(self.targets), -1)
        if shaped.shape[1] != outputs:
            raise wrong("targets", self.targets, f"{outputs} numbers for each sample")
        return shaped - self.bias

    def of(self, outputs: np.ndarray, rows: Any = None) -> np.ndarray:
        """The losses of several sets of outputs.

        Args:
            outputs: Shape `(sets, rows, outputs)`, before bias and activation.
            rows: Indices of the samples that they are of. Defaults to all.

        Returns:
            Shape `(sets,)`.
        """
        targets = self.targets if rows is None else self.targets[rows]
        sets, count = outputs.shape[:2]
        if self.quadratic:
            wanted = targets.reshape(1, count, -1)
            return 0.5 * np.mean(np.sum((outputs + self.bias - wanted) ** 2, axis=2), axis=1)
        flat = np.reshape(outputs + self.bias, (sets * count, -1))
        made = self.activation(ops.convert_to_tensor(flat))
        return self.of_predictions(made, sets, rows)

    def of_predictions(self, predictions: Any, sets: int, rows: Any = None) -> np.ndarray:
        """The losses of several sets of predictions, one after the other.

        Args:
            predictions: Tensor of shape `(sets * rows, ...)`, with the activation applied.
            sets: How many sets there are.
            rows: Indices of the samples that they are of. Defaults to all.

        Returns:
            Shape `(sets,)`.
        """
        targets = self.targets if rows is None else self.targets[rows]
        if self.squared:
            found = ops.convert_to_numpy(predictions).astype(float)
            apart = found.reshape(sets, len(targets), -1) - targets.reshape(1, len(targets), -1)
            return 0.5 * np.mean(np.sum(apart**2, axis=2), axis=1)
        if targets.ndim == 1 and predictions.shape[-1] == 1:
            targets = targets[:, None]
        repeated = np.tile(targets, (sets, *[1] * (targets.ndim - 1)))
        compute = getattr(self._loss, "call", self._loss)
        each = ops.convert_to_numpy(
            compute(ops.convert_to_tensor(repeated, predictions.dtype), predictions)
        )
        return each.astype(float).reshape(sets, -1).mean(axis=1)


def is_squared(loss: Any) -> bool:
    """Whether a loss is the mean squared error."""
    return (
        isinstance(loss, keras.losses.MeanSquaredError)
        or loss is keras.losses.mean_squared_error
        or (isinstance(loss, str) and loss in _SQUARED)
    )
