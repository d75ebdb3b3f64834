"""Pictures of transfer: errors against sparsity and difficulty, and what a model remembers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from keras_sparse.messages.arguments import instance, text, wrong
from keras_sparse.plots.drawing import (
    BLUE,
    GREY,
    PALETTE,
    RED,
    SHADE,
    PicturePath,
    new_figure,
    written,
)

_MARKERS = "osD^vP*X<>"


def error_increase_by_sparsity(
    curves: Mapping[str, Sequence[tuple[float, float, float]]],
    path: PicturePath = None,
    *,
    title: str = "",
) -> Figure:
    """Draws the relative error increase against sparsity, a line a method, with standard errors.

    ```python
    error_increase_by_sparsity({"acdc": [(0.8, -0.03, 0.02), (0.9, -0.02, 0.02)]}, "alpha.png")
    ```

    Args:
        curves: By method for each sparsity `(sparsity, mean, standard error)`, fractions; a
            standard error that is not known is NaN.
        path: The picture to write, ending in `.png`. Defaults to none.
        title: The title. Defaults to none.

    Returns:
        The matplotlib `Figure`.

    Raises:
        ValueError: If there is no curve.
        OSError: If `path` cannot be written.

    Source: Peste (2023), Figure 4.2.
    """
    _check("curves", curves, title, "a mapping from methods to (sparsity, mean, standard error)")
    figure, axes = new_figure(7.5, 4.2)
    shown = sorted({sparsity for curve in curves.values() for sparsity, *_ in curve})
    for i, (method, curve) in enumerate(curves.items()):
        at = [shown.index(s) + 0.06 * (i - (len(curves) - 1) / 2) for s, *_ in curve]
        errors = [0 if math.isnan(error) else error for *_, error in curve]
        means = [mean for _, mean, _ in curve]
        axes.errorbar(at, means, errors, label=method, **_style(i), linewidth=1, capsize=2)
    axes.axhline(0, color=GREY, linestyle="--", linewidth=1, label="dense")
    axes.set_xticks(range(len(shown)), [f"{sparsity:.4g}" for sparsity in shown])
    axes.set(xlabel="sparsity", title=title)
    return _finished(figure, axes, path)


def error_increase_by_difficulty(
    points: Mapping[str, Mapping[str, tuple[float, float]]],
    path: PicturePath = None,
    *,
    title: str = "",
) -> Figure:
    """Draws the relative error increase on each task against how difficult the task is.

    Args:
        points: By method and task `(difficulty in points, error increase)`.
        path: The picture to write, ending in `.png`. Defaults to none.
        title: The title. Defaults to none.

    Returns:
        The matplotlib `Figure`.

    Raises:
        ValueError: If there is no point.
        OSError: If `path` cannot be written.

    Source: Peste (2023), Figure 4.3.
    """
    _check("points", points, title, "a mapping from methods to points by task")
    figure, axes = new_figure(7.5, 4.2)
    named: dict[str, float] = {}
    for i, (method, tasks) in enumerate(points.items()):
        named |= {task: hard for task, (hard, _) in tasks.items()}
        at, values = zip(*sorted(tasks.values()), strict=True)
        axes.plot(at, values, label=method, linewidth=0.7, linestyle=":", **_style(i))
    for task, hard in named.items():
        axes.axvline(hard, color=SHADE, linewidth=1, zorder=0)
        axes.annotate(
            task,
            (hard, 1),
            xycoords=("data", "axes fraction"),
            rotation=90,
            fontsize=7,
            ha="right",
            va="top",
        )
    axes.axhline(0, color=GREY, linestyle="--", linewidth=1, label="dense")
    axes.set(xlabel="difficulty: points that full gains over linear, dense", title=title)
    return _finished(figure, axes, path)


def memorization_curve(
    history: Mapping[str, Sequence[float]],
    path: PicturePath = None,
    *,
    sparse: str = "sparsity",
    title: str = "",
) -> Figure:
    """Draws what a model remembers of random labels, epoch by epoch, sparse epochs shaded.

    ```python
    memorization_curve(model.fit(x, y, callbacks=[monitor]).history, "memorization.png")
    ```

    Args:
        history: Logs that `MemorizationMonitor` has added to, by name.
        path: The picture to write, ending in `.png`. Defaults to none.
        sparse: The log by which an epoch is sparse: above half of its maximum. Without that log
            nothing is shaded.
        title: The title. Defaults to none.

    Returns:
        The matplotlib `Figure`.

    Raises:
        ValueError: If a log of the monitor is missing.
        OSError: If `path` cannot be written.

    Source: Peste (2023), 3.6.2.
    """
    instance("history", history, Mapping, "the logs of a fit, by name")
    text("sparse", sparse)
    text("title", title)
    names = {
        "memorization": ("the random labels given", RED),
        "true_label_accuracy": ("their true labels", BLUE),
    }
    missing = [name for name in names if name not in history]
    if missing:
        cure = "Train with ks.MemorizationMonitor."
        raise wrong("history", list(history), f"logs with {missing}", cure)
    figure, axes = new_figure(7.5, 4.2)
    for name, (label, color) in names.items():
        values = history[name]
        at = np.arange(1, len(values) + 1)
        axes.plot(at, values, "o-", markersize=3, color=color, label=label)
    zeros = np.asarray(history.get(sparse, ()), float)
    for epoch in np.flatnonzero(zeros > max(zeros, default=0) / 2):
        axes.axvspan(epoch + 0.5, epoch + 1.5, color=SHADE, zorder=0, linewidth=0)
    axes.set(xlabel="epoch (shaded: sparse)", ylabel="accuracy on them", title=title)
    axes.set_ylim(-0.02, 1.02)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return _legend(figure, axes, path)


def agreement_points(
    rows: Mapping[str, tuple[float, float]], path: PicturePath = None, *, title: str = ""
) -> Figure:
    """Draws sample agreement and cross-entropy of pairs of models, side by side.

    Args:
        rows: By the pair's name `(agreement, cross-entropy in nats)`.
        path: The picture to write, ending in `.png`. Defaults to none.
        title: The title. Defaults to none.

    Returns:
        The matplotlib `Figure`.

    Raises:
        ValueError: If there is no pair.
        OSError: If `path` cannot be written.

    Source: Peste (2023), 3.6.1.
    """
    _check("rows", rows, title, "a mapping from pairs to (agreement, cross-entropy)")
    figure, first = new_figure(8.5, 1.4 + 0.35 * len(rows))
    first.remove()
    names = list(rows)[::-1]
    labels = ("sample agreement", "cross-entropy, nats")
    panels = zip(figure.subplots(1, 2, sharey=True), labels, strict=True)
    for i, (axes, label) in enumerate(panels):
        values = [rows[name][i] for name in names]
        axes.plot(values, range(len(names)), "o", color=(BLUE, RED)[i], markersize=8)
        axes.grid(alpha=0.3)
        axes.set_yticks(range(len(names)), names)
        axes.set(xlabel=label)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    figure.suptitle(title)
    return written(figure, path)


def _check(name: str, drawn: Any, title: str, allowed: str) -> None:
    instance(name, drawn, Mapping, allowed)
    text("title", title)
    if not drawn:
        raise wrong(name, drawn, f"{allowed}, not empty")


def _style(i: int) -> dict[str, Any]:
    marker = _MARKERS[i % len(_MARKERS)]
    return {"color": PALETTE[i % len(PALETTE)], "marker": marker, "markersize": 5}


def _finished(figure: Figure, axes: Any, path: PicturePath) -> Figure:
    axes.set_ylabel("relative error increase")
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    return _legend(figure, axes, path)


def _legend(figure: Figure, axes: Any, path: PicturePath) -> Figure:
    axes.grid(axis="y", alpha=0.3)
    figure.legend(loc="outside right upper", frameon=False, fontsize="small")
    return written(figure, path)
