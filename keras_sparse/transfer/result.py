"""What a transfer came to."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from rich.console import Console
from rich.table import Table

from keras_sparse.transfer.logistic_regression import LogisticRegression


@dataclasses.dataclass(frozen=True)
class Transfer:
    """A model on its new task. Made by `full` and `linear`.

    Args:
        model: The model, whose head is new.
        mode: `"full"` or `"linear"`.
        upstream_sparsity: Fraction of zeros among the prunable weights of the given model; where
            layers of it are frozen, that of the new one's backbone.
        backbone_sparsity: The same without the head, which transfer leaves alone.
        sparsity: Of the new model, its dense head included.
        history: What `fit` logged for each epoch; empty for L-BFGS.
        epoch_seconds: Seconds that each epoch took.
        regression: What L-BFGS found.
    """

    model: keras.Model = dataclasses.field(repr=False)
    mode: str
    upstream_sparsity: float
    backbone_sparsity: float
    sparsity: float
    history: Mapping[str, Sequence[float]] = dataclasses.field(default_factory=dict, repr=False)
    epoch_seconds: Sequence[float] = dataclasses.field(default=(), repr=False)
    regression: LogisticRegression | None = None

    def last(self, metric: str = "val_accuracy") -> float:
        """A metric after the last epoch."""
        return float(self._of(metric)[-1])

    def best(self, metric: str = "val_accuracy") -> float:
        """A metric, the larger the better, after its best epoch."""
        return float(max(self._of(metric)))

    def _of(self, metric: str) -> Sequence[float]:
        if metric not in self.history:
            raise ValueError(
                f"There is no metric {metric!r} of each epoch. Known: {sorted(self.history)}. Give "
                "validation_data for those that begin with val_; after L-BFGS evaluate the model."
            )
        return self.history[metric]

    def print(self, console: Console | None = None) -> None:
        """Draws it as a table.

        Args:
            console: A `rich` console. Defaults to standard output.
        """
        table = Table(title=f"{self.model.name}, {self.mode} transfer", title_justify="left")
        table.add_column("")
        table.add_column("", justify="right")
        rows: dict[str, Any] = {
            "zeros upstream": f"{self.upstream_sparsity:.2%}",
            "zeros of the backbone": f"{self.backbone_sparsity:.2%}",
            "zeros with the new head": f"{self.sparsity:.2%}",
        }
        rows |= {f"last {name}": f"{values[-1]:.4g}" for name, values in self.history.items()}
        if self.epoch_seconds:
            mean = sum(self.epoch_seconds) / len(self.epoch_seconds)
            rows["seconds an epoch"] = f"{mean:.3f}"
        if self.regression is not None:
            rows["L2 penalty"] = f"{self.regression.l2:g}"
        for name, value in rows.items():
            table.add_row(name, value)
        (console or Console()).print(table)


class EpochSeconds(keras.callbacks.Callback):
    """Measures how long each epoch takes, its validation included."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Begins."""
        self._began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Ends."""
        self.seconds.append(time.perf_counter() - self._began)
