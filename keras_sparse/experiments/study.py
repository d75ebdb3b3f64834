"""Methods side by side: the same task, several sparsities and seeds, one process a run."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed, wait
from pathlib import Path
from typing import Any

from keras_sparse.experiments.catalog import METHODS
from keras_sparse.experiments.config import CONFIG, RunConfig, read_result
from keras_sparse.storage.files import replace_file
from keras_sparse.storage.processes import environment

SETTINGS, RESULTS = "compare.json", "results.json"
EQUAL = ("epochs", "flops")


class RunsFailedError(RuntimeError):
    """Some runs of a comparison failed; the others are kept."""


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What is compared.

    Args:
        methods: Names in `METHODS`. `"dense"` is taken in by itself.
        sparsities: Fractions of weights to remove, each in [0, 1).
        seeds: How many seeds each method has, from 0.
        common: Fields of `RunConfig` that all runs share.
        equal: `"epochs"`, or `"flops"`: runs are made longer until they cost what dense training
            costs in floating-point operations.
        longest: With `equal="flops"`, how many times the epochs a run may take at most.

    Raises:
        ValueError: If a name, a sparsity or a setting cannot be used.
    """

    methods: tuple[str, ...]
    sparsities: tuple[float, ...]
    seeds: int = 3
    common: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    equal: str = "epochs"
    longest: float = 5.0

    def __post_init__(self) -> None:
        if not self.methods or not self.sparsities or self.seeds < 1:
            raise ValueError(
                "A comparison needs methods, sparsities and at least one seed. Received: "
                f"methods={list(self.methods)}, sparsities={list(self.sparsities)}, "
                f"seeds={self.seeds}"
            )
        if self.equal not in EQUAL:
            raise ValueError(f"equal must be one of {EQUAL}. Received: equal={self.equal!r}")
        if self.longest < 1:
            raise ValueError(f"longest must be at least 1. Received: longest={self.longest}")
        list(self.runs())

    def runs(self) -> Iterator[RunConfig]:
        """The runs at equal epochs, dense training first."""
        for method in dict.fromkeys(("dense", *self.methods)):
            for sparsity in self._sparsities(method):
                for seed in range(self.seeds):
                    yield RunConfig(**self.common, method=method, sparsity=sparsity, seed=seed)

    def _sparsities(self, method: str) -> Sequence[float | None]:
        # Unknown names are left to RunConfig, which knows the nearest.
        known = METHODS.get(method)
        fixed = known and (not known.takes_sparsity or ":" in known.granularity)
        return [None] if method == "dense" or fixed else self.sparsities


def name_of(config: RunConfig) -> str:
    """The folder of a run."""
    sparsity = "" if config.sparsity is None else f"-{config.sparsity:g}"
    return f"{config.method}{sparsity}-seed{config.seed}-{config.epochs}ep"


