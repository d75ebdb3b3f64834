"""What runs on Keras 3 and on its predecessor share: a setting, and what they leave on disk."""

import csv
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def Clock(base: type) -> Any:
    """Makes a callback that adds each epoch's `seconds` and `cpu_seconds` to its logs.

    Args:
        base: the `Callback` class of the Keras in use.
    """

    class _Clock(base):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.began = time.perf_counter(), time.process_time()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            logs["seconds"] = time.perf_counter() - self.began[0]
            logs["cpu_seconds"] = time.process_time() - self.began[1]

    return _Clock()


def read_history(path: Path) -> list[dict[str, float]]:
    """Reads a `CSVLogger` file; of an epoch that was run twice the last row counts."""
    if not path.exists():
        return []
    with path.open() as file:
        rows = {int(row["epoch"]): row for row in csv.DictReader(file)}
    return [{key: float(value) for key, value in rows[epoch].items()} for epoch in sorted(rows)]


def epochs_done(path: Path) -> int:
    """How many epochs a `CSVLogger` file holds."""
    return len(read_history(path))


def set_batch_norm_momentum(layers: Iterable[Any], momentum: float) -> None:
    """Sets the momentum of moving averages: with Keras's 0.99 a short run tests stale ones."""
    for layer in layers:
        if type(layer).__name__ == "BatchNormalization":
            layer.momentum = momentum
