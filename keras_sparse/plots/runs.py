"""Pictures of sparse training: how a run went, what its phases are, what a model lost where."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, PercentFormatter

from keras_sparse.messages.arguments import file_path, instance, optional, text, wrong
from keras_sparse.plots.drawing import BLUE, GREY, RED, SHADE, PicturePath, new_figure, written
from keras_sparse.sparsity.report import SparsityReport
from keras_sparse.storage.files import check_destination, replace_file

History: TypeAlias = Mapping[str, Sequence[float]] | str | os.PathLike[str] | Any


def read_history(path: str | os.PathLike[str]) -> dict[str, list[float]]:
    """Reads the epochs of a run from a CSV file, ours or that of Keras's `CSVLogger`.

    ```python
    history = read_history("run/history.csv")
    print(max(history["val_accuracy"]))
    ```

    Args:
        path: A file with one column for each logged quantity and one row for each epoch.

    Returns:
        The columns by their names. What is not a number, such as Keras's "NA", is NaN.

    Raises:
        ValueError: If the file has no epoch.
        OSError: If it cannot be read.
    """
    with open(file_path("path", path), newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        raise ValueError(f"{os.fspath(path)!r} holds no epoch. Give the CSV file of a training.")
    return {name: [_number(row[name]) for row in rows] for name in rows[0]}


def write_history(history: Mapping[str, Sequence[float]], path: str | os.PathLike[str]) -> None:
    """Writes the epochs of a run to a CSV file, whole or not at all.

    ```python
    write_history(model.fit(x, y).history, "history.csv")
    ```

    Args:
        history: Columns of equal length by their names.
        path: The file, ending in `.csv`.

    Raises:
        ValueError: If the columns differ in length, or `path` ends otherwise.
        OSError: If the file cannot be written.
    """
    destination = check_destination(file_path("path", path), ".csv")
    instance("history", history, Mapping, "a mapping from names to columns")
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(history)
    writer.writerows(zip(*history.values(), strict=True))
    replace_file(destination, lines.getvalue().encode())


def training_curve(
    history: History,
    path: PicturePath = None,
    *,
    phases: str | Sequence[str] | None = None,
    baseline: History | None = None,
    metric: str = "val_accuracy",
    title: str | None = None,
) -> Figure:
    """Draws accuracy and sparsity by epoch, with the dense phases of methods that alternate shaded.

    ```python
    history = model.fit(x, y, epochs=50, validation_data=val, callbacks=[ks.ACDC(0.9)])
    training_curve(history, "curve.png")
    ```

    Args:
        history: A run: what `fit` returned, its `history` dict, or the path of a CSV file.
        path: The picture to write, ending in `.png`. Defaults to none.
        phases: One letter an epoch, `"D"` (shaded) or `"C"`. Defaults to what a column of the
            history that ends in `_phase` says (0 in a dense epoch), as that of AC/DC.
        baseline: A dense run to compare with, drawn as a broken line.
        metric: The quantity on the left axis, a fraction. Defaults to the validation accuracy.
        title: The title. Defaults to none.

    Returns:
        The matplotlib `Figure`.

    Raises:
        ValueError: If the history lacks `metric` or `phases` has another length.
        OSError: If `path` cannot be written.
    """
    columns = _columns("history", history)
    text("metric", metric)
    optional(text, "title", title)
    values = _column(columns, metric)
    epochs = np.arange(1, len(values) + 1)
    dense = _dense_epochs(columns, phases, len(values))
    figure, axes = new_figure(7.5, 4.2)
    for epoch in epochs[dense]:
        axes.axvspan(epoch - 0.5, epoch + 0.5, color=SHADE, linewidth=0, zorder=0)
    handles = [Patch(color=SHADE, label="dense phase")] if dense.any() else []
    label = metric.replace("val_", "validation ")
    if baseline is not None:
        reference = _column(_columns("baseline", baseline), metric)
        at = np.arange(1, len(reference) + 1)
        handles += axes.plot(at, reference, "--", color=GREY, label=f"{label}, dense run")
    handles += axes.plot(epochs, values, "o-", color=BLUE, markersize=4, label=label)
    axes.set_xlabel("epoch")
    axes.set_ylabel(label, color=BLUE)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlim(0.5, max(len(values), 1) + 0.5)
    axes.grid(axis="y", alpha=0.3)
    if "sparsity" in columns:
        right = axes.twinx()
        sparsity = columns["sparsity"]
        handles += right.step(
            epochs, sparsity, where="mid", color=RED, linewidth=1.5, label="sparsity"
        )
        right.set_ylim(-0.02, 1.02)
        right.set_ylabel("sparsity", color=RED)
        right.yaxis.set_major_formatter(PercentFormatter(1))
        right.spines["top"].set_visible(False)
        axes.set_zorder(right.get_zorder() + 1)  # The accuracy lies on top of the sparsity ...
        axes.patch.set_visible(False)  # ... and does not hide it.
    # Below the picture, where it hides no curve.
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=2 if len(handles) > 3 else 3,
        frameon=False,
    )
    if title:
        axes.set_title(title)
    return written(figure, path)


def plot_acdc_schedule(phases: str | Sequence[str], path: PicturePath = None) -> Figure:
    """Draws the phases of an AC/DC run as a strip, one box an epoch.

    ```python
    plot_acdc_schedule(ks.acdc_schedule(epochs=100), "phases.png")
    ```

    Args:
        phases: One letter an epoch, `"D"` (decompressed, dense) or `"C"` (compressed, sparse).
        path: The picture to write, ending in `.png`. Defaults to none.

    Returns:
        The matplotlib `Figure`.

    Raises:
        ValueError: If `phases` holds other letters or does not end compressed.
        OSError: If `path` cannot be written.
    """
    letters = _letters(phases, None)
    if not letters.endswith("C"):
        raise ValueError(f"phases must end with 'C' (compressed). Received: phases={phases!r}")
    figure, axes = new_figure(7.5, 1.5)
    for epoch, letter in enumerate(letters, start=1):
        color = SHADE if letter == "D" else RED
        axes.bar(epoch, 1, width=1, color=color, edgecolor="white", linewidth=0.5)
    axes.set(xlim=(0.5, len(letters) + 0.5), ylim=(0, 1), yticks=[], xlabel="epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.spines["left"].set_visible(False)
    handles = [
        Patch(color=SHADE, label=f"dense ({letters.count('D')} epochs)"),
        Patch(color=RED, label=f"sparse ({letters.count('C')} epochs)"),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=2, frameon=False)
    return written(figure, path)


def layer_sparsity(report: SparsityReport, path: PicturePath = None) -> Figure:
    """Draws how sparse each prunable weight of a model is.

    ```python
    layer_sparsity(ks.report(model), "layers.png")
    ```

    Args:
        report: A report, made by `ks.report(model)`.
        path: The picture to write, ending in `.png`. Defaults to none.

    Returns:
        The matplotlib `Figure`.

    Raises:
        ValueError: If the report has no prunable weight.
        OSError: If `path` cannot be written.
    """
    instance("report", report, SparsityReport, "what ks.report(model) returns")
    rows = report.prunable
    if not rows:
        raise ValueError(
            f"Model {report.model!r} has no weight that can be pruned: nothing to draw."
        )
    figure, axes = new_figure(7.5, 1.3 + 0.27 * len(rows))
    places = np.arange(len(rows))
    axes.barh(places, [row.sparsity for row in rows], color=RED, height=0.7)
    for place, row in zip(places, rows, strict=True):
        # Inside a long bar, beside a short one: the numbers never leave the axes.
        inside = row.sparsity > 0.6
        axes.text(
            row.sparsity + (-0.01 if inside else 0.01),
            place,
            f"{row.sparsity:.1%}, {row.nonzeros:,} of {row.size:,} left",
            ha="right" if inside else "left",
            va="center",
            fontsize="small",
            color="white" if inside else "black",
        )
    axes.set_yticks(places, [row.path for row in rows])
    axes.invert_yaxis()
    axes.set(xlim=(0, 1), xlabel="sparsity", title=f"{report.model}: {report.sparsity:.2%} zeros")
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    return written(figure, path)


def _columns(name: str, history: History) -> Mapping[str, Sequence[float]]:
    if isinstance(history, (str, os.PathLike)):
        return read_history(history)
    columns = getattr(history, "history", history)
    return instance(name, columns, Mapping, "what fit returned, its history, or a CSV file's path")


def _column(columns: Mapping[str, Sequence[float]], name: str) -> np.ndarray:
    if name not in columns:
        raise ValueError(
            f"The history has no {name!r}; it has {', '.join(columns) or 'nothing'}. Train with "
            "validation_data and metrics=['accuracy'], or give metric=... one that it has."
        )
    return np.asarray(columns[name], float)


def _dense_epochs(
    columns: Mapping[str, Sequence[float]], phases: str | Sequence[str] | None, epochs: int
) -> np.ndarray:
    if phases is None:
        marked = [values for name, values in columns.items() if name.endswith("_phase")]
        return np.asarray(marked[0]) == 0 if marked else np.zeros(epochs, bool)
    return np.array([letter == "D" for letter in _letters(phases, epochs)])


def _letters(phases: str | Sequence[str], epochs: int | None) -> str:
    several = isinstance(phases, Sequence) and all(isinstance(x, str) for x in phases)
    letters = "".join(phases).upper() if several else ""
    if not letters or set(letters) - {"C", "D"} or epochs not in (None, len(letters)):
        many = "each epoch" if epochs is None else f"each of the {epochs} epochs of the history"
        raise wrong("phases", phases, f"one letter, 'D' or 'C', for {many}")
    return letters


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan
