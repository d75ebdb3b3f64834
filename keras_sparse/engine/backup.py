"""The state of a training run after each epoch, in one file."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_sparse.probe.finite import not_finite
from keras_sparse.storage.states import StateFiles

_PREFIX = "epoch"


class Backup(keras.callbacks.Callback):
    """Saves after each epoch all that a training needs to go on as if nothing had happened.

    Keras's `BackupAndRestore` writes weights and epoch one after the other and in place, and leaves
    out the states of random generators; a process killed between the two would train an epoch
    twice. Here one file, put in place in one step, holds the variables of the model and of its
    optimizer (masks, momentum, place in the learning-rate schedule) and the history. The last two
    files are kept.

    Args:
        folder: Where the files are; the newest readable one is read at once. `None` writes none,
            for a method that has backups of its own.

    Attributes:
        rows: The logs of each finished epoch.

    Raises:
        ValueError: If there are backups and none can be read.
    """

    def __init__(self, folder: Path | None) -> None:
        super().__init__()
        self.folder = folder
        self._states = None if folder is None else StateFiles(folder, _PREFIX)
        self.rows: list[dict[str, float]] = []
        self._values: list[np.ndarray] = []
        found = self._states.newest() if self._states else None
        if found is not None:
            self.rows, self._values = found

    @property
    def epoch(self) -> int:
        """Finished epochs, which is the number of the next one."""
        return len(self.rows)

    def _variables(self) -> list[Any]:
        return [*self.model.variables, *self.model.optimizer.variables]

    def on_train_begin(self, logs: Any = None) -> None:
        """Restores the state that was read."""
        if not self.rows:
            return
        if not self.model.optimizer.built:
            self.model.optimizer.build(self.model.trainable_variables)
        variables = self._variables()
        shapes = [tuple(variable.shape) for variable in variables]
        if shapes != [value.shape for value in self._values]:
            raise ValueError(
                f"The backup in {str(self.folder)!r} is of another architecture or method: "
                f"it holds {len(self._values)} variables, and this run has {len(variables)} of "
                "particular shapes. Resume it with the version of keras_sparse that wrote it, or "
                "start a run in another folder."
            )
        for variable, value in zip(variables, self._values, strict=True):
            variable.assign(value)
        self._values = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Starts the clock."""
        self._began = time.perf_counter(), time.process_time()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Writes the state, unless it is beyond repair."""
        if not_finite(self.model.variables):
            raise FloatingPointError(
                f"Training diverged in epoch {epoch + 1}: the loss is {(logs or {}).get('loss')}, "
                "and weights are not finite."
            )
        wall, cpu = self._began
        spent = {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}
        row = {name: float(value) for name, value in (logs or {}).items()}
        self.rows.append({"epoch": epoch + 1, **row, **spent})
        if self._states is not None:
            values = [keras.ops.convert_to_numpy(variable) for variable in self._variables()]
            self._states.write(epoch + 1, self.rows, values)


def finished_epochs(folder: Path) -> int:
    """The number of the newest epoch whose state is in a folder, 0 without one."""
    return max((int(path.stem[-5:]) for path in folder.glob(f"{_PREFIX}-*.npz")), default=0)