def compare(
    comparison: Comparison,
    out: str | os.PathLike[str],
    processes: int = 2,
    report: Callable[[RunConfig, dict[str, Any] | None, float], None] = lambda *_: None,
    plan: Callable[[int], None] = lambda _: None,
    known: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[dict[str, Any]]:
    """Makes the runs of a comparison that are not made yet.

    Each run is a process of its own and leaves its files in `runs/NAME` in the folder; a finished
    run is never made again, one that was interrupted goes on from its last epoch. Methods that
    prune after dense training begin with the dense run of the same seed. Further methods,
    sparsities and seeds may be added to a folder later.

    Args:
        comparison: What to compare.
        out: The folder, which is made if need be.
        processes: Runs at a time.
        report: Called after each run with its configuration, its result (`None` if it failed) and
            the seconds that it took now.
        plan: Called with the number of runs still to make, as soon as it is known.
        known: Results by the names of runs that are not to be made, such as those of
            `read_results`.

    Returns:
        The results of all finished runs that belong to the comparison.

    Raises:
        ValueError: If the folder holds a comparison with other settings.
        RunsFailedError: If runs failed; those that did not are kept.
    """
    out = Path(out).expanduser()
    _check_settings(comparison, out)
    known = known or {}
    configs = list(comparison.runs())
    failed = _make(configs, known, out, processes, report, plan)
    if comparison.equal == "flops" and not failed:
        configs = longer_runs(comparison, [_result(config, out, known) for config in configs])
        failed = _make(configs, known, out, processes, report, plan)
    if failed:
        names = ", ".join(name_of(config) for config in failed)
        raise RunsFailedError(
            f"{len(failed)} runs failed: {names}. What they said is in run.log in their folders "
            f"in {os.fspath(out / 'runs')!r}; the same command makes only those again."
        )
    return [_result(config, out, known) for config in configs]


def read_results(out: Path, without: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What a folder's `results.json` tells of runs, by their names, whether they are there or not.

    Args:
        out: The folder of a comparison.
        without: Names of methods to leave out.

    Raises:
        ValueError: If there is no such file.
    """
    path = out / RESULTS
    if not path.is_file():
        raise ValueError(f"{os.fspath(out)!r} has no {RESULTS} to take other methods' runs from.")
    found = json.loads(path.read_text(encoding="utf-8"))
    return {result["name"]: result for result in found if result["method"] not in without}


def longer_runs(comparison: Comparison, results: Sequence[Mapping[str, Any]]) -> list[RunConfig]:
    """The runs of as many epochs as cost what dense training costs.

    Args:
        comparison: What is compared.
        results: Results of its runs at equal epochs, in their order.
    """
    spent: dict[tuple[str, float | None], list[float]] = {}
    for result in results:
        ratio = result["training_flops"] / result["dense_training_flops"]
        spent.setdefault((result["method"], result["asked_sparsity"]), []).append(ratio)
    configs = []
    for config in comparison.runs():
        ratios = spent[config.method, config.sparsity]
        stretch = min(comparison.longest, len(ratios) / sum(ratios))
        configs.append(dataclasses.replace(config, epochs=max(1, round(config.epochs * stretch))))
    return configs


def _check_settings(comparison: Comparison, out: Path) -> None:
    """Checks that the folder's other runs share all but method, sparsity, seed and length."""
    path, now = out / SETTINGS, dict(comparison.common)
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        differing = sorted(
            key for key in {*before, *now} if before.get(key) != json.loads(_json(now)).get(key)
        )
        if differing:
            raise ValueError(
                f"{os.fspath(out)!r} holds a comparison with other settings: "
                f"{', '.join(differing)}. Give the same ones, or another folder (--out)."
            )
        return
    out.mkdir(parents=True, exist_ok=True)
    replace_file(path, _json(now).encode())


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, sort_keys=True) + "\n"


def _result(config: RunConfig, out: Path, known: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    if name_of(config) in known:
        return dict(known[name_of(config)])
    result = read_result(out / "runs" / name_of(config))
    if result is None:
        raise RunsFailedError(f"Run {name_of(config)} is not finished.")
    return {**result, "asked_sparsity": config.sparsity, "name": name_of(config)}


def _make(
    configs: Sequence[RunConfig],
    known: Collection[str],
    out: Path,
    processes: int,
    report: Callable[[RunConfig, dict[str, Any] | None, float], None],
    plan: Callable[[int], None],
) -> list[RunConfig]:
    todo = [c for c in configs if name_of(c) not in known]
    todo = [c for c in todo if read_result(out / "runs" / name_of(c)) is None]
    plan(len(todo))
    running: set[subprocess.Popen[bytes]] = set()
    stopped = threading.Event()
    failed = []

    def run(config: RunConfig, dense: Future[float] | None) -> float:
        if dense is not None:
            wait([dense])
        began = time.perf_counter()
        if not stopped.is_set():
            _run(config, out / "runs", running)
        return time.perf_counter() - began

    with ThreadPoolExecutor(processes) as pool:
        futures: dict[Future[float], RunConfig] = {}
        dense: dict[str, Future[float]] = {}
        # Runs that wait for a dense one come last: it is then finished, or soon will be.
        for config in sorted(todo, key=lambda config: config.prunes_dense_model):
            needed = dense.get(name_of(config.dense())) if config.prunes_dense_model else None
            future = pool.submit(run, config, needed)
            futures[future] = config
            if config.method == "dense":
                dense[name_of(config)] = future
        try:
            for future in as_completed(futures):
                config, seconds = futures[future], future.result()
                result = read_result(out / "runs" / name_of(config))
                failed += [] if result else [config]
                report(config, result, seconds)
        except BaseException:
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list(running):
                process.terminate()
            raise
    return failed


def _run(config: RunConfig, runs: Path, running: set[subprocess.Popen[bytes]]) -> None:
    folder, dense = runs / name_of(config), runs / name_of(config.dense())
    folder.mkdir(parents=True, exist_ok=True)
    resume = ["--resume"] if (folder / CONFIG).exists() else []
    words = [sys.executable, "-m", "keras_sparse.cli", "train", "--out", os.fspath(folder)]
    if config.prunes_dense_model and read_result(dense) is not None:
        words += ["--trained", os.fspath(dense)]
    with (folder / "run.log").open("ab") as log:
        process = subprocess.Popen(
            [*words, *(resume or _words(config))],
            stdout=log,
            stderr=subprocess.STDOUT,
            # A run on one thread leaves the other cores to the others.
            env=environment(threads=1),
        )
        running.add(process)
        process.wait()
        running.discard(process)


def _words(config: RunConfig) -> list[str]:
    """The options of `keras-sparse train` that say what a configuration says."""
    words = []
    for name, value in dataclasses.asdict(config).items():
        option = "--" + name.replace("_", "-")
        if name == "model_args":
            for key, argument in value.items():
                words += ["--model-arg", f"{key}={json.dumps(argument)}"]
        elif isinstance(value, tuple):
            words += [option, *value] if value else []
        elif value is True:
            words.append(option)
        elif value is not None and value is not False and (name, value) != ("sparsity", 0.0):
            words += [option, str(value)]
    return words


def mean_and_spread(values: Sequence[float | None]) -> tuple[float, float]:
    """Mean and sample standard deviation; the latter NaN of a single value."""
    known = [math.nan if value is None else value for value in values]
    mean = sum(known) / len(known)
    if len(known) < 2:
        return mean, math.nan
    return mean, math.sqrt(sum((value - mean) ** 2 for value in known) / (len(known) - 1))
