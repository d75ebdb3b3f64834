"""What runs of a transfer study came to: tables, and the comparison that pictures are drawn of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from keras_sparse.experiments.columns import by_variant, cell, percent
from keras_sparse.experiments.document import Table
from keras_sparse.transfer.comparison import DENSE, Increase, Outcome, TransferComparison

Runs = Mapping[str, Sequence[Mapping[str, Any]]]
# From the name of a variant to its method and sparsity.
Models = Mapping[str, tuple[str, float]]


def variant_name(method: str, sparsity: float) -> str:
    """The name of an upstream model in tables."""
    return method if method == DENSE else f"{method} {100 * sparsity:g} %"


def comparison(results: Runs, models: Models) -> TransferComparison:
    """The best test accuracies of all transfers.

    Args:
        results: Runs of each variant.
        models: Method and sparsity of each.
    """
    return TransferComparison(
        [
            Outcome(*models[name], task, mode, [run["tasks"][task][mode]["best"] for run in runs])
            for name, runs in results.items()
            for task, modes in runs[0]["tasks"].items()
            for mode in modes
        ]
    )


def upstream_table(results: Runs) -> Table:
    """The upstream models on their own task.

    Args:
        results: Runs of each variant.
    """
    columns = {
        "accuracy, %": lambda runs: percent([run["accuracy"] for run in runs]),
        "zeros without the head": cell("sparsity", ".1%"),
        "filters gone": cell("pruned_filters", ".1%"),
        "parameters": cell("parameters", ",.0f"),
        "CPU s": cell("upstream_seconds", ".0f"),
    }
    if any(run["pruned_filters"] is None for runs in results.values() for run in runs):
        del columns["filters gone"]
    return by_variant("Upstream models", "model", columns, results)


def accuracy_table(results: Runs, mode: str) -> Table:
    """Best test accuracies on each task.

    Args:
        results: Runs of each variant.
        mode: Of the transfer.
    """
    tasks = next(iter(results.values()))[0]["tasks"]

    def of(task: str) -> Any:
        return lambda runs: percent([run["tasks"][task][mode]["best"] for run in runs])

    columns = {task: of(task) for task in tasks}
    columns["CPU s"] = cell(
        lambda run: sum(t[mode]["seconds"] for t in run["tasks"].values()), ".0f"
    )
    return by_variant(f"Test accuracy, %, {mode} transfer", "model", columns, results)


def increase_table(compared: TransferComparison, mode: str) -> Table:
    """Relative error increases over the dense model, in percent.

    Args:
        compared: All outcomes.
        mode: Of the transfer.
    """
    tasks = compared.tasks(mode)
    rows = [
        (
            variant_name(row.method, row.sparsity),
            *(f"{100 * row.tasks[task]:+.1f}" if task in row.tasks else "" for task in tasks),
            _mean(row),
        )
        for row in compared.increases(mode)
    ]
    title = f"Relative error increase, %, {mode} transfer"
    return Table(title, ("model", *tasks, "mean over tasks"), rows)


def _mean(row: Increase) -> str:
    mean, error = row.over_tasks
    return f"{100 * mean:+.1f}" if error != error else f"{100 * mean:+.1f} ± {100 * error:.1f}"
