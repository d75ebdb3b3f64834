"""What streaming runs came to: Omega over seeds, a table, and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from keras_sparse.experiments.columns import by_variant, cell, percent
from keras_sparse.experiments.document import Table
from keras_sparse.plots.drawing import BLUE, GREY, RED, new_figure
from keras_sparse.streaming import omega_all

OFFLINE = "offline"


def omegas(runs: Sequence[Mapping[str, Any]], offline: Sequence[Mapping[str, Any]]) -> list[float]:
    """Omega of each run, by the offline run from the same seed.

    Args:
        runs: Of a variant, in the order of the seeds.
        offline: Of the reference, in the same order.
    """
    return [
        omega_all(run["accuracies"], reference["accuracies"])
        for run, reference in zip(runs, offline, strict=True)
    ]


def stream_table(
    title: str, results: Mapping[str, Sequence[Any]], reference: Mapping[str, str] | None = None
) -> Table:
    """A row for each variant.

    Args:
        title: Of the table.
        results: Runs by variant; `"offline"` is the reference.
        reference: The reference of variants that have another.
    """
    rows = {}
    for name, runs in results.items():
        against = (reference or {}).get(name, OFFLINE)
        if name == against or "ece" not in runs[0]:
            continue
        values = omegas(runs, results[against])
        rows[name] = [{**run, "omega": v} for run, v in zip(runs, values, strict=True)]
    columns = {
        "Omega, %": lambda runs: percent([run["omega"] for run in runs]),
        "last accuracy, %": lambda runs: percent([run["accuracies"][-1] for run in runs]),
        "forgetting": cell("forgetting", ".3f"),
        "average ECE": cell("ece", ".3f"),
        "kB stored": cell(lambda run: run["bytes"] / 1e3, ".1f"),
        "zeros": cell("zeros", ".1%"),
        "CPU s": cell("seconds", ".1f"),
    }
    return by_variant(title, "method", columns, rows)


def reliability(bins: Sequence[Sequence[float]], title: str = "") -> Figure:
    """Draws accuracy against confidence, with what would be perfect.

    Args:
        bins: Of each bin the number of examples, those taken right, and the sum of confidences.
        title: Of it all.
    """
    counts, hits, confidences = np.array(bins).T
    figure, axes = new_figure(5, 4.6)
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=":")
    used = counts > 0
    axes.bar(
        confidences[used] / counts[used],
        hits[used] / counts[used],
        width=0.8 / len(counts),
        color=BLUE,
    )
    axes.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1), title=title)
    return figure


def confusion(counts: Sequence[Sequence[int]], title: str = "") -> Figure:
    """Draws which classes (down) were taken for which (across)."""
    values = np.array(counts, float)
    shares = values / np.maximum(values.sum(1, keepdims=True), 1)
    figure, axes = new_figure(5.4, 4.6)
    image = axes.imshow(shares, vmin=0, vmax=1, cmap="viridis")
    axes.set(xlabel="taken for", ylabel="class", title=title)
    figure.colorbar(image, ax=axes)
    return figure


def class_histogram(counts: Mapping[Any, int], title: str = "") -> Figure:
    """Draws how many examples of each class a buffer holds."""
    figure, axes = new_figure(5, 3.4)
    labels = sorted(int(label) for label in counts)
    held = {int(label): count for label, count in counts.items()}
    axes.bar(labels, [held[label] for label in labels], color=BLUE)
    axes.set(xlabel="class", ylabel="stored examples", title=title)
    return figure


def memory(results: Mapping[str, Sequence[Any]], title: str = "") -> Figure:
    """Draws the last accuracy against the bytes that are kept of the stream."""
    figure, axes = new_figure(6.5, 4.6)
    for name, runs in results.items():
        if "bytes" not in runs[0]:
            continue
        at = np.mean([run["bytes"] for run in runs]) / 1e3
        accuracy = np.mean([run["accuracies"][-1] for run in runs])
        axes.plot(at, accuracy, "o", color=RED)
        axes.annotate(name, (at, accuracy), textcoords="offset points", xytext=(4, 4), fontsize=7)
    axes.set(xlabel="kB stored", ylabel="last accuracy", title=title)
    axes.set_xscale("symlog")
    axes.grid(alpha=0.3)
    return figure
