"""The demonstration: dense training against AC/DC, in minutes."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from keras_sparse import data
from keras_sparse.experiments.config import CONFIG, RunConfig, read_config, read_result
from keras_sparse.experiments.folder import BACKUP, OUTPUTS, check_place
from keras_sparse.experiments.progress import Progress
from keras_sparse.experiments.run import train
from keras_sparse.plots.runs import training_curve
from keras_sparse.storage.files import replace_file
from keras_sparse.storage.lock import locked

# What takes two or three minutes on two cores and still ends within a point of dense training.
_SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "mnist": {"epochs": 10, "limit": 10_000},
    "digits": {"epochs": 40, "batch_size": 32},
}


def demo(
    out: str | os.PathLike[str] = "demo", *, fresh: bool = False, console: Console | None = None
) -> dict[str, Any]:
    """Trains LeNet-5 densely and with AC/DC to 95 % sparsity, and compares the two.

    On 10,000 images of MNIST, or on scikit-learn's digits where there is neither data nor
    network. The folder then holds `curve.png`, `result.json` and the two runs, `dense` and
    `acdc`. A finished run of the same settings is used again, an unfinished one is gone on with.

    ```python
    result = demo("demo")
    print(result["dense_accuracy"] - result["sparse_accuracy"])
    ```

    Args:
        out: The folder, which is made if need be.
        fresh: Whether to train anew what was trained there before.
        console: Where to show progress and table. Defaults to standard output.

    Returns:
        What `result.json` holds.

    Raises:
        ValueError: If `out` holds files of no run where the runs' files go.
        FolderInUseError: If another process demonstrates there.
        OSError: If `out` cannot be written.
    """
    out = Path(out).expanduser()
    check_place(out)
    with locked(out):
        return _demo(out, fresh, console or Console())


def _demo(out: Path, fresh: bool, console: Console) -> dict[str, Any]:
    name = _data(console)
    runs = {}
    for label, method in (("dense", "dense"), ("AC/DC", "acdc")):
        config = RunConfig(data=name, method=method, **_SETTINGS[name])
        runs[method] = _run(config, out / method, label, fresh, console)
    dense, sparse = runs["dense"], runs["acdc"]
    result = {
        "data": name,
        "dense_accuracy": dense["accuracy"],
        "sparse_accuracy": sparse["accuracy"],
        "sparsity": sparse["sparsity"],
        "dense_bytes": dense["tflite_bytes"],
        "sparse_bytes": sparse["tflite_bytes"],
        "seconds": dense["seconds"] + sparse["seconds"],
        "runs": runs,
    }
    training_curve(
        out / "acdc" / "history.csv",
        out / "curve.png",
        baseline=out / "dense" / "history.csv",
        title=f"LeNet-5 on {name}: AC/DC to {sparse['sparsity']:.1%} zeros",
    )
    replace_file(out / "result.json", (json.dumps(result, indent=2) + "\n").encode())
    console.print(comparison(dense, sparse, title=f"LeNet-5 on {name}"))
    console.print(
        "FLOPs are those of nonzero weights; seconds are of training, test and export.\n\n"
        f"Picture: {out / 'curve.png'}   numbers: {out / 'result.json'}\n"
        f"Sparse model: {out / 'acdc' / 'model.keras'}, and for devices "
        f"{out / 'acdc' / 'model.tflite'}\n\n"
        "Next, look into the model, or train one for longer:\n"
        f"  keras-sparse report {out / 'acdc' / 'model.keras'}\n"
        f"  keras-sparse train --data {name} --method acdc --sparsity 0.98 --epochs 30 "
        "--out runs/acdc98",
        highlight=False,
        soft_wrap=True,
    )
    return result


def comparison(dense: Mapping[str, Any], sparse: Mapping[str, Any], title: str = "") -> Table:
    """A table of two results of `keras_sparse.experiments.run.train`, side by side.

    Args:
        dense: The result of the dense run.
        sparse: The result of the sparse run.
        title: The title.

    Returns:
        A `rich` table.
    """
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for name in ("dense", sparse["method"].upper().replace("ACDC", "AC/DC"), "change"):
        table.add_column(name, justify="right")
    points = 100 * (sparse["accuracy"] - dense["accuracy"])
    accuracies = (f"{run['accuracy']:.2%}" for run in (dense, sparse))
    table.add_row("test accuracy", *accuracies, f"{points:+.2f} points")
    table.add_row("sparsity", *(f"{run['sparsity']:.2%}" for run in (dense, sparse)), "")
    for label, key in (
        ("nonzero weights", "nonzeros"),
        ("inference FLOPs", "inference_flops"),
        ("training FLOPs", "training_flops"),
        (".tflite bytes", "tflite_bytes"),
        (".tflite bytes, gzip", "tflite_gzip_bytes"),
    ):
        one, other = dense[key], sparse[key]
        if one and other:
            show = _flops if key.endswith("flops") else "{:,}".format
            table.add_row(label, show(one), show(other), f"{other / one:.1%}")
    table.add_row("seconds", *(f"{run['seconds']:.0f}" for run in (dense, sparse)), "")
    return table


def _flops(value: float) -> str:
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.2f} {unit}"
    return f"{value:.0f}"


def _data(console: Console) -> str:
    """The data set at hand: MNIST, or else the embedded digits."""
    if data.available("mnist"):
        return "mnist"
    console.print("MNIST is not on this machine; trying to fetch it ...")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        name = data.load_or_digits("mnist", limit=1).name
    for warning in caught:
        console.print(str(warning.message), style="yellow", soft_wrap=True)
    return name


def _run(config: RunConfig, out: Path, label: str, fresh: bool, console: Console) -> dict[str, Any]:
    if (out / CONFIG).exists():
        if fresh or not _holds(config, out):
            state = f"trained anew ({'as asked' if fresh else 'it was begun with other settings'})"
            _discard(out)
        elif read_result(out) is None:
            state = "gone on with"
        else:
            state = "finished and used again (--fresh trains anew)"
        console.print(f"The {label} run in {out} is {state}.", highlight=False, soft_wrap=True)
    with Progress(label, console) as progress:
        return train(config, out, resume=(out / CONFIG).exists(), callbacks=[progress])


def _holds(config: RunConfig, out: Path) -> bool:
    try:
        return read_config(out) == config
    except ValueError:
        return False  # Damaged, or of another version: in either case not this run.


def _discard(out: Path) -> None:
    """Deletes a run's own files and nothing else; the configuration last, as it marks the run."""
    shutil.rmtree(out / BACKUP, ignore_errors=True)
    for name in (*OUTPUTS, CONFIG):
        (out / name).unlink(missing_ok=True)
