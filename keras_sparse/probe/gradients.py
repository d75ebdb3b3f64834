"""Gradients and curvature of a model's loss, outside of training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from keras_sparse.backend.gradients import derivatives

# Gradients of a float16 model underflow without it; a power of two is undone exactly.
_FLOAT16_SCALE = 2.0**10


class LossGradients:
    """The gradient of the mean loss of a batch with respect to some of a model's weights.

    The model runs in inference mode: no dropout, batch normalization by its moving statistics,
    which stay as they are. Each method is compiled once and follows later changes of the weights.

    ```python
    gradients = LossGradients(model, model.trainable_variables)
    for value in gradients(x[:100], y[:100]):
        print(value.shape)
    ```

    Args:
        model: A built Keras model.
        variables: Float variables of the model to differentiate by.
        loss: A Keras loss, its name, or a function `loss(y, outputs)`. Defaults to the loss that
            the model is compiled with.

    Raises:
        ValueError: If no loss is given and the model is not compiled.
    """

    def __init__(self, model: keras.Model, variables: Sequence[Any], loss: Any = None) -> None:
        self.model, self.variables = model, list(variables)
        self._loss = _get_loss(model, loss)
        self._scale = _FLOAT16_SCALE if model.compute_dtype == "float16" else 1.0
        chosen = {id(variable) for variable in self.variables}
        others = [variable for variable in model.variables if id(variable) not in chosen]
        self._gradients, self._hessian_product = derivatives(self.objective, self.variables, others)

    def objective(self, x: Any, y: Any) -> Any:
        """The mean loss of a batch, times the scale of the gradients."""
        loss = self._loss(y, self.model(x, training=False))
        return ops.mean(ops.cast(loss, "float32")) * self._scale

    def __call__(self, x: Any, y: Any) -> list[Any]:
        """Gradients at the current weights, float32 tensors of the variables' shapes.

        Args:
            x: A batch of inputs.
            y: Its targets.
        """
        return self._unscaled(self._gradients(*_tensors(x, y)))

    def hessian_product(self, x: Any, y: Any, vectors: Sequence[Any]) -> list[Any]:
        """The Hessian of the mean loss times a vector.

        Args:
            x: A batch of inputs.
            y: Its targets.
            vectors: The vector, as tensors of the variables' shapes.
        """
        given = [ops.convert_to_tensor(vector, "float32") for vector in vectors]
        return self._unscaled(self._hessian_product(given, *_tensors(x, y)))

    def _unscaled(self, values: Sequence[Any]) -> list[Any]:
        found = [ops.cast(value, "float32") for value in values]
        return found if self._scale == 1 else [value / self._scale for value in found]


def _get_loss(model: keras.Model, loss: Any) -> Callable[[Any, Any], Any]:
    if loss is not None:
        return keras.losses.get(loss)
    compiled = getattr(model, "_compile_loss", None)
    if compiled is None:
        raise ValueError(
            f"Model {model.name!r} is not compiled, so its loss is not known. Compile it, or give "
            "loss=..., such as keras.losses.SparseCategoricalCrossentropy(from_logits=True)."
        )
    return compiled


def _tensors(x: Any, y: Any) -> tuple[Any, Any]:
    x, y = (
        None if given is None else keras.tree.map_structure(ops.convert_to_tensor, given)
        for given in (x, y)
    )
    return x, y
