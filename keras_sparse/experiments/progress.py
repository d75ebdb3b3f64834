"""How far trainings and series of runs are, in a terminal."""

from __future__ import annotations

from typing import Any

import keras
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar


class Progress(keras.callbacks.Callback):
    """Shows a training: a bar within each epoch where there is a terminal, a line for each.

    ```python
    with Progress("AC/DC") as progress:
        model.fit(x, y, epochs=10, verbose=0, callbacks=[ks.ACDC(0.9), progress])
    ```

    Args:
        label: What is trained, in a word.
        console: Where to show it. Defaults to standard output.
    """

    def __init__(self, label: str, console: Console | None = None) -> None:
        super().__init__()
        self.label = label
        self.console = console or Console()
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self._task = self._bar.add_task(label, total=None)

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        # Not in on_train_end, which an interrupted training never reaches.
        self._bar.stop()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Starts the bar of an epoch."""
        self._epoch = f"{self.label} epoch {epoch + 1:2}/{self.params['epochs']}"
        self._bar.reset(self._task, description=self._epoch, total=self.params["steps"])

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Moves the bar."""
        self._bar.update(self._task, completed=batch + 1)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Prints the line of an epoch."""
        logs = logs or {}
        parts = [self._epoch, f"loss {logs.get('loss', float('nan')):.4f}"]
        if "val_accuracy" in logs:
            parts.append(f"accuracy {logs['val_accuracy']:7.2%}")
        if "sparsity" in logs:
            parts.append(f"sparsity {logs['sparsity']:7.2%}")
        # Methods that alternate log which phase an epoch is in.
        for name in logs:
            if name.endswith("_phase"):
                parts.append("sparse phase" if logs[name] else "dense phase")
        self.console.print("  ".join(parts), highlight=False)


class RunsProgress:
    """Shows a series of runs: a bar, and a line for each run that ends.

    Args:
        console: Where to show it. Defaults to standard output.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console or Console(),
        )
        self._task, self._total = self._bar.add_task("runs", total=0), 0

    def __enter__(self) -> RunsProgress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def plan(self, count: int) -> None:
        """Takes in that there are more runs to make."""
        self._total += count
        self._bar.update(self._task, total=self._total)

    def report(self, name: str, outcome: str, seconds: float) -> None:
        """Says how a run ended."""
        line = f"{name}: {outcome} after {seconds:.0f} s"
        self._bar.console.print(line, highlight=False, soft_wrap=True)
        self._bar.advance(self._task)
