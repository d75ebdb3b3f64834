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
            `"horizontal"`), and `q_max`.
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
    figure, axes = new_figure(6.5, 4.5)
    dearest = max(point["cost"] for point in points)
    widest = max((p["q_max"] for p in points if "q_max" in p), default=None)
    for point in points:
        color = _COLORS.get(str(point.get("profile")), GREY)
        filled = point.get("q_max", widest) == widest
        axes.plot(
            point["cost"],
            point["metric"],
            marker=_MARKERS.get(str(point.get("form")), "s"),
            linestyle="none",
            markeredgecolor=color,
            markerfacecolor=color if filled else "none",
            markersize=8,
        )
        place = (point["cost"], point["metric"])
        inside = 1 if point["cost"] < 0.9 * dearest else -1
        axes.annotate(
            str(point["name"]),
            place,
            textcoords="offset points",
            xytext=(6 * inside, 3),
            ha="left" if inside > 0 else "right",
            fontsize=7,
        )
    shown = [Line2D([], [], color=c, marker="o", ls="none", label=n) for n, c in _COLORS.items()]
    shown += [Line2D([], [], color=GREY, marker=m, ls="none", label=n) for n, m in _MARKERS.items()]
    axes.set(xlabel="bit operations relative to static q_max", ylabel=label)
    axes.grid(alpha=0.3)
    figure.legend(handles=shown, loc="outside lower center", ncols=4, frameon=False)
    if title:
        axes.set_title(title)
    return written(figure, path)
