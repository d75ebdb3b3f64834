"""Pictures of what accuracy methods keep, by sparsity and by what training them costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from keras_sparse.experiments.families import families
from keras_sparse.experiments.summary import Row
from keras_sparse.plots.drawing import GREY, SHADE, PicturePath, new_figure, written

_ACROSS = 3  # plots of a row


def accuracy_by_sparsity(
    summary: Sequence[Row], path: PicturePath = None, title: str = ""
) -> Figure:
    """Draws mean accuracy against sparsity, a line a method, with the spread as bars.

    More methods than one plot can hold apart have a plot each family, the others grey behind.
    """
    dense = [row.accuracy for row in summary if row.method == "dense"]
    shown = sorted({round(row.asked, 6) for row in summary if row.asked})
    # Side by side: methods of one sparsity would hide each other's bars.
    room = min(np.diff([_nines(s) for s in shown]), default=0.3) / 2

    def draw(axes: Any, of: Sequence[Row], aside: float, among: int, **look: Any) -> None:
        at = np.array([_nines(row.sparsity) for row in of]) + aside * min(0.012, room / among)
        accuracies = [row.accuracy for row in of]
        if "label" in look:
            bars = [0 if math.isnan(row.spread) else row.spread for row in of]
            axes.errorbar(at, accuracies, bars, markersize=5, linewidth=1, capsize=2, **look)
        else:
            axes.plot(at, accuracies, linewidth=1, **look)

    figure, plots = _drawn(summary, draw)
    for axes in plots:
        if dense:
            axes.axhline(dense[0], color=GREY, linestyle="--", label="dense")
        if shown:
            axes.set_xticks([_nines(s) for s in shown], [f"{s:.4g}" for s in shown])
    bars = [0 if math.isnan(row.spread) else row.spread for row in summary]
    ends = [
        row.accuracy + side for row, bar in zip(summary, bars, strict=True) for side in (-bar, bar)
    ]
    figure.supxlabel("sparsity (scaled by the weights left)", fontsize="medium")
    return _finished(figure, plots, ends, path, title)


def accuracy_by_flops(summary: Sequence[Row], path: PicturePath = None, title: str = "") -> Figure:
    """Draws mean accuracy against the operations of training, a point a method and sparsity.

    More methods than one plot can hold apart have a plot each family, the others grey behind.
    """
    longest = max((row.epochs for row in summary if row.method == "dense"), default=1)

    def draw(axes: Any, of: Sequence[Row], aside: float, among: int, **look: Any) -> None:
        cost = [row.training_flops * row.epochs / longest for row in of]
        accuracies = [row.accuracy for row in of]
        style = {"linestyle": ":", "linewidth": 0.7} if "label" in look else {"linewidth": 1}
        axes.plot(cost, accuracies, markersize=6, **style, **look)

    figure, plots = _drawn(summary, draw)
    dense = [row for row in summary if row.method == "dense"]
    for axes in plots:
        if dense:
            draw(axes, dense, 0, 1, color=GREY, marker="o", label="dense")
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(lambda *_: "")
    figure.supxlabel("training FLOPs / dense training FLOPs", fontsize="medium")
    return _finished(figure, plots, [row.accuracy for row in summary], path, title)


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


def _drawn(summary: Sequence[Row], draw: Callable[..., None]) -> tuple[Figure, list[Any]]:
    """A figure with a plot for all methods, or for each family of them."""
    rows: dict[str, list[Row]] = {}
    for row in summary:
        rows.setdefault(row.method, []).append(row)
    rows.pop("dense", None)
    grouped = families(rows)
    if len(grouped) == 1:
        figure, axes = new_figure(8.6, 4.6)
        plots = [axes]
    else:
        down = -(-len(grouped) // _ACROSS)
        figure, axes = new_figure(4.2 * _ACROSS, 3.6 * down)
        axes.remove()
        grid = figure.subplots(down, _ACROSS, sharex=True, sharey=True).ravel()
        plots = list(grid[: len(grouped)])
        for left in grid[len(grouped) :]:
            left.remove()
    for axes, (family, methods) in zip(plots, grouped.items(), strict=True):
        axes.set_title(family, fontsize="medium")
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelbottom=True, labelleft=True)
        for other in rows.keys() - {name for name, *_ in methods}:
            draw(axes, rows[other], 0, 1, color=SHADE, zorder=0)
        for i, (name, color, marker) in enumerate(methods):
            aside = i - len(methods) / 2
            draw(axes, rows[name], aside, len(methods), color=color, marker=marker, label=name)
    return figure, plots


def _finished(
    figure: Figure, plots: list[Any], accuracies: Sequence[float], path: PicturePath, title: str
) -> Figure:
    """Accuracy upwards, scaled by the errors left: half the errors are as far everywhere."""
    low, high = _nines(min(accuracies)), _nines(max(accuracies))
    margin = 0.05 * (high - low) + 0.01
    low, high = 1 - 10 ** (margin - low), 1 - 10 ** (-margin - high)
    for axes in plots:
        axes.set_yscale(
            "function",
            functions=(lambda a: -np.log10(np.maximum(1 - a, 1e-6)), lambda v: 1 - 10**-v),
        )
        axes.set_ylim(low, high)
        axes.set_yticks(accuracy_ticks(low, high))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.4g}%"))
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        if len(plots) > 1:
            axes.legend(frameon=False, fontsize="small", loc="best")
    if len(plots) == 1:
        figure.legend(loc="outside right upper", frameon=False, fontsize="small")
    figure.supylabel("test accuracy (scaled by the errors left)", fontsize="medium")
    figure.suptitle(title)
    return written(figure, path)
