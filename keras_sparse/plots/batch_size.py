"""Pictures of the steps to a result over the batch size."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter
from numpy.typing import ArrayLike

from keras_sparse.messages.arguments import array, instance, text, wrong
from keras_sparse.plots.drawing import GREY, PicturePath, new_figure, written

_MARKERS = "osD^vP*X"
_STATUS = {"complete": "o", "incomplete": "^", "infeasible": "x"}
Curves = Mapping[Any, tuple[ArrayLike, ArrayLike]]


def _label(name: Any) -> str:
    return f"{name:.0%}" if isinstance(name, float) else str(name)


def _checked(curves: Any) -> dict[Any, tuple[np.ndarray, np.ndarray]]:
    instance("curves", curves, Mapping, "a mapping from names to (batch sizes, steps)")
    if not curves:
        raise wrong("curves", curves, "a mapping with one curve at least")
    found = {}
    for name, curve in curves.items():
        instance("curves", curve, (tuple, list), "(batch sizes, steps)")
        sizes = array("curves", curve[0]).ravel()
        steps = np.asarray(curve[1], float).ravel()
        if len(curve) != 2 or sizes.shape != steps.shape:
            raise wrong("curves", curve, "a batch size for each number of steps")
        found[name] = sizes, steps
    return found


def _draw(axes: Any, sizes: np.ndarray, steps: np.ndarray, i: int, label: str) -> None:
    known = np.isfinite(steps)
    marker = _MARKERS[i % len(_MARKERS)]
    axes.plot(sizes[known], steps[known], marker=marker, markersize=4, color=f"C{i}", label=label)


def _linear(axes: Any, sizes: np.ndarray, steps: np.ndarray) -> None:
    """A dashed line: twice the batch, half of the steps."""
    known = np.flatnonzero(np.isfinite(steps))
    if len(known):
        first = known[0]
        line = steps[first] * sizes[first] / sizes
        axes.plot(sizes, line, color=GREY, linestyle="--", linewidth=0.9)


def _logarithmic(axes: Any, ylabel: str = "") -> None:
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    axes.set(xlabel="batch size", ylabel=ylabel)
    axes.grid(alpha=0.3)


def scaling_curves(curves: Curves, path: PicturePath = None, title: str = "") -> Figure:
    """Draws steps over batch sizes: each curve with linear scaling, all, and all from one point.

    ```python
    scaling_curves({0.0: ([2, 4, 8], [90, 50, 40]), 0.9: ([2, 4, 8], [300, 170, 120])})
    ```

    Args:
        curves: By sparsity, batch sizes and steps; NaN where no trial was complete.
        path: The picture to write, ending in `.png`. Defaults to none.
        title: Of it all.

    Returns:
        The matplotlib `Figure`.

    Raises:
        ValueError: If there is no curve.
        OSError: If `path` cannot be written.

    Source: Lee (2020), Fig. 5.1.
    """
    found = _checked(curves)
    text("title", title)
    columns = len(found) + 2
    figure, first = new_figure(2.6 * columns, 2.9)
    first.remove()
    panels = figure.subplots(1, columns)
    for i, (name, (sizes, steps)) in enumerate(found.items()):
        _draw(panels[i], sizes, steps, i, _label(name))
        _linear(panels[i], sizes, steps)
        panels[i].set_title(_label(name), fontsize="medium")
        _draw(panels[-2], sizes, steps, i, _label(name))
        known = steps[np.isfinite(steps)]
        if len(known):
            _draw(panels[-1], sizes, steps / known[0], i, _label(name))
    sizes = next(iter(found.values()))[0]
    _linear(panels[-1], sizes, sizes[0] / sizes)
    panels[-2].set_title("all", fontsize="medium")
    panels[-1].set_title("relative to the first", fontsize="medium")
    for i, axes in enumerate(panels):
        _logarithmic(axes, "" if i else "steps to the goal")
    panels[-2].legend(frameon=False, fontsize="small")
    figure.suptitle(title)
    return written(figure, path)


def optimizer_comparison(
    curves: Mapping[Any, Curves], path: PicturePath = None, title: str = ""
) -> Figure:
    """Draws the curves of optimizers beside each other, a panel a sparsity.

    ```python
    sgd, momentum = ([2, 4, 8], [90, 50, 40]), ([2, 4, 8], [95, 48, 25])
    optimizer_comparison({0.0: {"sgd": sgd, "momentum": momentum}})
    ```

    Args:
        curves: By sparsity and then by optimizer, batch sizes and steps.
        path: The picture to write, ending in `.png`. Defaults to none.
        title: Of it all.

    Returns:
        The matplotlib `Figure`.

    Raises:
        ValueError: If there is no curve.
        OSError: If `path` cannot be written.

    Source: Lee (2020), Fig. 5.2.
    """
    instance("curves", curves, Mapping, "a mapping from sparsities to curves by optimizer")
    text("title", title)
    if not curves:
        raise wrong("curves", curves, "a mapping with one sparsity at least")
    figure, first = new_figure(1 + 3.2 * len(curves), 3.2)
    first.remove()
    panels = np.atleast_1d(figure.subplots(1, len(curves), sharey=True))
    for axes, (sparsity, by_optimizer) in zip(panels, curves.items(), strict=True):
        for i, (name, (sizes, steps)) in enumerate(_checked(by_optimizer).items()):
            _draw(axes, sizes, steps, i, str(name))
        axes.set_title(_label(sparsity), fontsize="medium")
        _logarithmic(axes)
    panels[0].set_ylabel("steps to the goal")
    panels[-1].legend(frameon=False, fontsize="small")
    figure.suptitle(title)
    return written(figure, path)


def steps_ratio(
    ratios: Mapping[str, Mapping[int, float]], path: PicturePath = None, title: str = ""
) -> Figure:
    """Draws the steps of a sparse model over those of the dense one.

    ```python
    steps_ratio({"sgd, 90 %": {2: 3.2, 8: 2.9}})
    ```

    Args:
        ratios: By name, the ratio at each batch size.
        path: The picture to write, ending in `.png`. Defaults to none.
        title: Of it all.

    Returns:
        The matplotlib `Figure`.

    Raises:
        ValueError: If there is none.
        OSError: If `path` cannot be written.

    Source: Lee (2020), Fig. 5.12.
    """
    instance("ratios", ratios, Mapping, "a mapping from names to ratios by batch size")
    text("title", title)
    if not ratios:
        raise wrong("ratios", ratios, "a mapping with one name at least")
    figure, axes = new_figure(6, 3.4)
    for i, (name, by_size) in enumerate(ratios.items()):
        instance("ratios", by_size, Mapping, "a mapping from batch sizes to ratios")
        marker = _MARKERS[i % len(_MARKERS)]
        axes.plot(list(by_size), list(by_size.values()), marker=marker, color=f"C{i}", label=name)
    axes.axhline(1, color=GREY, linestyle=":", linewidth=0.9)
    axes.set_xscale("log", base=2)
    axes.set(xlabel="batch size", ylabel="steps, relative to dense")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", frameon=False, fontsize="small")
    if title:
        axes.set_title(title, fontsize="medium")
    return written(figure, path)


def trial_map(
    trials: Sequence[Mapping[str, Any]], path: PicturePath = None, title: str = ""
) -> Figure:
    """Draws trials by learning rate and distance of momentum from 1, a panel a batch size.

    A star is the best trial, a circle a complete one, a triangle an incomplete one and a cross one
    that diverged. Without momentum the learning rates stand over the number of the trial.

    ```python
    trial = {"batch_size": 8, "status": "complete", "steps": 40, "values": {"learning_rate": 0.1}}
    trial_map([trial])
    ```

    Args:
        trials: With `batch_size`, `status`, `steps`, and `values` of `learning_rate` and perhaps
            `momentum`.
        path: The picture to write, ending in `.png`. Defaults to none.
        title: Of it all.

    Returns:
        The matplotlib `Figure`.

    Raises:
        ValueError: If there is no trial.
        OSError: If `path` cannot be written.

    Source: Lee (2020), Figs. 5.3 and 5.4.
    """
    text("title", title)
    several = isinstance(trials, Sequence) and not isinstance(trials, str)
    if not several or not trials or not all(isinstance(each, Mapping) for each in trials):
        raise wrong("trials", trials, "a list of mappings with batch_size, status, steps, values")
    sizes = sorted({each["batch_size"] for each in trials})
    figure, first = new_figure(1 + 2.5 * len(sizes), 3.1)
    first.remove()
    panels = np.atleast_1d(figure.subplots(1, len(sizes), sharex=True, sharey=True))
    for axes, size in zip(panels, sizes, strict=True):
        of = [each for each in trials if each["batch_size"] == size]
        best = min(
            (each for each in of if each["status"] == "complete"),
            key=lambda each: each["steps"],
            default=None,
        )
        for i, each in enumerate(of):
            values = each["values"]
            across = 1 - values["momentum"] if "momentum" in values else i
            marker = "*" if each is best else _STATUS[each["status"]]
            color = "C3" if each is best else "C0" if each["status"] == "complete" else GREY
            size_of = 13 if each is best else 5
            rate = values.get("learning_rate", math.nan)
            axes.plot(across, rate, marker, color=color, markersize=size_of, mfc="none")
        axes.set_title(f"batch {size}", fontsize="medium")
        axes.set_yscale("log")
        with_momentum = "momentum" in of[0]["values"]
        if with_momentum:
            axes.set_xscale("log")
            axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("1 - momentum" if with_momentum else "trial")
    panels[0].set_ylabel("learning rate")
    marks = {"best": ("*", "C3"), **{s: (m, GREY) for s, m in _STATUS.items()}}
    handles = [
        Line2D([], [], marker=m, color=c, ls="none", mfc="none", label=s)
        for s, (m, c) in marks.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False)
    figure.suptitle(title)
    return written(figure, path)
