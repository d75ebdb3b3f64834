"""Checkpoints in mid-training that load without this package."""

from __future__ import annotations

from typing import Any

import keras

from keras_sparse.engine import installation


class PlainCheckpoint(keras.callbacks.ModelCheckpoint):
    """Keras's `ModelCheckpoint`, which writes plain Keras files in the middle of sparse training.

    A file that `ModelCheckpoint` writes during sparse training holds masks and the rest of the
    method's state, so that training can go on from it, and needs `import keras_sparse` to be
    loaded. A file of this callback holds the sparse model and the optimizer that it was compiled
    with, as if the training had ended: it loads anywhere, and a training that goes on from it
    starts the method anew.

    ```python
    best = ks.PlainCheckpoint(
        "best.keras", monitor="sparse_val_loss", mode="min", save_best_only=True
    )
    model.fit(x, y, epochs=20, validation_data=val, callbacks=[ks.GMP(0.9), best])
    ```

    Args:
        filepath: As of `keras.callbacks.ModelCheckpoint`.
        **kwargs: As of `keras.callbacks.ModelCheckpoint`.
    """

    def __init__(self, filepath: Any, **kwargs: Any) -> None:
        super().__init__(filepath, **kwargs)

    def _save_model(self, epoch: int, batch: int | None, logs: Any) -> None:
        with installation.without(self.model):
            super()._save_model(epoch, batch, logs)
