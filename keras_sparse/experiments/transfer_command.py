"""The `compare-transfer` command: a study of upstream methods by how their models transfer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from keras_sparse.experiments.document import Document
from keras_sparse.experiments.study import Study, Variant
from keras_sparse.experiments.transfer_config import TransferRunConfig
from keras_sparse.experiments.transfer_run import begins_with_dense, transfer_run
from keras_sparse.experiments.transfer_summary import (
    accuracy_table,
    comparison,
    increase_table,
    upstream_table,
    variant_name,
)
from keras_sparse.messages.arguments import integer, strings, wrong
from keras_sparse.storage.files import replace_file
from keras_sparse.transfer.comparison import DENSE


def transfer_study(
    methods: Sequence[str],
    sparsities: Sequence[float],
    seeds: int,
    common: Mapping[str, Any],
) -> tuple[Study, dict[str, tuple[str, float]]]:
    """The study of some upstream methods, and the method and sparsity of each of its variants.

    Args:
        methods: Names in `UPSTREAM_METHODS`; the dense model is always among them.
        sparsities: Of the upstream models.
        seeds: Runs of each.
        common: Fields of `TransferRunConfig` that all runs share.

    Raises:
        ValueError: If a setting cannot be used.
    """
    integer("seeds", seeds)
    strings("methods", methods)
    pruning = [method for method in dict.fromkeys(methods) if method != DENSE]
    if pruning and not sparsities:
        raise wrong("sparsities", sparsities, "one sparsity at least")
    pairs = [(DENSE, 0.0), *((method, s) for method in pruning for s in sparsities)]
    models, variants = {}, {}
    for method, sparsity in pairs:
        config = {**common, "method": method, "sparsity": sparsity}
        TransferRunConfig(**config)
        name = variant_name(method, sparsity)
        models[name] = (method, sparsity)
        variants[name] = Variant(config, after=DENSE if begins_with_dense(method) else None)
    return Study(variants, range(seeds), transfer_run), models


def compare_transfer_and_show(
    out: Path,
    *,
    methods: Sequence[str],
    sparsities: Sequence[float] = (0.9,),
    seeds: int = 3,
    common: Mapping[str, Any] | None = None,
    processes: int = 2,
    console: Console | None = None,
) -> dict[str, list[dict[str, Any]]]:
    """Trains upstream models, transfers each, and leaves tables and pictures in a folder.

    The same call goes on with what was interrupted.

    Args:
        out: The folder, which is made if need be.
        methods: Names in `UPSTREAM_METHODS`.
        sparsities: Of the upstream models.
        seeds: Runs of each.
        common: Fields of `TransferRunConfig` that all runs share.
        processes: Runs at a time.
        console: Where to print. Defaults to standard output.

    Returns:
        What the runs of each upstream model came to.

    Raises:
        ValueError: If a setting cannot be used.
        RunsFailedError: If runs failed.
    """
    console = console or Console()
    study, models = transfer_study(methods, sparsities, seeds, dict(common or {}))
    results = study.make(out / "runs", processes, console=console)
    content = {
        "command": _command(methods, sparsities, seeds, dict(common or {}), out),
        "results": results,
    }
    replace_file(out / "results.json", (json.dumps(content, indent=1) + "\n").encode())
    compared, modes = comparison(results, models), _modes(results)
    blocks: list[Any] = [upstream_table(results)]
    for mode in modes:
        blocks += [f"Test accuracy in percent, {mode} transfer:", accuracy_table(results, mode)]
        if len(models) > 1:
            title = f"Relative error increase over the dense model in percent, {mode} transfer:"
            blocks += [title, increase_table(compared, mode)]
            compared.plot(mode, out / f"increase_{mode}.png")
    Document("Transfer of sparse models", blocks).write(out, "table", content)
    if len(models) > 1 and compared.difficulty():
        for sparsity in sparsities:
            for mode in modes:
                name = f"difficulty_{mode}_{100 * sparsity:g}.png"
                compared.plot_difficulty(mode, sparsity, out / name)
    console.print(
        f"Runs, tables and pictures are in {out}: table.md, results.json, and of each mode "
        "increase and difficulty",
        highlight=False,
        soft_wrap=True,
    )
    return results


def _modes(results: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    first = next(iter(results.values()))[0]["tasks"]
    return list(next(iter(first.values())))


def _command(
    methods: Sequence[str],
    sparsities: Sequence[float],
    seeds: int,
    common: Mapping[str, Any],
    out: Path,
) -> str:
    words = ["keras-sparse compare-transfer --methods", ",".join(methods)]
    words += ["--sparsity", ",".join(f"{s:g}" for s in sparsities), "--seeds", str(seeds)]
    for name, value in common.items():
        told = ",".join(value) if isinstance(value, (tuple, list)) else str(value)
        words += ["--" + name.replace("_", "-"), told]
    return " ".join([*words, "--out", out.name])
