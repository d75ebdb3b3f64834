"""The `train`, `compare` and `list-methods` commands: progress, table and pictures."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from keras_sparse.experiments import progress, run
from keras_sparse.experiments.catalog import METHODS
from keras_sparse.experiments.comparison import Comparison, compare, read_results
from keras_sparse.experiments.config import (
    RunConfig,
    check_settings,
    read_config,
    read_result,
)
from keras_sparse.experiments.folder import has_step
from keras_sparse.experiments.pipelines import PRUNINGS, STARTS
from keras_sparse.experiments.pool import Job
from keras_sparse.experiments.progress import RunsProgress
from keras_sparse.experiments.table import table, write
from keras_sparse.plots.runs import read_history
from keras_sparse.precision.schedules.cyclic import cpt_suite


def train_and_show(
    out: Path,
    given: Mapping[str, Any],
    *,
    resume: bool = False,
    trained: Any = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Makes a run, shows how far it is, and says what came out and where it lies.

    Args:
        out: The folder of the run.
        given: Fields of `RunConfig`; of a run that is resumed those that are named again.
        resume: Whether to go on with what is in the folder.
        trained: A trained model for what prunes after training; see `run.train`.
        console: Where to print. Defaults to standard output.

    Returns:
        The result of the run.
    """
    console = console or Console()
    if resume:
        config = read_config(out)
        if has_step(out):
            check_settings(given, config, out)
        config = dataclasses.replace(config, **given)
    else:
        config = RunConfig(**given)
    if resume and read_result(out) is not None:
        console.print(f"The run in {out} is finished.", highlight=False)
    with progress.Progress(config.method, console) as shown:
        result = run.train(config, out, resume, [shown], trained)
    console.print(
        f"{config.model} on {config.data}, {config.method}: {result['accuracy']:.2%} test "
        f"accuracy with {result['sparsity']:.2%} zeros ({result['nonzeros']:,} of "
        f"{result['weights']:,} weights left), {result['tflite_bytes']:,} bytes as LiteRT "
        f"({result['tflite_gzip_bytes']:,} gzip), {result['seconds']:.0f} s.\n"
        f"In {out}: model.keras, model.tflite, history.csv, curve.png, result.json",
        highlight=False,
        soft_wrap=True,
    )
    return result


def compare_and_show(
    out: Path,
    *,
    methods: tuple[str, ...],
    sparsities: tuple[float, ...],
    seeds: int = 3,
    common: Mapping[str, Any] | None = None,
    equal: str = "epochs",
    processes: int = 2,
    again: tuple[str, ...] = (),
    console: Console | None = None,
) -> list[dict[str, Any]]:
    """Makes a comparison, shows how far it is, and leaves table and pictures in its folder.

    ```python
    compare_and_show(
        Path("compared"),
        methods=("acdc", "gmp"),
        sparsities=(0.9,),
        seeds=1,
        common={"data": "digits", "model": "lenet300", "epochs": 5},
    )
    ```

    Args:
        out: The folder, which is made if need be.
        methods: Names of methods.
        sparsities: Fractions of weights to remove.
        seeds: Runs of each.
        common: Fields of `RunConfig` that all runs share.
        equal: `"epochs"` or `"flops"`: see `Comparison`.
        processes: Runs at a time.
        again: Methods to run again where `results.json` is there and its runs are not: the
            results of all others are taken from it.
        console: Where to print. Defaults to standard output.

    Returns:
        The results of all runs.

    Raises:
        ValueError: If a setting cannot be used, the folder holds another comparison, or there
            are no results to take the others from.
        RunsFailedError: If runs failed.
    """
    console = console or Console()
    comparison = Comparison(methods, sparsities, seeds, common or {}, equal)
    known = read_results(out, again) if again else {}
    with RunsProgress(console) as shown:

        def report(job: Job, result: dict[str, Any] | None, seconds: float) -> None:
            outcome = f"{result['accuracy']:.2%}" if result else "failed"
            shown.report(job.name, outcome, seconds)

        results = compare(comparison, out, processes, report, shown.plan, known)
    first = RunConfig(**comparison.common)
    title = f"{first.model} on {first.data}, equal {equal}"
    summary = write(results, _histories(results, out), out, title, _command(comparison, out))
    console.print(table(summary, title))
    console.print(
        f"Runs, table and pictures are in {out}: table.md, table.csv, results.json, "
        "accuracy_by_sparsity.png, accuracy_by_flops.png, layers.png, mask_change.png",
        highlight=False,
        soft_wrap=True,
    )
    return results


def _histories(
    results: list[dict[str, Any]], out: Path
) -> dict[str, dict[str, list[float]]] | None:
    """For each method the epochs of its first run at the highest sparsity, if all are there."""
    best: dict[str, dict[str, Any]] = {}
    for result in results:
        before = best.get(result["method"])
        if before is None or (result["sparsity"], -result["seed"]) > (
            before["sparsity"],
            -before["seed"],
        ):
            best[result["method"]] = result
    best.pop("dense", None)
    paths = {method: out / "runs" / run["name"] / "history.csv" for method, run in best.items()}
    if not all(path.exists() for path in paths.values()):
        return None
    return {method: read_history(path) for method, path in paths.items()}


def _command(comparison: Comparison, out: Path) -> str:
    """The command that makes this comparison."""
    words = ["keras-sparse", "compare", "--methods", ",".join(comparison.methods)]
    words += ["--sparsity", ",".join(f"{s:g}" for s in comparison.sparsities)]
    words += ["--seeds", str(comparison.seeds)]
    for name, value in comparison.common.items():
        option = "--" + name.replace("_", "-")
        if name == "model_args":
            for key, argument in value.items():
                words += ["--model-arg", f"{key}={argument}"]
        elif isinstance(value, (tuple, list)):
            words += [option, *map(str, value)]
        else:
            words += [option] if value is True else [option, str(value)]
    if comparison.equal != "epochs":
        words += ["--equal", comparison.equal]
    return shlex.join([*words, "--out", out.name])


def method_table() -> Table:
    """A table of the methods that can be chosen by name."""
    made = Table(box=None, pad_edge=False)
    for name in ("name", "what it does", "source"):
        made.add_column(name, no_wrap=name == "name")
    for name, method in METHODS.items():
        made.add_row(name, method.line, method.source)
    return made


def pipeline_table() -> Table:
    """A table of the parts that pipelines such as `LDI-CS-AI` are named of."""
    made = Table(box=None, pad_edge=False)
    for name in ("pipeline", "what it does", "place in START-PRUNING"):
        made.add_column(name, no_wrap=name == "pipeline")
    for place, parts in {"start": STARTS, "pruning": PRUNINGS}.items():
        for name, (_, line) in parts.items():
            made.add_row(name, line, place)
    return made


def precision_table() -> Table:
    """A table of the schedules of low precision that can be chosen by name."""
    made = Table(box=None, pad_edge=False)
    for name in ("precision", "what it does", "savings"):
        made.add_column(name, no_wrap=name == "precision")
    for name, schedule in cpt_suite().items():
        sort = f"{schedule.form} {schedule.profile}"
        side = f", reflected {schedule.reflection}ly" if schedule.reflection else ""
        made.add_row(name, f"{sort}{side}", schedule.savings)
    return made
