"""Methods side by side: the same task, several sparsities and seeds, one process a run."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_sparse.experiments.config import CONFIG, RunConfig, read_result
from keras_sparse.experiments.folder import check_place, has_step
from keras_sparse.experiments.pipelines import NAMED
from keras_sparse.experiments.pool import Job, check, check_number, make
from keras_sparse.experiments.run import train
from keras_sparse.experiments.study import Study, Variant
from keras_sparse.storage.files import read_json, replace_file
from keras_sparse.storage.lock import locked

SETTINGS, RESULTS = "compare.json", "results.json"
EQUAL = ("epochs", "flops")


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What is compared.

    Args:
        methods: Names in `METHODS` and of pipelines. `"dense"` is taken in by itself.
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
        known = NAMED.get(method)
        fixed = known and (not known.takes_sparsity or ":" in known.granularity)
        return [None] if method == "dense" or fixed else self.sparsities


def name_of(config: RunConfig) -> str:
    """The folder of a run."""
    sparsity = "" if config.sparsity is None else f"-{config.sparsity:g}"
    return f"{config.method}{sparsity}-seed{config.seed}-{config.epochs}ep"


def run(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Makes one run of a comparison: trains an image classifier.

    Args:
        config: Fields of `RunConfig`; and in `"after"` the folder of the dense run that a method
            which prunes after training begins with.
        folder: Of the run.

    Returns:
        What `keras_sparse.experiments.run.train` returns.
    """
    after = config.pop("after", None)
    dense = None if after is None else folder.with_name(after)
    dense = dense if dense and read_result(dense) else None
    return train(RunConfig(**config), folder, (folder / CONFIG).exists(), trained=dense)


def study_of(configs: Sequence[RunConfig]) -> Study:
    """The study that runs of comparisons make up, dense ones first."""
    variants: dict[str, Variant] = {}
    first: dict[str, str] = {}
    for config in configs:
        name = f"{config.method} {config.sparsity} {config.epochs}"
        first.setdefault(config.method, name)
        after = first["dense"] if config.prunes_dense_model else None
        variants[name] = Variant(dataclasses.asdict(config), after=after)
    return Study(variants, sorted({config.seed for config in configs}), run, _folder)


def _folder(_: str, config: Mapping[str, Any]) -> str:
    return name_of(RunConfig(**{key: value for key, value in config.items() if key != "after"}))


def compare(
    comparison: Comparison,
    out: str | os.PathLike[str],
    processes: int = 2,
    report: Callable[[Job, dict[str, Any] | None, float], None] = lambda *_: None,
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
        report: Called after each run with its job, its result (`None` if it failed) and the
            seconds that it took now.
        plan: Called with the number of runs still to make, as soon as it is known.
        known: Results by the names of runs that are not to be made, such as those of
            `read_results`.

    Returns:
        The results of all finished runs that belong to the comparison.

    Raises:
        ValueError: If the folder holds a comparison with other settings, or `processes` is no
            number of processes.
        RunsFailedError: If runs failed; those that did not are kept.
        FolderInUseError: If another process compares there.
    """
    check_number("processes", processes)
    out = Path(out).expanduser()
    check_place(out)
    taken, runs = known or {}, out / "runs"

    def made(configs: Sequence[RunConfig]) -> list[Job]:
        jobs = [job for job in study_of(configs).jobs() if job.name not in taken]
        return make(jobs, runs, processes, 1, report, plan)

    with locked(out):
        _check_settings(comparison, out)
        configs = list(comparison.runs())
        failed = made(configs)
        if comparison.equal == "flops" and not failed:
            configs = longer_runs(comparison, [_result(config, out, taken) for config in configs])
            failed = made(configs)
        check(failed, runs)
        return [_result(config, out, taken) for config in configs]


def read_results(out: Path, without: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What a folder's `results.json` tells of runs, by their names, whether they are there or not.

    Args:
        out: The folder of a comparison.
        without: Names of methods to leave out.

    Raises:
        ValueError: If there is no such file, or it is damaged.
    """
    path = out / RESULTS
    if not path.is_file():
        raise ValueError(f"{os.fspath(out)!r} has no {RESULTS} to take other methods' runs from.")
    found = read_json(path, "Compare without --again.")
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
    # Until a run has come to something, there is nothing that other settings would not go with.
    if path.exists() and any(has_step(run) for run in (out / "runs").glob("*")):
        before = read_json(path, "Compare in another folder (--out).")
        differing = sorted(
            key for key in {*before, *now} if before.get(key) != json.loads(_json(now)).get(key)
        )
        if differing:
            raise ValueError(
                f"{os.fspath(out)!r} holds a comparison with other settings: "
                f"{', '.join(differing)}. Give the same ones, or another folder (--out)."
            )
        return
    replace_file(path, _json(now).encode())


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, sort_keys=True) + "\n"


def _result(config: RunConfig, out: Path, known: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    if name_of(config) in known:
        return dict(known[name_of(config)])
    result = read_result(out / "runs" / name_of(config))
    return {**(result or {}), "asked_sparsity": config.sparsity, "name": name_of(config)}
