"""The `stream` command: a study of streaming methods, its table and pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from keras_sparse.experiments.document import Document
from keras_sparse.experiments.pictures import lines
from keras_sparse.experiments.stream_config import METHODS, StreamConfig
from keras_sparse.experiments.stream_run import stream_run
from keras_sparse.experiments.stream_summary import (
    OFFLINE,
    class_histogram,
    confusion,
    memory,
    reliability,
    stream_table,
)
from keras_sparse.experiments.study import Study, Variant
from keras_sparse.messages.arguments import integer, one_of
from keras_sparse.plots.drawing import written
from keras_sparse.storage.files import replace_file


def stream_and_show(
    out: Path,
    *,
    methods: Sequence[str],
    seeds: int = 3,
    common: Mapping[str, Any] | None = None,
    processes: int = 2,
    console: Console | None = None,
) -> dict[str, list[dict[str, Any]]]:
    """Makes runs of streaming methods, and leaves table and pictures in a folder.

    The same call goes on with what was interrupted, in the middle of a stream too.

    Args:
        out: The folder, which is made if need be.
        methods: Names in `METHODS`.
        seeds: Runs of each.
        common: Fields of `StreamConfig` that all runs share.
        processes: Runs at a time.
        console: Where to print. Defaults to standard output.

    Returns:
        What the runs of each method came to, and those of the offline reference.

    Raises:
        ValueError: If a setting cannot be used.
        RunsFailedError: If runs failed.
    """
    console = console or Console()
    integer("seeds", seeds)
    shared = dict(common or {})
    for method in methods:
        one_of("method", method, METHODS)
        StreamConfig(**{**shared, "method": method})
    variants = {name: Variant({**shared, "method": name}) for name in (OFFLINE, *methods)}
    study = Study(variants, range(seeds), stream_run)
    results = study.make(out / "runs", processes, console=console)
    first = StreamConfig(**shared)
    table = stream_table(f"{first.model} on {first.data}, {first.order}", results)
    content = {"command": _command(methods, seeds, shared, out), "results": results}
    replace_file(out / "results.json", (json.dumps(content, indent=1) + "\n").encode())
    curves = {
        name: [sum(column) / len(runs) for column in zip(*_accuracies(runs), strict=True)]
        for name, runs in results.items()
    }
    picture = lines({"accuracy on the classes met": curves}, "testing event")
    document = Document(table.title, [table], picture, "Accuracy at each testing event.")
    document.write(out, "table", content)
    for name in methods:
        run, slug = results[name][0], name.replace("-", "_")
        written(reliability(run["bins"], name), out / f"reliability_{slug}.png")
        written(confusion(run["confusion"], name), out / f"confusion_{slug}.png")
        if run["counts"]:
            written(class_histogram(run["counts"], name), out / f"buffer_{slug}.png")
    written(memory(results), out / "memory.png")
    console.print(
        f"Runs, table and pictures are in {out}: table.md, table.png, results.json, memory.png, "
        "and for each method reliability, confusion and buffer",
        highlight=False,
        soft_wrap=True,
    )
    return results


def _accuracies(runs: Sequence[Mapping[str, Any]]) -> list[list[float]]:
    return [run["accuracies"] for run in runs]


def _command(methods: Sequence[str], seeds: int, common: Mapping[str, Any], out: Path) -> str:
    words = ["keras-sparse stream --method", ",".join(methods), "--seeds", str(seeds)]
    for name, value in common.items():
        words += ["--" + name.replace("_", "-"), str(value)]
    return " ".join([*words, "--out", out.name])
