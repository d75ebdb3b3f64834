"""Pruning until a target is met: what may be lost, or the size or time of the file."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from rich.console import Console
from rich.table import Table
from typing_extensions import Unpack

from keras_sparse.deploy.latency import litert_costs
from keras_sparse.messages.arguments import boolean, integer, number
from keras_sparse.messages.keywords import known_keywords
from keras_sparse.messages.warning import SparsityWarning
from keras_sparse.posttrain.command import post_training_method
from keras_sparse.posttrain.evaluation import Evaluation, lower_is_better
from keras_sparse.probe.batch_norm import StatisticsTuner, batch_normalizations
from keras_sparse.probe.calibration import calibration_batches
from keras_sparse.probe.snapshot import Snapshot
from keras_sparse.sparsity.bisection import lowest_level
from keras_sparse.sparsity.recipe import RecipeArguments

_BATCH = 32
_HELD_OUT = 4  # One batch in so many.


@dataclasses.dataclass(frozen=True)
class PruneToRow:
    """One sparsity that was tried.

    Args:
        sparsity: Fraction of weights that was asked to be removed.
        value: What the target is of: points of the metric that were lost, bytes or seconds.
        metric: The metric on the samples that were held out.
    """

    sparsity: float
    value: float
    metric: float


@dataclasses.dataclass(frozen=True)
class PruneToResult:
    """How far a model was pruned. Made by `prune_to`.

    Args:
        target: `"max_loss"`, `"bytes"` or `"latency"`.
        goal: What was asked for.
        met: Whether it was reached.
        sparsity: Fraction of weights that the model was asked to lose.
        metric: The metric's name.
        dense: The metric of the dense model.
        rows: The sparsities that were tried, in ascending order.
    """

    target: str
    goal: float
    met: bool
    sparsity: float
    metric: str
    dense: float
    rows: tuple[PruneToRow, ...]

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON-able values."""
        return dataclasses.asdict(self)

    def print(self, console: Console | None = None) -> None:
        """Draws the result as a table.

        Args:
            console: A `rich` console. Defaults to standard output.
        """
        said = "met" if self.met else "not met"
        title = f"{self.target}={self.goal:g} is {said} at {self.sparsity:.2%} zeros"
        table = Table(title=title, title_justify="left")
        for name in ("zeros", self.target, self.metric):
            table.add_column(name, justify="right")
        table.add_row("dense", "", f"{self.dense:.4f}")
        for row in self.rows:
            style = "bold" if row.sparsity == self.sparsity else None
            cells = f"{row.sparsity:.2%}", f"{row.value:.6g}", f"{row.metric:.4f}"
            table.add_row(*cells, style=style)
        (console or Console()).print(table)


