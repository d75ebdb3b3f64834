"""Accuracy of each class, averaged over classes."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_sparse.messages.arguments import integer, text, wrong


@keras.saving.register_keras_serializable(package="keras_sparse")
class MeanPerClassAccuracy(keras.metrics.Metric):
    """The mean over classes of the fraction of a class's samples that are taken for it.

    Classes of which there is no sample do not count. For balanced data it is the accuracy.

    ```python
    model.compile(loss=loss, metrics=[ks.transfer.MeanPerClassAccuracy(10)])
    ```

    Args:
        classes: How many classes.
        name: Of the metric.
        dtype: Of its state.

    Raises:
        ValueError: If `classes` is no integer of at least 2.

    Source: Peste (2023), Table 4.2 (mean per-class).
    """

    def __init__(
        self, classes: int, name: str = "mean_per_class_accuracy", dtype: Any = None
    ) -> None:
        super().__init__(name=text("name", name), dtype=dtype)
        self.classes = integer("classes", classes, 2)
        self.right = self.add_variable((classes,), "zeros", name="right")
        self.total = self.add_variable((classes,), "zeros", name="total")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Counts a batch.

        Args:
            y_true: Class indices, shape `(samples,)` or `(samples, 1)`.
            y_pred: Logits or probabilities, shape `(samples, classes)`.
            sample_weight: What each sample counts.
        """
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        if y_pred.shape[-1] != self.classes:
            raise wrong("y_pred", y_pred.shape, f"outputs of {self.classes} classes")
        if len(y_true.shape) > 1 and y_true.shape[-1] != 1:
            cure = "Of one-hot labels keras.ops.argmax(y_true, -1) makes them."
            raise wrong("y_true", y_true.shape, "class indices", cure)
        labels = ops.cast(ops.reshape(y_true, (-1,)), "int32")
        guesses = ops.cast(ops.argmax(y_pred, axis=-1), "int32")
        rows = ops.one_hot(labels, self.classes, dtype=self.dtype)
        if sample_weight is not None:
            weights = ops.cast(ops.reshape(sample_weight, (-1, 1)), self.dtype)
            rows = rows * weights
        hits = rows * ops.cast(labels == guesses, self.dtype)[:, None]
        self.total.assign_add(ops.sum(rows, axis=0))
        self.right.assign_add(ops.sum(hits, axis=0))

    def result(self) -> Any:
        """The mean, 0 before the first sample."""
        seen = ops.cast(self.total > 0, self.dtype)
        accuracies = ops.divide_no_nan(self.right, self.total)
        return ops.divide_no_nan(ops.sum(accuracies), ops.sum(seen))

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {**super().get_config(), "classes": self.classes}
