"""Early stopping that waits for the model to be sparse."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_sparse.engine.callback import worst


class SparseEarlyStopping(keras.callbacks.EarlyStopping):
    """Keras's `EarlyStopping`, by the epochs in which the model is as sparse as asked.

    Methods that start dense have their best validation loss while the model is dense. This one
    reads `sparse_val_...`, which the sparse-training callbacks log: epochs in which the model is
    not as sparse as asked are neither the best nor counted by `patience`. List it after the
    sparse-training callback.

    ```python
    best = ks.SparseEarlyStopping("sparse_val_accuracy", patience=5, restore_best_weights=True)
    model.fit(x, y, epochs=50, validation_data=val, callbacks=[ks.GMP(0.9), best])
    ```

    Args:
        monitor: The quantity to watch, `"sparse_"` and the name of a validation metric.
        **kwargs: As of `keras.callbacks.EarlyStopping`. `mode` follows from the name by default:
            losses and errors are better low, everything else high.

    Raises:
        ValueError: If `monitor` does not begin with `"sparse_val_"`.
    """

    def __init__(self, monitor: str = "sparse_val_loss", **kwargs: Any) -> None:
        if not isinstance(monitor, str) or not monitor.startswith("sparse_val_"):
            raise ValueError(
                "monitor is 'sparse_' and the name of a validation metric, such as "
                f"'sparse_val_loss' or 'sparse_val_accuracy'. Received: monitor={monitor!r}"
            )
        better = "min" if worst(monitor) > 0 else "max"
        super().__init__(monitor, **{"mode": better, **kwargs})

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Counts the epoch, if the model is as sparse as asked."""
        value = (logs or {}).get(self.monitor)
        if value is None or np.isfinite(value):
            super().on_epoch_end(epoch, logs)
