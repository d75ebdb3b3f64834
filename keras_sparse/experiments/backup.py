"""Training that goes on from its last epoch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_sparse import data
from keras_sparse.engine.backup import Backup


def resumable_fit(
    model: keras.Model,
    images: tuple[np.ndarray, np.ndarray],
    folder: Path | None,
    *,
    epochs: int,
    batch_size: int,
    seed: int,
    augment: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    watching: Sequence[keras.callbacks.Callback] = (),
    **more: Any,
) -> list[dict[str, float]]:
    """Trains as `model.fit` does; interrupted and called again it goes on from the last epoch.

    The order of the images follows from seed and epoch alone.

    Args:
        model: A compiled model, made in the same way each time.
        images: Training images and labels.
        folder: Where the backup is; `None` for none.
        epochs: Passes over the images.
        batch_size: Images in a batch.
        seed: Seed of the order of the images.
        augment: Whether to crop and flip the images at random.
        callbacks: Callbacks that come before the backup is written.
        watching: Callbacks that come after it.
        **more: Further arguments of `model.fit`.

    Returns:
        The logs of each epoch with its number, `seconds` and `cpu_seconds`.

    Raises:
        ValueError: If there are backups and none can be read.
        FloatingPointError: If training diverged; the backups of earlier epochs stay.
    """
    backup = Backup(folder)
    batches = data.pipeline(
        *images, batch_size=batch_size, augment=augment, seed=seed, initial_epoch=backup.epoch
    )
    model.fit(
        batches,
        initial_epoch=backup.epoch,
        epochs=epochs,
        callbacks=[*callbacks, backup, *watching],
        shuffle=False,  # The pipeline does.
        verbose=0,
        **more,
    )
    return backup.rows
