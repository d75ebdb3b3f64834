"""What a comparison of methods came to: table, files and pictures."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter
from rich.table import Table

from keras_sparse.compare import mean_and_spread
from keras_sparse.drawing import GREY, PicturePath, new_figure, written
from keras_sparse.files import replace_file
from keras_sparse.method_names import METHODS

Group = tuple[str, float | None, int]
_MARKERS = "osD^vP*X<>phd8"


class Row(NamedTuple):
    """One method at one sparsity: means over seeds, and the spread of the accuracy.

    Args:
        method: Its name.
        asked: The sparsity asked for, `None` where none can be.
        epochs: Length of its runs.
        seeds: How many runs there are.
        accuracy: Mean test accuracy.
        spread: Sample standard deviation of the accuracy.
        sparsity: Mean sparsity of the final models.
        training_flops: Operations of the training, relative to dense training of the same epochs.
        inference_flops: Operations of an inference, relative to the dense model.
        seconds: Mean seconds of a run.
        bytes: Mean size of the LiteRT file.
        layers: Mean sparsity of each layer.
    """

    method: str
    asked: float | None
    epochs: int
    seeds: int
    accuracy: float
    spread: float
    sparsity: float
    training_flops: float
    inference_flops: float
    seconds: float
    bytes: float
    layers: Mapping[str, float]


def rows(results: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Sums up results of runs by method, sparsity and length, in order of sparsity."""
    groups: dict[Group, list[Mapping[str, Any]]] = {}
    for result in results:
        key = (result["method"], result["asked_sparsity"], result["epochs"])
        groups.setdefault(key, []).append(result)
    made = []
    for (method, asked, epochs), runs in groups.items():

        def mean(value: Callable[[Mapping[str, Any]], Any], runs: Any = runs) -> float:
            return mean_and_spread([value(run) for run in runs])[0]

        accuracy, spread = mean_and_spread([run["accuracy"] for run in runs])
        made.append(
            Row(
                method,
                asked,
                epochs,
                len(runs),
                accuracy,
                spread,
                mean(lambda run: run["sparsity"]),
                mean(lambda run: _ratio(run, "training_flops", "dense_training_flops")),
                mean(lambda run: _ratio(run, "inference_flops", "dense_inference_flops")),
                mean(lambda run: run["seconds"]),
                mean(lambda run: run["tflite_bytes"]),
                {
                    name: mean_and_spread([run["layers"][name] for run in runs])[0]
                    for name in runs[0]["layers"]
                },
            )
        )
    order = {method: i for i, method in enumerate(dict.fromkeys(row.method for row in made))}
    return sorted(made, key=lambda row: (row.asked or row.sparsity, order[row.method]))


def _ratio(run: Mapping[str, Any], part: str, whole: str) -> float | None:
    return run[part] / run[whole] if run[part] and run[whole] else None


_COLUMNS: Sequence[tuple[str, Callable[[Row], str]]] = (
    ("method", lambda row: row.method),
    ("accuracy", lambda row: f"{row.accuracy:.2%}"),
    ("spread", lambda row: "" if math.isnan(row.spread) else f"{100 * row.spread:.2f}"),
    ("sparsity", lambda row: f"{row.sparsity:.2%}"),
    ("training FLOPs", lambda row: _percent(row.training_flops)),
    ("inference FLOPs", lambda row: _percent(row.inference_flops)),
    ("epochs", lambda row: str(row.epochs)),
    ("seeds", lambda row: str(row.seeds)),
    ("seconds", lambda row: f"{row.seconds:.0f}"),
    (".tflite bytes", lambda row: f"{row.bytes:,.0f}"),
)

_LEFT_OUT = ("seeds", "epochs")  # in a terminal, where eighty columns have to do


def _percent(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.1%}"


