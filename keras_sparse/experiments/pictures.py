"""Pictures of comparisons: layers, masks, and values by name."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from keras_sparse.experiments.families import MARKERS, colored
from keras_sparse.experiments.summary import Row
from keras_sparse.plots.drawing import GREY, PicturePath, new_figure, written
from keras_sparse.transfer.comparison import TransferComparison


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
    methods = colored(swapped)
    figure, axes = new_figure(8.6, 4.6)
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
        figure.legend(loc="outside right upper", frameon=False, fontsize="small")
    return written(figure, path)


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
            marker = MARKERS[i % len(MARKERS)]
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
