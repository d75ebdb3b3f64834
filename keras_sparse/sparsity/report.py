"""What of a model is zero, layer by layer, and why the rest is not."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from rich.console import Console
from rich.table import Table

from keras_sparse.messages.arguments import one_of, sample_shape
from keras_sparse.probe.flops import inference_flops, weight_uses
from keras_sparse.probe.quantized import count_nonzeros, logical_shape
from keras_sparse.probe.runtime.keras_graph import keras_runtime_graph
from keras_sparse.probe.runtime.verdicts import RUNTIMES, verdicts
from keras_sparse.probe.variables import places
from keras_sparse.sparsity.reasons import STATE
from keras_sparse.sparsity.selection import Which, survey


@dataclasses.dataclass(frozen=True)
class Row:
    """One weight tensor of a report.

    Args:
        path: The variable's path.
        layer: The name of its layer.
        shape: Its shape.
        nonzeros: Weights that are not exactly zero.
        flops: Operations of one inference with the zeros skipped; `None` if unknown.
        dense_flops: The same if no weight were zero.
        reason: Why the tensor is not pruned; `None` if it can be.
        saves_time: Whether the report's runtime leaves its zeros out of the computation, or would
            if it had some; `None` if it was not asked about, or this is a vector.
        rule: Why not, and the cure; `None` where it does.
    """

    path: str
    layer: str
    shape: tuple[int, ...]
    nonzeros: int
    flops: float | None
    dense_flops: float | None
    reason: str | None
    saves_time: bool | None = None
    rule: str | None = None

    @property
    def size(self) -> int:
        """Weights in the tensor."""
        return int(np.prod(self.shape))

    @property
    def sparsity(self) -> float:
        """Fraction of zeros."""
        return 1 - self.nonzeros / self.size if self.size else 0.0


@dataclasses.dataclass(frozen=True)
class SparsityReport:
    """A model's zeros. Made by `report`."""

    model: str
    rows: tuple[Row, ...]
    flops_reason: str | None
    runtime: str | None = None

    @property
    def prunable(self) -> tuple[Row, ...]:
        """The tensors that can be pruned."""
        return tuple(row for row in self.rows if row.reason is None)

    @property
    def nonzeros(self) -> int:
        """Nonzero weights in the whole model."""
        return sum(row.nonzeros for row in self.rows)

    @property
    def size(self) -> int:
        """Weights in the whole model."""
        return sum(row.size for row in self.rows)

    @property
    def sparsity(self) -> float:
        """Fraction of zeros among the weights that can be pruned."""
        size = sum(row.size for row in self.prunable)
        return 1 - sum(row.nonzeros for row in self.prunable) / size if size else 0.0

    @property
    def flops(self) -> float | None:
        """Operations of one inference with zeros skipped; `None` if unknown."""
        return None if self.flops_reason else sum(row.flops or 0.0 for row in self.rows)

    @property
    def dense_flops(self) -> float | None:
        """Operations of one inference of the dense model; `None` if unknown."""
        return None if self.flops_reason else sum(row.dense_flops or 0.0 for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-able values."""
        return {
            "model": self.model,
            "runtime": self.runtime,
            "size": self.size,
            "nonzeros": self.nonzeros,
            "sparsity": self.sparsity,
            "flops": self.flops,
            "dense_flops": self.dense_flops,
            "rows": [dataclasses.asdict(row) | {"sparsity": row.sparsity} for row in self.rows],
        }

    def print(self, console: Console | None = None) -> None:
        """Draws the report as a table.

        Args:
            console: A `rich` console. Defaults to standard output.
        """
        console = console or Console()
        table = Table(title=f"Sparsity of {self.model}", title_justify="left")
        for name in ("weight", "shape"):
            table.add_column(name, overflow="fold")
        for name in ("nonzeros", "sparsity", "FLOPs dense", "FLOPs sparse"):
            table.add_column(name, justify="right")
        table.add_column("not pruned because", overflow="fold")
        if self.runtime:
            table.add_column(f"zeros on {self.runtime}", overflow="fold")
        for row in self.rows:
            on_runtime = "" if row.saves_time is None else row.rule or "save time"
            table.add_row(
                row.path,
                "x".join(map(str, row.shape)) or "scalar",
                f"{row.nonzeros:,}",
                f"{row.sparsity:.1%}",
                _amount(row.dense_flops),
                _amount(row.flops),
                row.reason or "",
                *([on_runtime] if self.runtime else []),
                style="dim" if row.reason else None,
            )
        console.print(table)
        console.print(
            f"{self.sparsity:.2%} of the prunable weights are zero; "
            f"{self.nonzeros:,} of all {self.size:,} are not."
        )
        if self.flops and self.dense_flops:
            console.print(
                f"An inference takes {_amount(self.flops)} of {_amount(self.dense_flops)} FLOPs "
                f"({self.flops / self.dense_flops:.1%}) where the runtime skips zeros."
            )
        if self.flops_reason:
            console.print(f"FLOPs are not known. {self.flops_reason}")


def report(
    model: keras.Model,
    *,
    exclude: Which = (),
    include: Which = (),
    keep_dense: Any = (),
    input_shape: Any = None,
    runtime: str | None = None,
) -> SparsityReport:
    """Counts the zeros of a model, layer by layer.

    ```python
    ks.report(model).print()
    ks.report(model, runtime="xnnpack-arm").print()
    ```

    Args:
        model: A built Keras model of any kind.
        exclude: What counts as not to be pruned, as for the callbacks.
        include: What counts as to be pruned though it is not by default.
        keep_dense: Any of `"first"`, `"last"`, `"depthwise"`.
        input_shape: Shape of one sample, for FLOPs of a model that leaves it open.
        runtime: A runtime of `keras_sparse.deploy.eligibility`, to say for each weight whether its
            zeros save time there.

    Returns:
        A `SparsityReport` with a row for every weight of the model: those that can be pruned,
        and the others with the reason.

    Raises:
        ValueError: If the model is unbuilt, or a name means nothing; with a runtime also if the
            model has no graph of layers.

    Source: FLOPs as in Peste (2023), A.2.3.
    """
    sample_shape("input_shape", input_shape)
    selection = survey(model, exclude=exclude, include=include, keep_dense=keep_dense)
    reasons = {skipped.path: skipped.reason for skipped in selection.skipped}
    place = places(model)
    uses: Sequence[float | None] = [None] * len(place)
    flops_reason = None
    try:
        uses = weight_uses(model, input_shape).tolist()
    except ValueError as error:
        flops_reason = str(error)
    judged = {}
    if runtime is not None:
        one_of("runtime", runtime, RUNTIMES)
        judged = {row.weight: row for row in verdicts(keras_runtime_graph(model), runtime)}
    rows = []
    for variable, times in zip(model.variables, uses, strict=True):
        layer, path, _ = place[id(variable)]
        reason = reasons.get(path)
        if reason == STATE:
            continue
        verdict = judged.get(path)
        nonzeros, shape = count_nonzeros(layer, variable), logical_shape(layer, variable)
        rows.append(
            Row(
                path=path,
                layer=layer.name,
                shape=shape,
                nonzeros=nonzeros,
                flops=None if times is None else inference_flops([times], [nonzeros]),
                dense_flops=None if times is None else inference_flops([times], [np.prod(shape)]),
                reason=reason,
                saves_time=verdict.fast if verdict else None,
                rule=f"{verdict.rule}. {verdict.cure}" if verdict and verdict.rule else None,
            )
        )
    return SparsityReport(model.name, tuple(rows), flops_reason, runtime)


def _amount(value: float | None) -> str:
    if value is None:
        return "?"
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.2f} {unit}"
    return f"{value:.0f}"
