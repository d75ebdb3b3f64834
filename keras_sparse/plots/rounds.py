"""A picture of trainings in rounds: what they came to, by what they took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from keras_sparse.messages.arguments import instance, optional, text, wrong
from keras_sparse.plots.drawing import PicturePath, new_figure, written

_COSTS = ("seconds", "megabytes sent")


def training_by_cost(
    histories: Mapping[str, Any],
    path: PicturePath = None,
    *,
    metric: str = "val_accuracy",
    title: str | None = None,
) -> Figure:
    """Draws a metric against time and against traffic, and the coverage of each round.

    ```python
    training_by_cost({"m=2": gist.fit(loader, epochs=100, validation_data=validation)})
    ```

    Args:
        histories: By names the histories of trainings in rounds, or mappings like them, with the
            metric measured after each round.
        path: The picture to write, ending in `.png`. Defaults to none.
        metric: What is drawn.
        title: The title. Defaults to none.

    Returns:
        The matplotlib `Figure`.

    Raises:
        ValueError: If a history does not have the metric for each round.
        OSError: If `path` cannot be written.
    """
    instance("histories", histories, Mapping, "a mapping from names to histories")
    text("metric", metric)
    optional(text, "title", title)
    if not histories:
        raise wrong("histories", histories, "a mapping with one history at least")
    figure, first = new_figure(12, 4)
    first.remove()
    axes = figure.subplots(1, 3)
    for name, history in histories.items():
        logs = getattr(history, "history", history)
        rounds = np.arange(1, len(logs["comm_bytes"]) + 1)
        if len(logs.get(metric, ())) != len(rounds):
            allowed = f"one with {metric!r} of each round, as fit(validation_data=...) measures it"
            raise wrong(f"histories[{name!r}]", sorted(logs), allowed)
        seconds = np.cumsum(np.add(logs["compute_seconds"], logs["sync_seconds"]))
        megabytes = np.divide(logs["comm_bytes"], 1e6)
        for ax, cost in zip(axes, (seconds, megabytes), strict=False):
            ax.plot(cost, logs[metric], marker="o", markersize=3, label=name)
        covered: Sequence[float] = logs.get("coverage", np.ones(len(rounds)))
        axes[2].plot(rounds, covered, marker="o", markersize=3)
    for ax, label in zip(axes, _COSTS, strict=False):
        ax.set(xlabel=label, ylabel=metric)
    axes[2].set(xlabel="round", ylabel="weights between cut features trained", ylim=(0, 1.05))
    axes[2].xaxis.set_major_locator(MaxNLocator(integer=True))
    for ax in axes:
        ax.grid(alpha=0.3)
    figure.legend(loc="outside right center", frameon=False, fontsize="small")
    if title:
        figure.suptitle(title)
    return written(figure, path)
