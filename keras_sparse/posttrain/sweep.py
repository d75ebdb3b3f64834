"""What a trained model is worth after each of several one-shot compressions."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, cast

import keras
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from rich.console import Console
from rich.progress import track
from rich.table import Table
from typing_extensions import Unpack

from keras_sparse.messages.arguments import boolean, integer, wrong
from keras_sparse.messages.keywords import known_keywords
from keras_sparse.plots.drawing import BLUE, GREY, RED, PicturePath, new_figure, written
from keras_sparse.posttrain.compress import compress
from keras_sparse.posttrain.evaluation import Evaluation
from keras_sparse.probe.batch_norm import StatisticsTuner, tuning_batches
from keras_sparse.probe.snapshot import borrowed
from keras_sparse.sparsity.allocation import check_sparsity
from keras_sparse.sparsity.operators import Operator, TopK, get_operator
from keras_sparse.sparsity.recipe import RecipeArguments
from keras_sparse.sparsity.report import report


@dataclasses.dataclass(frozen=True)
class SweepRow:
    """One compression of a model.

    Args:
        label: What was done, such as `"90%"`, `"2:4"` or `"4bit"`; `"dense"` for nothing.
        sparsity: Fraction of zeros among the weights that can be pruned.
        before: The metric right after the compression, before any tuning; `None` if it was not
            asked for.
        after: The metric after batch-norm tuning; `None` where there was none.
    """

    label: str
    sparsity: float
    before: float | None
    after: float | None


@dataclasses.dataclass(frozen=True)
class OneShotSweep:
    """A model's metric after each of several compressions. Made by `one_shot_sweep`.

    Args:
        model: The model's name.
        metric: The metric's name.
        rows: The dense model, then a row for each operator.
    """

    model: str
    metric: str
    rows: tuple[SweepRow, ...]

    def to_dict(self) -> dict[str, Any]:
        """The sweep as JSON-able values."""
        return dataclasses.asdict(self)

    def print(self, console: Console | None = None) -> None:
        """Draws the sweep as a table.

        Args:
            console: A `rich` console. Defaults to standard output.
        """
        tuned = any(row.after is not None for row in self.rows)
        table = Table(title=f"{self.model}, compressed in one shot", title_justify="left")
        table.add_column("compression")
        for name in ("zeros", self.metric, *(["after batch-norm tuning"] if tuned else [])):
            table.add_column(name, justify="right")
        for row in self.rows:
            values = [row.before, *([row.after] if tuned else [])]
            cells = ["" if value is None else f"{value:.4f}" for value in values]
            table.add_row(row.label, f"{row.sparsity:.2%}", *cells)
        (console or Console()).print(table)

    def plot(self, path: PicturePath = None) -> Figure:
        """Draws the metric after each compression.

        Args:
            path: The picture to write, ending in `.png`. Defaults to none.

        Returns:
            The matplotlib `Figure`.

        Raises:
            OSError: If `path` cannot be written.
        """
        dense, *rows = self.rows
        figure, axes = new_figure(7.5, 4.2)
        axes.axhline(cast(float, dense.before), color=GREY, linestyle="--", label="dense")
        for values, style, color, label in (
            ([row.before for row in rows], "o-", RED, "right after compression"),
            ([row.after for row in rows], "s-", BLUE, "after batch-norm tuning"),
        ):
            if None not in values:
                axes.plot(values, style, color=color, label=label)
        axes.set_xticks(range(len(rows)), [row.label for row in rows])
        axes.set(xlabel="compression", ylabel=self.metric, title=self.model)
        known = [v for row in self.rows for v in (row.before, row.after) if v is not None]
        if all(0 <= value <= 1 for value in known):
            axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.grid(axis="y", alpha=0.3)
        figure.legend(loc="outside lower center", ncols=3, frameon=False)
        return written(figure, path)


@known_keywords(RecipeArguments)
def one_shot_sweep(
    model: keras.Model,
    data: Any,
    *,
    sparsities: Sequence[float] = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95),
    operators: Sequence[Any] = (),
    calibration: Any = None,
    metric: str | None = None,
    batch_size: int = 500,
    tuning_batch_size: int = 128,
    evaluate_untuned: bool = False,
    seed: int = 0,
    path: PicturePath = None,
    verbose: bool = True,
    **kwargs: Unpack[RecipeArguments],
) -> OneShotSweep:
    """Compresses a model to several sparsities, patterns and bits, and evaluates each.

    The model is left exactly as it was.

    ```python
    sweep = ks.one_shot_sweep(
        model, test, sparsities=[0.5, 0.8, 0.9], operators=["2:4", "4bit"], calibration=x[:1000]
    )
    sweep.print()
    sweep.plot("sweep.png")
    ```

    Args:
        model: A built and compiled Keras model.
        data: What it is evaluated on: `(x, y)`, or a `tf.data.Dataset` of batches.
        sparsities: Fractions of weights to remove, each in [0, 1).
        operators: Further compressions: n:m patterns (`"2:4"`), bits (`"4bit"`), `TopK(...)`.
        calibration: About 1,000 training inputs, with which batch normalization is tuned after
            each compression: `batch_norm_tuning(..., steps=None, momentum=None)`. Defaults to none,
            and no tuning.
        metric: A metric that the model is compiled with. Defaults to its first, or the loss.
        batch_size: Samples in a batch, for arrays.
        tuning_batch_size: Samples in a batch of the tuning, for an array.
        evaluate_untuned: With `calibration`, whether to evaluate before the tuning as well as after
            it, which takes nearly twice the time. Without, there is no tuning to evaluate before.
        seed: Seed of the tuning's order.
        path: A picture to write, ending in `.png`. Defaults to none.
        verbose: Whether to show progress.
        **kwargs: `granularity` and `allocation` of the sparsities, `exclude`, `include`,
            `keep_dense`, `strict`: see `SparseCallback`.

    Returns:
        A `OneShotSweep`, a table and a picture.

    Raises:
        ValueError: For nothing to compress by, an operator that does not fit a layer, a model
            that is not compiled, an unknown metric, or calibration data for a model without
            batch normalization.

    Source: Peste et al. (2023), 5.4 and Tables C.1 to C.3.
    """
    evaluated = Evaluation(model, data, metric, batch_size)
    integer("tuning_batch_size", tuning_batch_size, 2)
    boolean("evaluate_untuned", evaluate_untuned)
    boolean("verbose", verbose)
    integer("seed", seed, 0)
    granularity = kwargs.pop("granularity", None)
    chosen: list[Operator] = [
        TopK(check_sparsity(s, "sparsities"), granularity)
        for s in _several("sparsities", sparsities)
    ]
    chosen += [get_operator(o, "operators") for o in _several("operators", operators)]
    if not chosen:
        raise ValueError("There is nothing to compress by. Give sparsities or operators.")
    tuner = None if calibration is None else StatisticsTuner(model, momentum=None)
    layers: dict[str, Any] = {
        key: kwargs[key] for key in ("exclude", "include", "keep_dense") if key in kwargs
    }

    def measured(operator: Any) -> SweepRow:
        with borrowed(model, model.variables):
            zeros = compress(model, operator, **kwargs).sparsity
            before = evaluated()[1] if evaluate_untuned or tuner is None else None
            after = None
            if tuner is not None:
                tuner.tune(tuning_batches(model, calibration, tuning_batch_size, None, seed))
                after = evaluated()[1]
            return SweepRow(operator.label, zeros, before, after)

    name, value = evaluated()
    dense = SweepRow("dense", report(model, **layers).sparsity, value, None)
    rows = [measured(o) for o in track(chosen, "one-shot sweep", disable=not verbose)]
    sweep = OneShotSweep(model.name, name, (dense, *rows))
    if path is not None:
        sweep.plot(path)
    return sweep


def _several(name: str, values: Any) -> Sequence[Any]:
    if isinstance(values, np.ndarray):
        return values.ravel().tolist()
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise wrong(name, values, "a list")
    return values
