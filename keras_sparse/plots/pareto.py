"""Pictures of trials by several objectives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from keras_sparse.messages.arguments import boolean, optional, text
from keras_sparse.plots.drawing import GREY, PicturePath, check_points, new_figure, written

_MARKERS = "osD^vP*X<>"


def pareto_plot(
    points: Sequence[Mapping[str, Any]],
    path: PicturePath = None,
    *,
    xlabel: str = "cost",
    ylabel: str = "metric",
    lower_is_better: bool = False,
    title: str | None = None,
) -> Figure:
    """Draws what trials cost against what they reached, and a line through those on the front.

    ```python
    pareto_plot([{"cost": 1e4, "metric": 0.9, "name": "rigl", "front": True}])
    ```

    Args:
        points: Each with `cost`, `metric`, `name` (of its method, a color each) and whether it is
            on the `front`.
        path: The picture to write, ending in `.png`. Defaults to none.
        xlabel: Of the cost.
        ylabel: Of the metric.
        lower_is_better: Whether a small metric is a good one.
        title: The title. Defaults to none.

    Returns:
        The matplotlib `Figure`.

    Raises:
        ValueError: If there is no point.
        OSError: If `path` cannot be written.
    """
    text("xlabel", xlabel)
    text("ylabel", ylabel)
    boolean("lower_is_better", lower_is_better)
    optional(text, "title", title)
    check_points(points, "cost, metric, name and front")
    figure, axes = new_figure(6.5, 4.2)
    front = sorted((p for p in points if p["front"]), key=lambda p: p["cost"])
    axes.step(
        [p["cost"] for p in front],
        [p["metric"] for p in front],
        where="post",
        color=GREY,
        linewidth=1,
        linestyle="--",
        label="Pareto front",
    )
    names = list(dict.fromkeys(str(p["name"]) for p in points))
    for i, name in enumerate(names):
        of = [p for p in points if str(p["name"]) == name]
        for on_front in (False, True):
            shown = [p for p in of if bool(p["front"]) == on_front]
            axes.plot(
                [p["cost"] for p in shown],
                [p["metric"] for p in shown],
                _MARKERS[i % len(_MARKERS)],
                color=f"C{i}",
                markerfacecolor=f"C{i}" if on_front else "none",
                markersize=7,
                label=name if on_front == any(p["front"] for p in of) else None,
            )
    axes.set(xlabel=xlabel, ylabel=ylabel)
    costs = [p["cost"] for p in points]
    if min(costs) > 0 and max(costs) > 5 * min(costs):
        axes.set_xscale("log")
    else:
        axes.locator_params(axis="x", nbins=5)
    if lower_is_better:
        axes.invert_yaxis()
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", frameon=False, fontsize="small")
    if title:
        axes.set_title(title, fontsize="medium")
    return written(figure, path)
