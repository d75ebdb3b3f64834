"""A picture of what a network loses by being pruned, against the steps it was trained for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from keras_sparse.messages.arguments import array, boolean, instance, number, optional, text, wrong
from keras_sparse.plots.drawing import GREY, PALETTE, PicturePath, new_figure, written


def pretraining_curve(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    path: PicturePath = None,
    *,
    marks: Mapping[str, float] | None = None,
    label: str = "loss",
    xlabel: str = "steps of pre-training",
    logarithmic: bool = False,
    title: str | None = None,
) -> Figure:
    """Draws curves over the steps of pre-training, with the steps that matter marked.

    ```python
    pretraining_curve({"pruned": (steps, losses)}, "pretraining.png", marks={"enough": 400})
    ```

    Args:
        curves: By their names the steps and what was measured at each.
        path: The picture to write, ending in `.png`. Defaults to none.
        marks: Steps to mark by a vertical line, by their names.
        label: Of the vertical axis.
        xlabel: Of the horizontal axis.
        logarithmic: Whether what was measured is drawn on a logarithmic scale.
        title: The title. Defaults to none.

    Returns:
        The matplotlib `Figure`.

    Raises:
        ValueError: If there is no curve, or one has not as many values as steps.
        OSError: If `path` cannot be written.
    """
    instance("curves", curves, Mapping, "a mapping from names to (steps, values)")
    optional(instance, "marks", marks, Mapping, "a mapping from names to steps")
    text("label", label)
    text("xlabel", xlabel)
    boolean("logarithmic", logarithmic)
    optional(text, "title", title)
    if not curves:
        raise wrong("curves", curves, "a mapping with one curve at least")
    figure, axes = new_figure(7.5, 4.2)
    for i, (name, curve) in enumerate(curves.items()):
        instance(f"curves[{name!r}]", curve, (tuple, list), "(steps, values)")
        steps, values = (array(f"curves[{name!r}]", side).ravel() for side in curve)
        if len(steps) != len(values):
            raise wrong("curves", curve, f"as many values as steps in {name!r}")
        color, again = PALETTE[i % len(PALETTE)], i // len(PALETTE)
        style = ("o-", "s--", "^:")[again % 3]
        axes.plot(steps, values, style, color=color, markersize=4, label=name)
    for i, (name, step) in enumerate((marks or {}).items()):
        style = (":", "--", "-.")[i % 3]
        axes.axvline(number(f"marks[{name!r}]", step), color=GREY, linestyle=style, label=name)
    axes.set(xlabel=xlabel, ylabel=label)
    if logarithmic:
        axes.set_yscale("log")
    axes.grid(axis="y", alpha=0.3)
    axes.set_xlim(left=min(0.0, *(float(np.min(steps)) for steps, _ in curves.values())))
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    if title:
        axes.set_title(title)
    return written(figure, path)
