"""A picture of how signals pass through a network, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from keras_sparse.messages.arguments import instance, optional, text, wrong
from keras_sparse.plots.drawing import GREY, PicturePath, new_figure, written

_PANELS = ("mean singular value", "sparsity", "connections' sensitivity")


def signal_propagation(
    reports: Mapping[str, Any], path: PicturePath = None, *, title: str | None = None
) -> Figure:
    """Draws singular values, sparsity and sensitivity of each layer, of networks side by side.

    ```python
    before = ks.signal_report(model, x[:20])
    ks.init_ldi(model, seed=0)
    signal_propagation({"before": before, "LDI": ks.signal_report(model, x[:20])}, "signals.png")
    ```

    Args:
        reports: By names what `signal_report` found, of networks of the same layers.
        path: The picture to write, ending in `.png`. Defaults to none.
        title: The title. Defaults to none.

    Returns:
        The matplotlib `Figure`.

    Raises:
        ValueError: If there is no report, or they are of networks of different layers.
        OSError: If `path` cannot be written.

    Source: Lee (2020), Figure 4.1.
    """
    instance("reports", reports, Mapping, "a mapping from names to reports")
    optional(text, "title", title)
    if not reports or not all(hasattr(each, "rows") for each in reports.values()):
        raise wrong("reports", reports, "a mapping from names to what signal_report found")
    kernels = {name: [row.path for row in each.rows] for name, each in reports.items()}
    first = next(iter(kernels.values()))
    if any(len(paths) != len(first) for paths in kernels.values()):
        raise wrong("reports", kernels, "reports of networks of the same layers")
    figure, unused = new_figure(12, 4.2)
    unused.remove()
    panels = figure.subplots(1, 3)
    for axes, label in zip(panels, _PANELS, strict=True):
        axes.set(ylabel=label)
        axes.set_xticks(range(len(first)), [p.removesuffix("/kernel") for p in first], rotation=90)
        axes.tick_params(axis="x", labelsize="small")
        axes.grid(axis="y", alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_yscale("log")
    panels[0].axhline(1, color=GREY, linewidth=0.8)
    for axes in panels[1:]:
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.set_ylim(-0.02, 1.02)
    for name, report in reports.items():
        columns = (
            [None if row.jacobian is None else row.jacobian.mean or None for row in report.rows],
            [row.sparsity for row in report.rows],
            [row.sensitivity for row in report.rows],
        )
        for axes, values in zip(panels, columns, strict=True):
            numbers = [np.nan if value is None else value for value in values]
            axes.plot(range(len(numbers)), numbers, "o-", markersize=4, label=name)
    handles, names = panels[1].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4, frameon=False)
    if title:
        figure.suptitle(title)
    return written(figure, path)