@known_keywords(RecipeArguments)
def prune_to(
    model: keras.Model,
    data: Any,
    *,
    max_loss: float | None = None,
    bytes: float | None = None,
    latency: float | None = None,
    method: str | Callable[..., Any] = "adaprune",
    metric: str | None = None,
    resolution: int = 100,
    tune_batch_norm: bool = True,
    **kwargs: Unpack[RecipeArguments],
) -> PruneToResult:
    """Prunes a model, in place, as far as it keeps a target or until it reaches one.

    With `max_loss` that is the highest sparsity, with `bytes` or `latency` the lowest, found by
    bisection. Every fourth batch of 32 samples is held out to evaluate on; the others calibrate.

    ```python
    found = ks.prune_to(model, (x[:2000], y[:2000]), max_loss=0.01)
    found.print()
    ```

    Args:
        model: A built and compiled Keras model.
        data: Calibration data with targets: `(x, y)`, or a finite iterable of `(x, y)` batches.
        max_loss: What the metric may lose on the samples that are held out: 0.01 is a point of
            accuracy. What is better lower, a loss or an error, may rise by it.
        bytes: The most that the LiteRT file may have, zeros left out.
        latency: The most seconds that an inference of that file may take on this machine.
        method: `"magnitude"`, a method after training such as `"obc"`, or a function that takes a
            model, calibration data and `sparsity`.
        metric: A metric that the model is compiled with. Defaults to its first, or the loss.
        resolution: Into how many steps sparsities from 0 to 1 are divided.
        tune_batch_norm: Whether batch normalization is tuned after each pruning, where the metric
            is better for it.
        **kwargs: `granularity` (not n:m), `allocation`, `exclude`, `include`, `keep_dense`,
            `strict`: see `SparseCallback`.

    Returns:
        A `PruneToResult`.

    Raises:
        ValueError: For none or several targets, arguments out of range, fewer than two batches, or
            a model with nothing to prune or that is not compiled.

    Warns:
        SparsityWarning: If a target cannot be met. The model then is as near to it as was found.
    """
    targets = {"max_loss": max_loss, "bytes": bytes, "latency": latency}
    given = {name: value for name, value in targets.items() if value is not None}
    if len(given) != 1:
        raise ValueError(
            "Give one target: max_loss=, bytes= or latency=, such as max_loss=0.01 for a point of "
            f"accuracy. Received: {', '.join(f'{k}={v!r}' for k, v in given.items()) or 'none'}"
        )
    ((target, goal),) = given.items()
    number(target, goal, "[0, inf)" if target == "max_loss" else "(0, inf)")
    integer("resolution", resolution, 2)
    boolean("tune_batch_norm", tune_batch_norm)
    prune = post_training_method(method)
    calibration, held_out = _divided(list(calibration_batches(model, data, _BATCH)))
    evaluated = Evaluation(model, held_out, metric)
    tuner = None
    if tune_batch_norm and batch_normalizations(model):
        tuner = StatisticsTuner(model, momentum=None)
    dense = Snapshot(model, model.variables)
    tried: dict[int, PruneToRow] = {}
    name, before = evaluated()

    def worth() -> float:
        found = evaluated()[1]
        return -found if lower_is_better(name) else found

    def bring_to(level: int) -> None:
        dense.restore()
        if level:
            prune(model, calibration, sparsity=level / resolution, **kwargs)
            if tuner is not None:
                tuner.tune_if_better((x for x, _ in calibration), worth)

    def keeps(level: int) -> bool:
        bring_to(level)
        measured = evaluated()[1]
        if target == "max_loss":
            value = measured - before if lower_is_better(name) else before - measured
        else:
            (cost,) = litert_costs([model], sparse=True)
            value = float(cost.bytes) if target == "bytes" else cost.seconds
        tried[level] = PruneToRow(level / resolution, value, measured)
        return value <= goal

    top = resolution - 1
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SparsityWarning)  # of what is only tried
            if target == "max_loss":
                first = lowest_level(top, lambda level: not keeps(level))
                found = top if first is None else max(first - 1, 0)
            else:
                first = lowest_level(top, keeps)
                found = top if first is None else first
            if found not in tried:
                keeps(found)
        bring_to(found)
    except BaseException:
        dense.restore()
        raise
    row = tried[found]
    if not row.value <= goal:
        warnings.warn(
            f"{target}={goal:g} cannot be met: the nearest that was found is {row.value:.6g}, at "
            f"{row.sparsity:.2%} zeros. Ask for less, or choose another method or allocation.",
            SparsityWarning,
            stacklevel=3,
        )
    rows = tuple(tried[level] for level in sorted(tried))
    return PruneToResult(target, goal, row.value <= goal, row.sparsity, name, before, rows)


def _divided(batches: list[tuple[Any, Any]]) -> tuple[list[tuple[Any, Any]], tuple[Any, Any]]:
    """Batches to calibrate with, and the samples of the others as arrays."""
    if len(batches) < 2:
        raise ValueError(
            f"Samples are held out in batches of {_BATCH}, and the data is no more than one. Give "
            "about a thousand samples."
        )
    held_out = batches[1::_HELD_OUT]
    kept = [batch for i, batch in enumerate(batches) if i % _HELD_OUT != 1]
    x, y = (
        keras.tree.map_structure(lambda *parts: np.concatenate(parts), *side)
        for side in zip(*held_out, strict=True)
    )
    return kept, (x, y)
