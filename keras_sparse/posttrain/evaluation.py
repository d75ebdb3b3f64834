"""What a compiled model is worth on some data, by one number."""

from __future__ import annotations

from typing import Any

import keras

from keras_sparse.messages.arguments import integer, optional, text
from keras_sparse.probe.calibration import check_data
from keras_sparse.probe.variables import check_built


class Evaluation:
    """A model's metric on data, again and again.

    Args:
        model: A built and compiled Keras model.
        data: What it is evaluated on: `(x, y)`, or a `tf.data.Dataset` or `PyDataset` of batches.
        metric: A metric that the model is compiled with. Defaults to its first, or the loss.
        batch_size: Samples in a batch, for arrays.

    Raises:
        ValueError: If the model is not built and compiled, or an argument is none that can be used.
    """

    def __init__(
        self, model: keras.Model, data: Any, metric: str | None = None, batch_size: int = 500
    ) -> None:
        check_built(model)
        check_data(data)
        integer("batch_size", batch_size)
        self._metric = optional(text, "metric", metric)
        if not model.compiled:
            raise ValueError(
                f"Model {model.name!r} is not compiled, so it cannot be evaluated. Compile it, "
                "with metrics=['accuracy'] to see its accuracy."
            )
        arrays = isinstance(data, (tuple, list))
        self._model, self._given = model, tuple(data) if arrays else (data,)
        self._options = {"batch_size": batch_size} if arrays else {}

    def __call__(self) -> tuple[str, float]:
        """The metric's name and its value with the weights as they are now.

        Raises:
            ValueError: If the model is not compiled with the metric.
        """
        logs = self._model.evaluate(*self._given, **self._options, verbose=0, return_dict=True)
        name = self._metric or next((name for name in logs if name != "loss"), "loss")
        if name not in logs:
            raise ValueError(
                f"The model is not compiled with a metric {name!r}; it has {', '.join(logs)}."
            )
        return name, float(logs[name])


def lower_is_better(metric: str) -> bool:
    """Whether a metric of this name is an error or a loss, rather than a share that is right."""
    words = ("loss", "error", "entropy", "divergence", "perplexity")
    return any(word in metric for word in words) or metric in ("mse", "mae", "mape", "msle")