def table(summary: Sequence[Row], title: str = "") -> Table:
    """A `rich` table of a comparison, with a line between sparsities."""
    made = Table(title=title, title_justify="left", padding=(0, 0, 0, 1))
    columns = [column for column in _COLUMNS if column[0] not in _LEFT_OUT]
    for name, _ in columns:
        left = name == "method"
        made.add_column(name, justify="left" if left else "right", no_wrap=left)
    for i, row in enumerate(summary):
        following = summary[i + 1].asked if i + 1 < len(summary) else row.asked
        made.add_row(*(show(row) for _, show in columns), end_section=following != row.asked)
    return made


def markdown(summary: Sequence[Row], title: str, command: str) -> str:
    """The table as Markdown, with what its columns mean."""
    lines = [f"# {title}", "", f"`{command}`", ""]
    lines += ["| " + " | ".join(name for name, _ in _COLUMNS) + " |"]
    lines += ["|" + "|".join(" --- " if n == "method" else " ---: " for n, _ in _COLUMNS) + "|"]
    lines += ["| " + " | ".join(show(row) for _, show in _COLUMNS) + " |" for row in summary]
    lines += [
        "",
        "Test accuracy of the last epoch, mean over seeds; its spread is the sample standard "
        "deviation, in points. Sparsity is that of the prunable weights. FLOPs count nonzero "
        "weights, relative to the dense model and to dense training of the same number of epochs. "
        "Seconds are those of a whole run, export included.",
        "",
        "![accuracy against sparsity](accuracy_by_sparsity.png)",
        "![accuracy against training FLOPs](accuracy_by_flops.png)",
        "![sparsity of layers](layers.png)",
        "![mask change](mask_change.png)",
        "",
    ]
    return "\n".join(lines)


def write(
    results: Sequence[Mapping[str, Any]],
    histories: Mapping[str, Mapping[str, Sequence[float]]],
    out: Path,
    title: str,
    command: str,
) -> list[Row]:
    """Writes `results.json`, `table.csv`, `table.md` and the pictures.

    Args:
        results: Results of finished runs.
        histories: For each method the epochs of a run at the highest sparsity.
        out: The folder.
        title: Title of table and pictures.
        command: The command that makes them.

    Returns:
        The rows of the table.
    """
    summary = rows(results)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Row._fields[:-1])
    writer.writerows(row[:-1] for row in summary)
    replace_file(out / "table.csv", text.getvalue().encode())
    replace_file(out / "table.md", markdown(summary, title, command).encode())
    replace_file(out / "results.json", (json.dumps(list(results), indent=1) + "\n").encode())
    accuracy_by_sparsity(summary, out / "accuracy_by_sparsity.png", title)
    accuracy_by_flops(summary, out / "accuracy_by_flops.png", title)
    layer_heat_map(summary, out / "layers.png", title)
    mask_changes(histories, out / "mask_change.png", title)
    return summary


def accuracy_by_sparsity(
    summary: Sequence[Row], path: PicturePath = None, title: str = ""
) -> Figure:
    """Draws mean accuracy against sparsity, a line a method, with the spread as bars."""
    figure, axes = new_figure(7.5, 4.6)
    dense = [row for row in summary if row.method == "dense"]
    if dense:
        axes.axhline(dense[0].accuracy, color=GREY, linestyle="--", label="dense")
    methods = _methods(summary)
    for i, (method, color, marker) in enumerate(methods):
        of = [row for row in summary if row.method == method]
        # Side by side: methods of one sparsity would hide each other's bars.
        aside = (i - len(methods) / 2) * 0.012
        axes.errorbar(
            [_nines(row.sparsity) + aside for row in of],
            [row.accuracy for row in of],
            [0 if math.isnan(row.spread) else row.spread for row in of],
            color=color,
            marker=marker,
            markersize=5,
            linewidth=1,
            capsize=2,
            label=method,
        )
    shown = sorted({round(row.asked, 6) for row in summary if row.asked})
    if shown:
        axes.set_xticks([_nines(s) for s in shown], [f"{s:.4g}" for s in shown])
    axes.set(xlabel="sparsity (scaled by the weights left)", ylabel="test accuracy", title=title)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", frameon=False, fontsize="small")
    return written(figure, path)


