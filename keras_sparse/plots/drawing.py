"""What the package's pictures share."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from keras_sparse.messages.arguments import file_path, wrong
from keras_sparse.storage.files import check_destination, replace_file

PicturePath: TypeAlias = str | os.PathLike[str] | None

# Okabe and Ito's colors, which stay apart for color-blind readers and in gray print.
BLUE, RED, GREY, SHADE = "#0072B2", "#D55E00", "#606060", "#E4E4E4"
PALETTE = (BLUE, RED, "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def new_figure(width: float, height: float) -> tuple[Figure, Any]:
    """A figure of one plot, of a size in inches."""
    # Not pyplot: its global state would keep every figure alive, and open windows in notebooks.
    figure = Figure(figsize=(width, height), layout="constrained", dpi=150)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def written(figure: Figure, path: PicturePath) -> Figure:
    """The figure, written to a `.png` file if there is a path, whole or not at all."""
    if path is not None:
        destination = check_destination(file_path("path", path), ".png")
        picture = io.BytesIO()
        figure.savefig(picture, format="png")
        replace_file(destination, picture.getvalue())
    return figure


def check_points(points: Any, keys: str) -> None:
    """Checks that what is to be drawn is a list of mappings.

    Args:
        points: What was given.
        keys: What each of them has, for the message.

    Raises:
        ValueError: If it is something else or empty.
    """
    several = isinstance(points, Sequence) and not isinstance(points, str)
    if not several or not points or not all(isinstance(p, Mapping) for p in points):
        raise wrong("points", points, f"a list of mappings with {keys}")
