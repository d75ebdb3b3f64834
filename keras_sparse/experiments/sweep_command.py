"""The `sweep` command: a search of hyperparameters, its Pareto front as table and picture."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from keras_sparse.experiments.config import RunConfig
from keras_sparse.experiments.document import Document, Table
from keras_sparse.experiments.folder import check_place
from keras_sparse.experiments.sweep_config import RunHyperModel, range_ends, tuned_range
from keras_sparse.messages.arguments import integer
from keras_sparse.storage.files import read_json, replace_file
from keras_sparse.storage.lock import locked
from keras_sparse.tuning import OptunaSweep, ReverseLogUniform, SparseTuner, SweepResult
from keras_sparse.tuning.objectives import check_objectives
from keras_sparse.tuning.result import readable, shown

CONFIG, TRIALS = "sweep.json", "trials"


def sweep_and_show(
    out: Path,
    *,
    methods: tuple[str, ...],
    sparsity: str = "0.9",
    tune: tuple[str, ...] = (),
    objectives: tuple[str, ...] = ("accuracy", "bytes"),
    trials: int = 20,
    workers: int = 1,
    search: str = "sobol",
    executions: int = 1,
    keep_models: int = 5,
    storage: str | None = None,
    common: Mapping[str, Any] | None = None,
    console: Console | None = None,
) -> SweepResult:
    """Makes a sweep, and leaves the trials that no other dominates as table and picture.

    The same call goes on with what was interrupted, in the middle of a trial too.

    Args:
        out: The folder, which is made if need be.
        methods: Names of methods.
        sparsity: `"0.9"`, `"0.8,0.9"`, or `"0.8..0.98"` for all between, by the weights left.
        tune: Names of what else is searched, each perhaps with `=LOW..HIGH`.
        objectives: As for `SparseTuner`.
        trials: Trials.
        workers: Processes of this machine.
        search: How: `"sobol"`, `"random"`, `"grid"`, `"bayesian"` or `"hyperband"`.
        executions: Trainings of each trial.
        keep_models: Models that stay on the disk.
        storage: Of Optuna's, shared with processes that were given the same command.
        common: Fields of `RunConfig` that all trials share.
        console: Where to print. Defaults to standard output.

    Returns:
        The trials.

    Raises:
        ValueError: If a setting cannot be used, or the folder holds another sweep.
        FolderInUseError: If another process searches there, without a storage.
    """
    console, out = console or Console(), out.expanduser()
    integer("trials", trials)
    check_objectives(objectives)
    ranges = {name: tuned_range(name, given) for name, given in map(_named, tune)}
    model = RunHyperModel(methods, _searched(sparsity), ranges, common or {})
    check_place(out)
    settings = {
        "methods": list(methods),
        "sparsity": sparsity,
        "tune": list(tune),
        "objectives": list(objectives),
        "search": search,
        "executions": executions,
        **(common or {}),
    }
    settings = json.loads(json.dumps(settings))
    made: dict[str, Any] = {
        "max_trials": trials,
        "executions_per_trial": executions,
        "seed": RunConfig(**model.common).seed,
        "keep_models": keep_models,
    }
    with contextlib.nullcontext() if storage else locked(out):
        out.mkdir(parents=True, exist_ok=True)
        _check_settings(out / CONFIG, settings)
        found: Any
        if storage is None:
            found = SparseTuner(
                model, objectives, oracle=search, **made, directory=out, project_name=TRIALS
            )
        else:
            found = OptunaSweep(
                model, objectives, storage, search=search, **made, directory=out / TRIALS
            )
        dataset, validation = model.dataset()
        first = RunConfig(**model.common)
        found.search(
            *dataset.train,
            workers=workers,
            epochs=first.epochs,
            batch_size=first.batch_size,
            augment=first.augment,
            validation_data=validation,
            validation_batch_size=500,
        )
        result = found.result()
        _write(result, out, first, _command(settings, trials, out))
    console.print(
        f"{len(result.trials)} trials. In {out}: pareto.md, pareto.json"
        f"{', pareto.png' if len(objectives) > 1 else ''}, and the models of the best in {TRIALS}",
        highlight=False,
        soft_wrap=True,
    )
    return result


def _named(tuned: str) -> tuple[str, str | None]:
    name, _, ends = tuned.partition("=")
    return name, ends or None


def _searched(sparsity: str) -> Any:
    if ".." in sparsity:
        return ReverseLogUniform(*range_ends("sparsity", sparsity))
    values = [float(value) for value in sparsity.split(",")]
    return values[0] if len(values) == 1 else values


def _check_settings(path: Path, settings: Mapping[str, Any]) -> None:
    """Writes down what is searched, or checks that it is what was searched before."""
    if not path.exists():
        replace_file(path, (json.dumps(settings, indent=1) + "\n").encode())
        return
    before = read_json(path, "Delete the folder to begin anew.")
    names = [name for name in {**before, **settings} if before.get(name) != settings.get(name)]
    if names:
        differing = [f"{n} ({before.get(n)!r} there, {settings.get(n)!r} now)" for n in names]
        raise ValueError(
            f"{str(path.parent)!r} holds another sweep: {', '.join(differing)}. Give its own "
            "settings, or another folder (--out)."
        )


def _write(result: SweepResult, out: Path, first: RunConfig, command: str) -> None:
    front, names = result.front, [each.name for each in result.objectives]
    values = [readable(trial.values) for trial in front]
    searched = list(dict.fromkeys(name for each in values for name in each))
    rows = [
        (
            trial.name.removeprefix("trial_"),
            *(shown(own.get(name, "")) for name in searched),
            *(shown(trial.scores[name]) for name in names),
            _test_accuracy(trial.executions),
        )
        for trial, own in zip(front, values, strict=True)
    ]
    header = ("trial", *(name.replace("_", " ") for name in searched), *names, "test accuracy")
    title = f"{first.model} on {first.data}: {len(front)} of {len(result.trials)} trials"
    table = Table(title, header, rows)
    note = "These no other trial dominates; accuracy is on images held back for validation."
    picture = result.plot() if len(names) > 1 and front else None
    document = Document(title, [note, table], picture, "Trials, and the front of those.")
    document.write(out, "pareto", {"command": command})
    result.write(out / "pareto.json")


def _test_accuracy(executions: list[dict[str, Any]]) -> str:
    known = [each["logs"]["test_accuracy"] for each in executions if each["logs"]]
    return f"{sum(known) / len(known):.2%}" if known else ""


def _command(settings: Mapping[str, Any], trials: int, out: Path) -> str:
    words = ["keras-sparse sweep"]
    for name, value in settings.items():
        listed = ",".join(value) if isinstance(value, list) else str(value)
        option = {"objectives": "objective"}.get(name, name).replace("_", "-")
        words += [f"--{option} {listed}"] if listed else []
    return " ".join([*words, f"--trials {trials} --out {out.name}"])