def accuracy_by_flops(summary: Sequence[Row], path: PicturePath = None, title: str = "") -> Figure:
    """Draws mean accuracy against the operations of training, a point a method and sparsity."""
    figure, axes = new_figure(7.5, 4.6)
    longest = max((row.epochs for row in summary if row.method == "dense"), default=1)
    for method, color, marker in [("dense", GREY, "o"), *_methods(summary)]:
        of = [row for row in summary if row.method == method]
        if not of:
            continue
        cost = [row.training_flops * row.epochs / longest for row in of]
        axes.plot(
            cost,
            [row.accuracy for row in of],
            marker=marker,
            markersize=6,
            color=color,
            linewidth=0.7,
            linestyle=":",
            label=method,
        )
    axes.set(xlabel="training FLOPs / dense training FLOPs", ylabel="test accuracy", title=title)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", frameon=False, fontsize="small")
    return written(figure, path)


def layer_heat_map(summary: Sequence[Row], path: PicturePath = None, title: str = "") -> Figure:
    """Draws the sparsity of each layer: methods down, layers across."""
    of = [row for row in summary if row.method != "dense"]
    layers = list(of[0].layers)
    values = np.array([[row.layers[layer] for layer in layers] for row in of])
    figure, axes = new_figure(2.5 + 0.6 * max(len(layers), 4), 1.4 + 0.22 * len(of))
    image = axes.imshow(values, vmin=0, vmax=1, cmap="viridis", aspect="auto")
    axes.set_yticks(range(len(of)), [f"{row.method} {row.sparsity:.1%}" for row in of])
    axes.set_xticks(range(len(layers)), layers, rotation=90)
    if len(layers) <= 12:
        for (i, j), value in np.ndenumerate(values):
            color = "white" if value < 0.6 else "black"
            axes.text(j, i, f"{value:.0%}", ha="center", va="center", color=color, fontsize=6)
    axes.tick_params(labelsize=7, length=0)
    axes.set_title(title, fontsize="medium")
    figure.colorbar(image, ax=axes, format=PercentFormatter(1), label="sparsity")
    return written(figure, path)


def mask_changes(
    histories: Mapping[str, Mapping[str, Sequence[float]]],
    path: PicturePath = None,
    title: str = "",
) -> Figure:
    """Draws how much masks change: from epoch to epoch, and from phase to phase of AC/DC."""
    figure, axes = new_figure(7.5, 4.2)
    # Methods that prune after training have no mask while they train.
    trained = {method: h for method, h in histories.items() if "mask_change" in h}
    for method, color, marker in _coloured(trained):
        columns = trained[method]
        change = np.asarray(columns.get("acdc_mask_change", columns["mask_change"]), float)
        epochs = np.arange(1, len(change) + 1)
        axes.plot(
            epochs, change, color=color, marker=marker, markersize=3, linewidth=1, label=method
        )
    axes.set(xlabel="epoch", ylabel="kept weights that changed places", title=title)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", frameon=False, fontsize="small")
    return written(figure, path)


def _nines(sparsity: float) -> float:
    return -math.log10(max(1 - sparsity, 1e-6))


def _methods(summary: Sequence[Row]) -> list[tuple[str, Any, str]]:
    return _coloured({row.method for row in summary} - {"dense"})


def _coloured(names: Collection[str]) -> list[tuple[str, Any, str]]:
    """Names with a colour and a marker each, the same in all pictures of a comparison."""
    known = [name for name in METHODS if name in names]
    colors = colormaps["tab10" if len(known) <= 10 else "tab20"]
    return [
        (name, colors(i % colors.N), _MARKERS[i % len(_MARKERS)]) for i, name in enumerate(known)
    ]
