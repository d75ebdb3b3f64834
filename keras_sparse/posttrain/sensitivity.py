"""How much a model loses by each of its layers, pruned alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from rich.console import Console
from rich.progress import track
from rich.table import Table
from typing_extensions import Unpack

from keras_sparse.messages.arguments import boolean, wrong
from keras_sparse.messages.keywords import known_keywords
from keras_sparse.plots.drawing import PicturePath, new_figure, written
from keras_sparse.posttrain.command import post_training_method
from keras_sparse.posttrain.evaluation import Evaluation, lower_is_better
from keras_sparse.probe.snapshot import borrowed
from keras_sparse.sparsity.allocation import check_sparsity
from keras_sparse.sparsity.recipe import PatternArguments, Recipe


@dataclasses.dataclass(frozen=True)
class LayerSensitivity:
    """What a model is worth with one weight tensor pruned.

    Args:
        path: The variable's path.
        size: Its weights.
        values: The metric at each sparsity.
    """

    path: str
    size: int
    values: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Sensitivity:
    """A model's metric with each layer pruned alone. Made by `sensitivity`.

    Args:
        model: The model's name.
        metric: The metric's name.
        dense: The metric of the whole model.
        sparsities: Fractions of weights that were removed of a layer.
        rows: A row for each layer, in the model's order.
    """

    model: str
    metric: str
    dense: float
    sparsities: tuple[float, ...]
    rows: tuple[LayerSensitivity, ...]

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON-able values."""
        return dataclasses.asdict(self)

    def print(self, console: Console | None = None) -> None:
        """Draws the result as a table.

        Args:
            console: A `rich` console. Defaults to standard output.
        """
        title = f"{self.metric} of {self.model}, one layer pruned (dense: {self.dense:.4f})"
        table = Table(title=title, title_justify="left")
        table.add_column("weight", overflow="fold")
        for name in ("weights", *(f"{sparsity:.4g}" for sparsity in self.sparsities)):
            table.add_column(name, justify="right")
        for row in self.rows:
            table.add_row(row.path, f"{row.size:,}", *(f"{value:.4f}" for value in row.values))
        (console or Console()).print(table)

    def plot(self, path: PicturePath = None) -> Figure:
        """Draws the metric: layers down, sparsities across.

        Args:
            path: The picture to write, ending in `.png`. Defaults to none.

        Returns:
            The matplotlib `Figure`.

        Raises:
            OSError: If `path` cannot be written.
        """
        values = np.array([row.values for row in self.rows])
        figure, axes = new_figure(3.5 + 0.7 * len(self.sparsities), 1.5 + 0.25 * len(self.rows))
        # Dark is bad, whichever way the metric goes.
        colors = "cividis_r" if lower_is_better(self.metric) else "cividis"
        image = axes.imshow(values, cmap=colors, aspect="auto")
        axes.set_xticks(range(len(self.sparsities)), [f"{s:.4g}" for s in self.sparsities])
        axes.set_yticks(range(len(self.rows)), [row.path for row in self.rows])
        axes.tick_params(labelsize=7, length=0)
        axes.set(xlabel="sparsity of the layer", title=f"{self.model} (dense: {self.dense:.4g})")
        bar = figure.colorbar(image, ax=axes, label=self.metric)
        if values.min() >= 0 and values.max() <= 1:
            bar.ax.yaxis.set_major_formatter(PercentFormatter(1))
        return written(figure, path)


@known_keywords(PatternArguments)
def sensitivity(
    model: keras.Model,
    data: Any,
    *,
    sparsities: Sequence[float] = (0.5, 0.7, 0.8, 0.9, 0.95),
    method: str | Callable[..., Any] = "magnitude",
    calibration: Any = None,
    metric: str | None = None,
    batch_size: int = 500,
    path: PicturePath = None,
    verbose: bool = True,
    **kwargs: Unpack[PatternArguments],
) -> Sensitivity:
    """Prunes each layer alone to several sparsities and evaluates the model each time.

    The model is left exactly as it was. Of L layers and S sparsities it takes `1 + L * S`
    evaluations.

    ```python
    found = ks.sensitivity(model, (x_test[:2000], y_test[:2000]))
    found.print()
    found.plot("sensitivity.png")
    ```

    Args:
        model: A built and compiled Keras model.
        data: What it is evaluated on: `(x, y)`, or a `tf.data.Dataset` or `PyDataset` of batches.
        sparsities: Fractions of a layer's weights to remove, each in [0, 1).
        method: `"magnitude"`, a method after training such as `"obc"`, or a function that takes a
            model, calibration data, `sparsity` and `allocation`.
        calibration: What the method looks at. Defaults to `data`.
        metric: A metric that the model is compiled with. Defaults to its first, or the loss.
        batch_size: Samples in a batch, for arrays.
        path: A picture to write, ending in `.png`. Defaults to none.
        verbose: Whether to show progress.
        **kwargs: `granularity` (not n:m), `exclude`, `include`, `keep_dense`, `strict`: see
            `SparseCallback`.

    Returns:
        A `Sensitivity`, a table and a picture.

    Raises:
        ValueError: For arguments out of range, a model with nothing to prune or that is not
            compiled, or an unknown metric.
    """
    prune = post_training_method(method)
    evaluated = Evaluation(model, data, metric, batch_size)
    boolean("verbose", verbose)
    if isinstance(sparsities, str) or not isinstance(sparsities, Sequence) or not sparsities:
        raise wrong("sparsities", sparsities, "a list of fractions, such as [0.5, 0.9]")
    asked = tuple(check_sparsity(sparsity, "sparsities") for sparsity in sparsities)
    targets = Recipe(asked[0], **kwargs).select(model).targets
    given = data if calibration is None else calibration
    name, dense = evaluated()
    rows = []
    for target in track(targets, "sensitivity", disable=not verbose):
        values = []
        for sparsity in asked:
            with borrowed(model, model.variables):
                prune(model, given, allocation={target.path: sparsity}, **kwargs)
                values.append(evaluated()[1])
        rows.append(LayerSensitivity(target.path, target.layout.size, tuple(values)))
    found = Sensitivity(model.name, name, dense, asked, tuple(rows))
    if path is not None:
        found.plot(path)
    return found
