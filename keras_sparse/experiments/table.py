"""What a comparison of methods came to: table and files."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from keras_sparse.experiments import document
from keras_sparse.experiments.accuracy_pictures import accuracy_by_flops, accuracy_by_sparsity
from keras_sparse.experiments.pictures import layer_heat_map, mask_changes
from keras_sparse.experiments.summary import Row, rows
from keras_sparse.storage.files import replace_file

_COLUMNS: Sequence[tuple[str, Callable[[Row], str]]] = (
    ("method", lambda row: row.method),
    ("accuracy", lambda row: f"{row.accuracy:.2%}"),
    ("spread", lambda row: "" if math.isnan(row.spread) else f"{100 * row.spread:.2f}"),
    ("steps to loss", lambda row: _steps(row.steps_to_loss)),
    ("sparsity", lambda row: f"{row.sparsity:.2%}"),
    ("training FLOPs", lambda row: _percent(row.training_flops)),
    ("inference FLOPs", lambda row: _percent(row.inference_flops)),
    ("epochs", lambda row: str(row.epochs)),
    ("seeds", lambda row: str(row.seeds)),
    ("seconds", lambda row: f"{row.seconds:.0f}"),
    (".tflite bytes", lambda row: f"{row.bytes:,.0f}"),
)

_LEFT_OUT = ("seeds", "epochs", "seconds")  # in a terminal, where eighty columns have to do


def _percent(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.1%}"


def _steps(value: float) -> str:
    if math.isnan(value):
        return ""
    return f"{value:,.0f}" if math.isfinite(value) else "not all"


def table(summary: Sequence[Row], title: str = "") -> Table:
    """A `rich` table of a comparison, with a line between sparsities."""
    made = Table(title=title, title_justify="left", padding=(0, 0, 0, 1))
    columns = [column for column in _COLUMNS if column[0] not in _LEFT_OUT]
    for name, _ in columns:
        left = name == "method"
        made.add_column(name, justify="left" if left else "right", no_wrap=left)
    for i, row in enumerate(summary):
        following = summary[i + 1].asked if i + 1 < len(summary) else row.asked
        made.add_row(*(show(row) for _, show in columns), end_section=following != row.asked)
    return made


def markdown(summary: Sequence[Row], title: str, command: str) -> str:
    """The table as Markdown, with what its columns mean."""
    rows = [[show(row) for _, show in _COLUMNS] for row in summary]
    pictures = (
        "![accuracy against sparsity](accuracy_by_sparsity.png)",
        "![accuracy against training FLOPs](accuracy_by_flops.png)",
        "![sparsity of layers](layers.png)",
        "![mask change](mask_change.png)",
    )
    explained = (
        "Test accuracy of the last epoch, mean over seeds; its spread is the sample standard "
        "deviation, in points. Steps to loss are those until the end of the first epoch whose "
        "training loss is below the target (--loss-target, 0.3 by default), where runs noted them. "
        "Sparsity is that of the prunable weights. FLOPs count nonzero weights, relative to the "
        "dense model and to dense training of the same number of epochs. Seconds are those of a "
        "whole run, export included."
    )
    made = document.Table(title, [name for name, _ in _COLUMNS], rows)
    blocks = (made, explained, "\n".join(pictures))
    return document.Document(title, blocks).markdown("table", {"command": command})


def write(
    results: Sequence[Mapping[str, Any]],
    histories: Mapping[str, Mapping[str, Sequence[float]]] | None,
    out: Path,
    title: str,
    command: str,
) -> list[Row]:
    """Writes `results.json`, `table.csv`, `table.md` and the pictures.

    Args:
        results: Results of finished runs.
        histories: For each method the epochs of a run at the highest sparsity; without them
            `mask_change.png` stays as it is.
        out: The folder.
        title: Title of table and pictures.
        command: The command that makes them.

    Returns:
        The rows of the table.
    """
    summary = rows(results)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Row._fields[:-1])
    writer.writerows(row[:-1] for row in summary)
    replace_file(out / "table.csv", text.getvalue().encode())
    replace_file(out / "table.md", markdown(summary, title, command).encode())
    replace_file(out / "results.json", (json.dumps(list(results), indent=1) + "\n").encode())
    accuracy_by_sparsity(summary, out / "accuracy_by_sparsity.png", title)
    accuracy_by_flops(summary, out / "accuracy_by_flops.png", title)
    layer_heat_map(summary, out / "layers.png", title)
    if histories is not None:
        mask_changes(histories, out / "mask_change.png", title)
    return summary
