"""Pictures of a comparison of methods."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from keras_sparse.experiments.pipelines import NAMED
from keras_sparse.experiments.summary import Row
from keras_sparse.plots.drawing import GREY, PicturePath, new_figure, written
from keras_sparse.transfer.comparison import TransferComparison

_MARKERS = "osD^vP*X<>phd8"


def accuracy_by_sparsity(
    summary: Sequence[Row], path: PicturePath = None, title: str = ""
) -> Figure:
    """Draws mean accuracy against sparsity, a line a method, with the spread as bars."""
    methods = _colored({row.method for row in summary} - {"dense"})
    figure, axes = _figure_for(methods)
    dense = [row for row in summary if row.method == "dense"]
    if dense:
        axes.axhline(dense[0].accuracy, color=GREY, linestyle="--", label="dense")
    shown = sorted({round(row.asked, 6) for row in summary if row.asked})
    # Side by side: methods of one sparsity would hide each other's bars.
    room = min(np.diff([_nines(s) for s in shown]), default=0.3) / 2
    offset = min(0.012, room / max(len(methods), 1))
    for i, (method, color, marker) in enumerate(methods):
        of = [row for row in summary if row.method == method]
        axes.errorbar(
            [_nines(row.sparsity) + (i - len(methods) / 2) * offset for row in of],
            [row.accuracy for row in of],
            [0 if math.isnan(row.spread) else row.spread for row in of],
            color=color,
            marker=marker,
            markersize=5,
            linewidth=1,
            capsize=2,
            label=method,
        )
    if shown:
        axes.set_xticks([_nines(s) for s in shown], [f"{s:.4g}" for s in shown])
    axes.set(xlabel="sparsity (scaled by the weights left)", title=title)
    bars = [0 if math.isnan(row.spread) else row.spread for row in summary]
    ends = [
        row.accuracy + side for row, bar in zip(summary, bars, strict=True) for side in (-bar, bar)
    ]
    return _finished(figure, axes, ends, path)


def accuracy_by_flops(summary: Sequence[Row], path: PicturePath = None, title: str = "") -> Figure:
    """Draws mean accuracy against the operations of training, a point a method and sparsity."""
    methods = _colored({row.method for row in summary} - {"dense"})
    figure, axes = _figure_for(methods)
    longest = max((row.epochs for row in summary if row.method == "dense"), default=1)
    for method, color, marker in [("dense", GREY, "o"), *methods]:
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
    axes.set(xlabel="training FLOPs / dense training FLOPs", title=title)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    return _finished(figure, axes, [row.accuracy for row in summary], path)


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
    """Draws how much masks change: from epoch to epoch, and from phase to phase of AC/DC.

    Methods whose masks never swap weights are left out, and those without a mask in training.
    """
    swapped = {}
    for method, columns in histories.items():
        found = columns.get("acdc_mask_change", columns.get("mask_change", ()))
        change = np.asarray(found, float)
        if np.any(change > 0):
            swapped[method] = change
    methods = [method for method in _colored(histories) if method[0] in swapped]
    figure, axes = _figure_for(methods)
    for method, color, marker in methods:
        change = swapped[method]
        epochs = np.arange(1, len(change) + 1)
        axes.plot(
            epochs, change, color=color, marker=marker, markersize=3, linewidth=1, label=method
        )
    axes.set(xlabel="epoch", ylabel="kept weights that changed places", title=title)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    if methods:
        _legend(figure, len(methods))
    return written(figure, path)


def _figure_for(methods: Sequence[Any]) -> tuple[Figure, Any]:
    """A figure with room for a legend of methods."""
    return new_figure(7.5 + 1.1 * _columns(len(methods)), 4.6)


def _columns(methods: int) -> int:
    """Of a legend."""
    return 1 + methods // 24


def _legend(figure: Figure, methods: int) -> None:
    figure.legend(
        loc="outside right upper", frameon=False, fontsize="small", ncols=_columns(methods)
    )


def _finished(figure: Figure, axes: Any, accuracies: Sequence[float], path: PicturePath) -> Figure:
    """Accuracy upwards, scaled by the errors left: half the errors are as far everywhere."""
    low, high = _nines(min(accuracies)), _nines(max(accuracies))
    margin = 0.05 * (high - low) + 0.01
    low, high = 1 - 10 ** (margin - low), 1 - 10 ** (-margin - high)
    axes.set_yscale(
        "function", functions=(lambda a: -np.log10(np.maximum(1 - a, 1e-6)), lambda v: 1 - 10**-v)
    )
    axes.set_ylim(low, high)
    axes.set_yticks(accuracy_ticks(low, high))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.4g}%"))
    axes.minorticks_off()
    axes.set_ylabel("test accuracy (scaled by the errors left)")
    axes.grid(alpha=0.3)
    _legend(figure, len(axes.get_legend_handles_labels()[0]))
    return written(figure, path)


def accuracy_ticks(low: float, high: float, most: int = 9) -> list[float]:
    """Round accuracies between two, some way apart where distance is the logarithm of the error."""
    apart = (_nines(high) - _nines(low)) / most
    ticks: list[float] = []
    # The roundest first, so that others only fill gaps.
    for factor in (1, 0.5, 0.2, 0.3, 0.7, 0.4, 0.15, 0.25, 0.6, 0.8, 0.9, 0.35, 0.45, 0.12):
        for decade in range(6):
            accuracy = 1 - factor * 10.0**-decade
            far = all(abs(_nines(tick) - _nines(accuracy)) >= apart for tick in ticks)
            if far and max(low, 0) <= accuracy <= high:
                ticks.append(accuracy)
    return sorted(ticks)


def _nines(fraction: float) -> float:
    return -math.log10(max(1 - fraction, 1e-6))


def _colored(names: Collection[str]) -> list[tuple[str, Any, str]]:
    """Names with a color and a marker each, the same in all pictures of a comparison."""
    known = [name for name in NAMED if name in names]
    colors = colormaps["tab10" if len(known) <= 10 else "tab20"]
    return [
        (name, colors(i % colors.N), _MARKERS[i % len(_MARKERS)]) for i, name in enumerate(known)
    ]


def lines(
    panels: Mapping[str, Mapping[str, Sequence[float]]],
    xlabel: str,
    ticks: Sequence[str] | None = None,
    title: str = "",
    *,
    fractions: bool = True,
) -> Figure:
    """Draws values, a panel beside the other, each with a line a name.

    Args:
        panels: By their titles: by its name the values of each line.
        xlabel: What the values are of.
        ticks: Each of them. Defaults to epochs, from 1.
        title: Of it all.
        fractions: Whether the values are shown in percent.
    """
    figure, first = new_figure(2 + 4.5 * len(panels), 4.6)
    first.remove()
    for axes, (label, series) in zip(
        np.atleast_1d(figure.subplots(1, len(panels))), panels.items(), strict=True
    ):
        for i, (name, values) in enumerate(series.items()):
            at = np.arange(len(values)) + (ticks is None)
            marker = _MARKERS[i % len(_MARKERS)]
            axes.plot(at, values, marker=marker, markersize=4, color=f"C{i}", label=name)
        if ticks is None:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        else:
            axes.set_xticks(range(len(ticks)), ticks, rotation=45)
        axes.set(xlabel=xlabel, ylabel=label)
        if fractions:
            axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.grid(alpha=0.3)
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right center", frameon=False, fontsize="small")
    figure.suptitle(title)
    return figure


def points(
    values: Mapping[str, Sequence[float]],
    xlabel: str,
    colors: Mapping[str, str],
    title: str = "",
) -> Figure:
    """Draws a row of points for each name, and their mean as a bar.

    Args:
        values: By name.
        xlabel: What they are; fractions.
        colors: Of some names; others are grey.
        title: Of it all.
    """
    names = list(values)[::-1]
    figure, axes = new_figure(8, 1.2 + 0.34 * len(names))
    for at, name in enumerate(names):
        color = colors.get(name, GREY)
        of = values[name]
        axes.plot(of, [at] * len(of), "o", color=color, alpha=0.5, markersize=5)
        axes.plot([np.mean(of)], [at], "|", color=color, markersize=16, mew=2.5)
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel=xlabel)
    axes.set_title(title, fontsize="small")
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.grid(axis="x", alpha=0.3)
    return figure


def error_increases(compared: TransferComparison, modes: Sequence[str], title: str = "") -> Figure:
    """Draws mean relative error increases by sparsity, a panel for each way of transfer.

    Args:
        compared: What was measured.
        modes: Of the transfer.
        title: Of it all.
    """
    panels: dict[str, dict[str, list[float]]] = {}
    shown = sorted({row.sparsity for row in compared.increases(modes[0])})
    for mode in modes:
        of: dict[str, dict[float, float]] = {}
        for row in compared.increases(mode):
            of.setdefault(row.method, {})[row.sparsity] = row.over_tasks.mean
        panels[f"relative error increase, {mode}"] = {
            method: [values.get(sparsity, math.nan) for sparsity in shown]
            for method, values in of.items()
        }
    return lines(panels, "sparsity", [f"{sparsity:.4g}" for sparsity in shown], title)
