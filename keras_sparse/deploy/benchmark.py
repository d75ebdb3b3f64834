"""How long inferences of LiteRT files take on this machine, side by side."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from rich.text import Text

from keras_sparse.deploy import measuring
from keras_sparse.deploy.flatbuffer import open_model
from keras_sparse.deploy.inspection import read_file
from keras_sparse.deploy.verification import INTERPRETERS, KERNELS
from keras_sparse.messages.arguments import boolean, integer, one_of, wrong
from keras_sparse.plots.drawing import BLUE, PicturePath, new_figure, written


@dataclass(frozen=True)
class Latency:
    """What inferences of one file took.

    ```python
    import keras
    from keras_sparse import deploy

    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    deploy.to_litert(model, "model.tflite", sparse=False)
    (row,) = deploy.benchmark("model.tflite", runs=5, rounds=1).rows
    print(row.median, row.low, row.high, row.memory)
    ```

    Args:
        path: The file.
        bytes: Its size.
        median: Of the CPU seconds of an inference.
        low: Their first quartile.
        high: Their third quartile.
        memory: Bytes by which loading and running it raise the peak of a process's memory; `None`
            where the system does not tell.
    """

    path: str
    bytes: int
    median: float
    low: float
    high: float
    memory: int | None


@dataclass(frozen=True)
class LiteRTBenchmark:
    """Latencies of LiteRT files. Made by `benchmark`.

    ```python
    import keras
    from keras_sparse import deploy

    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    deploy.to_litert(model, "model.tflite", sparse=False)
    deploy.benchmark("model.tflite", runs=5, rounds=1).print()
    ```

    Args:
        rows: One for each file, in their order.
        kernels: `"all"` for LiteRT's default, XNNPACK, or `"built-in"`.
        threads: Threads that computed.
        runs: Inferences of each file.
        cold: Whether caches were emptied before each.
    """

    rows: tuple[Latency, ...]
    kernels: str
    threads: int
    runs: int
    cold: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The latencies as plain values for `json.dump`."""
        return dataclasses.asdict(self)

    def print(self, console: Console | None = None) -> None:
        """Prints a table.

        Args:
            console: Where to print. Defaults to the standard output.
        """
        console = console or Console()
        cold = ", caches emptied before each" if self.cold else ""
        title = f"CPU time of an inference, {self.kernels} kernels, {self.runs} runs{cold}"
        table = Table(title=title, title_justify="left")
        table.add_column("file", overflow="fold")
        for name in ("bytes", "median, ms", "quartiles, ms", "memory, MB", "times the first"):
            table.add_column(name, justify="right")
        for row in self.rows:
            memory = "?" if row.memory is None else f"{row.memory / 1e6:.1f}"
            quartiles = f"{row.low * 1e3:.3f} to {row.high * 1e3:.3f}"
            faster = f"{self.rows[0].median / row.median:.2f}" if row.median else "?"
            median = f"{row.median * 1e3:.3f}"
            table.add_row(Text(row.path), f"{row.bytes:,}", median, quartiles, memory, faster)
        console.print(table)

    def plot(self, path: PicturePath = None) -> Figure:
        """Draws medians with quartiles.

        Args:
            path: A `.png` file to write.
        """
        figure, axes = new_figure(6, 1 + 0.4 * len(self.rows))
        medians = [1e3 * row.median for row in self.rows]
        spread = [[1e3 * (row.median - row.low) for row in self.rows]]
        spread.append([1e3 * (row.high - row.median) for row in self.rows])
        names = [Path(row.path).name for row in self.rows]
        axes.barh(range(len(names)), medians, xerr=spread, color=BLUE)
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis()
        axes.set_xlabel(f"CPU time of an inference, ms ({self.kernels} kernels)")
        return written(figure, path)


def benchmark(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    runs: int = 50,
    rounds: int = 3,
    kernels: str = "all",
    threads: int = 1,
    cold: bool = False,
) -> LiteRTBenchmark:
    """Measures how long inferences of LiteRT files take on this machine.

    Files are run in turn, each in a process of its own, several times, so that what else the
    machine does falls on all alike. Time is that of the processor, not of the clock.

    One inference right after the other finds the weights of a small model in the processor's
    caches, where dense ones cost little. With `cold` they come from memory, as they do on a device
    whose caches are smaller than the weights, and in an application that does other things between
    two inferences.

    ```python
    import keras
    from keras_sparse import deploy

    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(64), keras.layers.Dense(10)])
    deploy.to_litert(model, "dense.tflite", sparse=False)
    deploy.benchmark(["dense.tflite"], runs=5, rounds=1).print()
    ```

    Args:
        paths: One `.tflite` file, or several.
        runs: Inferences in a round.
        rounds: How often each file has its turn.
        kernels: `"all"` for LiteRT's default, which is XNNPACK, or `"built-in"`.
        threads: Threads to compute with; their time is added up.
        cold: Whether caches are emptied before each inference, which takes 128 MiB of memory.

    Returns:
        A `LiteRTBenchmark`.

    Raises:
        ValueError: If an argument is wrong, a file is none of LiteRT's, or it does not run.
        OSError: If a file cannot be read.
    """
    for name, value in (("runs", runs), ("rounds", rounds), ("threads", threads)):
        integer(name, value)
    one_of("kernels", kernels, KERNELS)
    boolean("cold", cold)
    resolver = INTERPRETERS[KERNELS[kernels][0]]
    given = [paths] if isinstance(paths, (str, os.PathLike)) else paths
    if not isinstance(given, Iterable) or not (files := [_checked(file) for file in given]):
        raise wrong("paths", paths, "the path of a .tflite file, or several")
    found: list[list[dict[str, Any]]] = [[] for _ in files]
    for _ in range(rounds):
        for file, measured in zip(files, found, strict=True):
            measured.append(_measure(file, resolver, runs, threads, cold))
    rows = []
    for file, measured in zip(files, found, strict=True):
        seconds = np.concatenate([each["seconds"] for each in measured])
        memory = [each["bytes"] for each in measured if each["bytes"] is not None]
        low, median, high = np.quantile(seconds, [0.25, 0.5, 0.75]).tolist()
        size = file.stat().st_size
        most = int(np.median(memory)) if memory else None
        rows.append(Latency(str(file), size, median, low, high, most))
    return LiteRTBenchmark(tuple(rows), kernels, threads, runs * rounds, cold)


def _checked(file: Any) -> Path:
    if not isinstance(file, (str, os.PathLike)):
        raise wrong("paths", file, "the path of a .tflite file, or several")
    open_model(read_file(file), repr(os.fspath(file)))
    return Path(file).expanduser()


def _measure(file: Path, resolver: str, runs: int, threads: int, cold: bool) -> dict[str, Any]:
    given = [str(file), resolver, str(runs), str(threads), "cold" if cold else "warm"]
    command = [sys.executable, measuring.__file__, *given]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise ValueError(
            f"{str(file)!r} does not run with {resolver}: {last}. Try kernels='built-in', or "
            "export it again with to_litert, which runs it before it writes it."
        )
    return json.loads(done.stdout)
