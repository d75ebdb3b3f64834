"""How far what a model is sure of is from how often it is right."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_sparse.messages.arguments import boolean, integer, text


@keras.saving.register_keras_serializable(package="keras_sparse")
class ExpectedCalibrationError(keras.metrics.Metric):
    """The mean over confidences of the distance between confidence and accuracy.

    `sum_i |bin_i| / N * |accuracy_i - confidence_i|` over bins of the largest probability, of equal
    width, closed on the left, the last also on the right. Over batches it is the value of all
    examples at once.

    ```python
    metric = ExpectedCalibrationError(bins=2)
    metric.update_state([0, 1], [[0.95, 0.05], [0.85, 0.15]])
    float(metric.result())  # 0.4
    ```

    Args:
        bins: Their number.
        from_logits: Whether predictions are logits instead of probabilities.
        name: The metric's name.
        dtype: As of any metric.

    Raises:
        ValueError: If an argument is none that can be used.

    Source: Wolfe (2023), D.1.4.
    """

    def __init__(
        self,
        bins: int = 15,
        from_logits: bool = False,
        name: str = "expected_calibration_error",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=text("name", name), dtype=dtype)
        self.bins = integer("bins", bins)
        self.from_logits = boolean("from_logits", from_logits)
        self.counts, self.hits, self.confidences = (
            self.add_weight(shape=(bins,), initializer="zeros", name=each)
            for each in ("counts", "hits", "confidences")
        )

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch.

        Args:
            y_true: Class numbers, `(n,)` or `(n, 1)`, or one-hot or soft labels, `(n, classes)`.
            y_pred: Predictions, `(n, classes)`.
            sample_weight: `(n,)`.
        """
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred, self.dtype)
        if self.from_logits:
            y_pred = ops.softmax(y_pred)
        soft = len(y_true.shape) == len(y_pred.shape) and y_true.shape[-1] == y_pred.shape[-1]
        labels = ops.argmax(y_true, -1) if soft else ops.reshape(y_true, (-1,))
        confidence = ops.max(y_pred, -1)
        hit = ops.cast(
            ops.cast(labels, "int32") == ops.cast(ops.argmax(y_pred, -1), "int32"), self.dtype
        )
        # Both ends are floats: 0.6 * 5 must fall into the bin that begins at 3 / 5.
        edges = ops.convert_to_tensor(np.arange(1, self.bins) / self.bins, self.dtype)
        place = ops.sum(ops.cast(confidence[:, None] >= edges, "int32"), -1)
        inside = ops.one_hot(place, self.bins, dtype=self.dtype)
        if sample_weight is not None:
            inside *= ops.reshape(ops.cast(sample_weight, self.dtype), (-1, 1))
        self.counts.assign_add(ops.sum(inside, 0))
        self.hits.assign_add(ops.sum(inside * hit[:, None], 0))
        self.confidences.assign_add(ops.sum(inside * confidence[:, None], 0))

    def result(self) -> Any:
        """The error so far, 0 of no examples."""
        total = ops.maximum(ops.sum(self.counts), 1e-12)
        return ops.sum(ops.abs(self.hits - self.confidences)) / total

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "bins": self.bins, "from_logits": self.from_logits}
