"""Pictures of precision schedules, and of what they cost and bring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from keras_sparse.messages.arguments import array, instance, optional, text, wrong
from keras_sparse.plots.drawing import (
    BLUE,
    GREY,
    RED,
    PicturePath,
    check_points,
    new_figure,
    written,
)

_COLORS = {"linear": BLUE, "cosine": RED, "exponential": "#009E73", "rex": "#CC79A7"}
_MARKERS = {"repeated": "o", "vertical": "v", "horizontal": "<", "triangular": "^"}


def precision_curve(
    curves: Mapping[str, tuple[ArrayLike, ArrayLike]], path: PicturePath = None
) -> Figure:
    """Draws the bits of schedules over the steps: the profile thin, what it is rounded to thick.

    Args:
        curves: By their names what a schedule says at each step, and what it is rounded to.
        path: The picture to write, ending in `.png`. Defaults to none.

    Returns:
        The matplotlib `Figure`.

    Raises:
        ValueError: If there is no curve.
        OSError: If `path` cannot be written.
    """
    instance("curves", curves, Mapping, "a mapping from names to (values, bits)")
    if not curves:
        raise wrong("curves", curves, "a mapping with one curve at least")
    figure, axes = new_figure(7.5, 3.2)
    for color, (name, curve) in zip(_endless_colors(len(curves)), curves.items(), strict=True):
        instance(f"curves[{name!r}]", curve, (tuple, list), "(values, bits)")
        values, bits = (array(f"curves[{name!r}]", side).ravel() for side in curve)
        axes.plot(values, color=color, linewidth=0.8, alpha=0.6)
        axes.step(np.arange(len(bits)), bits, where="post", color=color, label=name)
    axes.set(xlabel="step", ylabel="bits")
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.grid(axis="y", alpha=0.3)
    figure.legend(loc="outside lower center", ncols=5, frameon=False)
    return written(figure, path)


def _endless_colors(count: int) -> list[str]:
    own = [BLUE, RED, "#009E73", "#CC79A7", "#E69F00", "#56B4E9"]
    return [own[i % len(own)] for i in range(count)]


def precision_scatter(
    points: Sequence[Mapping[str, Any]],
    path: PicturePath = None,
    *,
    label: str = "accuracy",
    title: str | None = None,
) -> Figure:
    """Draws what trainings cost against what they reached.

    The color is the profile, the marker the form, a filled marker the larger `q_max`.

    ```python
    point = {"cost": 0.4, "metric": 0.9, "name": "RR", "profile": "rex", "form": "repeated"}
    precision_scatter([point])
    ```

    Args:
        points: Each with `cost` (relative to the dearest), `metric` and `name`, and where it is
            cyclic `profile` and `form` (`"repeated"`, `"triangular"`, `"vertical"` or
            `"horizontal"`), and `q_max`. Those with a `spread` have an error bar, and those of
            each `panel` a plot of their own, of that title.
        path: The picture to write, ending in `.png`. Defaults to none.
        label: Of the vertical axis.
        title: The title. Defaults to none.

    Returns:
        The matplotlib `Figure`.

    Raises:
        ValueError: If there is no point.
        OSError: If `path` cannot be written.
    """
    text("label", label)
    optional(text, "title", title)
    check_points(points, "cost, metric and name")
    panels: dict[str, list[Mapping[str, Any]]] = {}
    for point in points:
        panels.setdefault(str(point.get("panel", "")), []).append(point)
    across = min(len(panels), 2)
    down = -(-len(panels) // across)
    figure, first = new_figure(6.5 if across == 1 else 10, 0.5 + 4 * down)
    first.remove()
    grid = np.atleast_1d(figure.subplots(down, across, sharex=True)).ravel()
    widest = max((p["q_max"] for p in points if "q_max" in p), default=None)
    for axes, (name, some) in zip(grid, panels.items(), strict=False):
        _scattered(axes, some, widest)
        axes.set(xlabel="bit operations relative to static q_max", ylabel=label, title=name)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.3)
    for axes in grid[len(panels) :]:
        axes.remove()
    shown = [Line2D([], [], color=c, marker="o", ls="none", label=n) for n, c in _COLORS.items()]
    shown += [Line2D([], [], color=GREY, marker=m, ls="none", label=n) for n, m in _MARKERS.items()]
    figure.legend(handles=shown, loc="outside lower center", ncols=4, frameon=False)
    if title:
        figure.suptitle(title)
    figure.draw_without_rendering()
    for axes, some in zip(grid, panels.values(), strict=False):
        _name_points(axes, some)
    return written(figure, path)


def _scattered(axes: Any, points: Sequence[Mapping[str, Any]], widest: Any) -> None:
    for point in points:
        color = _COLORS.get(str(point.get("profile")), GREY)
        filled = point.get("q_max", widest) == widest
        axes.errorbar(
            point["cost"],
            point["metric"],
            yerr=point.get("spread"),
            marker=_MARKERS.get(str(point.get("form")), "s"),
            linestyle="none",
            color=color,
            markerfacecolor=color if filled else "white",
            markersize=8,
            elinewidth=0.8,
            alpha=0.8,
        )


def _name_points(axes: Any, points: Sequence[Mapping[str, Any]]) -> None:
    """Writes names beside points, higher where another one stands already."""
    size, width = 7, 40
    scale = axes.figure.dpi / 72
    right = axes.get_window_extent().x1
    taken: list[tuple[float, float]] = []
    for point in sorted(points, key=lambda point: point["metric"]):
        x, y = axes.transData.transform((point["cost"], point["metric"])) / scale
        place, inside = y, 1 if x + width < right / scale else -1
        for other_x, other in taken:
            if abs(x - other_x) < width and abs(place - other) < size:
                place = other + size
        taken.append((x, place))
        axes.annotate(
            str(point["name"]),
            (point["cost"], point["metric"]),
            textcoords="offset points",
            xytext=(6 * inside, place - y - 2),
            ha="left" if inside > 0 else "right",
            fontsize=size,
        )
