"""Tables, claims and pictures of `batch_size.py`."""

import itertools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import keras_sparse as ks
from keras_sparse.experiments import benchmark as bench
from keras_sparse.plots.batch_size import (
    optimizer_comparison,
    scaling_curves,
    steps_ratio,
    trial_map,
)
from keras_sparse.plots.drawing import written
from keras_sparse.tuning.steps.table import StepsTable, row_of
from keras_sparse.tuning.steps.workload import Record

# Learning rates of SGD, and with momentum.
RATES = {"digits": ((0.02, 5), (0.002, 0.5)), "mnist": ((0.005, 2), (0.001, 1))}
# Fixed rules for the learning rate, with their steps of warm-up.
RULES = {"constant": 0, "linear": 0, "sqrt": 0, "linear, warm-up": 20}
BASE = 32  # the batch size whose learning rate the rules scale


def space(task: str, optimizer: str) -> dict[str, Any]:
    plain, with_momentum = RATES[task]
    if optimizer == "sgd":
        return {"learning_rate": ks.tuning.LogUniform(*plain)}
    return {
        "learning_rate": ks.tuning.LogUniform(*with_momentum),
        "momentum": ks.tuning.ReverseLogUniform(0.8, 0.99),
    }


def file_name(task: str) -> str:
    return "batch_size" if task == "digits" else f"batch_size_{task}"


def table_of(
    config: Mapping[str, Any], optimizer: str, trials: list[Mapping[str, Any]]
) -> StepsTable:
    """The table of one repetition."""
    records = [Record(**each) for each in trials]
    cells = itertools.groupby(records, lambda each: (each.sparsity, each.batch_size))
    rows = tuple(row_of(list(of), space(config["task"], optimizer)) for _, of in cells)
    return StepsTable(rows, tuple(records), optimizer, config["check_every"])


def mean_curve(tables: list[StepsTable], sparsity: float) -> tuple[np.ndarray, np.ndarray]:
    """Batch sizes, and the geometric mean of the fewest steps over the repetitions."""
    sizes = tables[0].curve(sparsity)[0]
    steps = np.array([table.curve(sparsity)[1] for table in tables])
    with np.errstate(invalid="ignore"):
        return sizes, np.exp(np.mean(np.log(steps), axis=0))


def slope(sizes: np.ndarray, steps: np.ndarray, first: int, last: int) -> float:
    """Of a curve between two of its points, both logarithmic."""
    return math.log(steps[last] / steps[first]) / math.log(sizes[last] / sizes[first])


def holds(value: bool) -> str:
    return "holds" if value else "does not hold"


def claims(curves: Mapping[str, Mapping[float, Any]], rates: Mapping[str, Any]) -> bench.Table:
    """What the source and the specification state, held against the mean curves."""
    rows = []
    for optimizer, by_sparsity in curves.items():
        for sparsity, (sizes, steps) in by_sparsity.items():
            name = f"{optimizer}, {sparsity:.0%}"
            if not np.isfinite(steps).all():
                rows.append((f"{name}: a complete trial everywhere", "", holds(False)))
                continue
            rise = float(np.max(steps[1:] / steps[:-1]))
            told = f"at most {rise:.2f} times those of the batch size before"
            rows.append((f"{name}: steps do not rise (10 % slack)", told, holds(rise <= 1.1)))
            first, last = slope(sizes, steps, 0, 1), slope(sizes, steps, -2, -1)
            rows.append((f"{name}: first slope at most -0.5", f"{first:.2f}", holds(first <= -0.5)))
            rows.append((f"{name}: last slope at least -0.35", f"{last:.2f}", holds(last >= -0.35)))
            fit = ks.scaling.fit_scaling(sizes, steps)
            enough = fit.r_squared >= 0.9
            rows.append(
                (
                    f"{name}: R2 of the theorem's curve at least 0.9",
                    f"{fit.r_squared:.3f}",
                    holds(enough),
                )
            )
        dense, sparse = by_sparsity[0.0][1], by_sparsity[0.9][1]
        ratios = sparse / dense
        told = ", ".join("none" if math.isnan(r) else f"{r:.1f}" for r in ratios)
        right = bool(np.all((ratios > 1.3) & (ratios < 8)))
        rows.append(
            (f"{optimizer}: 90 % takes 1.3 to 8 times the steps of dense", told, holds(right))
        )
    if "sgd" in rates:
        low, high = rates["sgd"]
        rows.append(
            (
                "sgd, dense: the best learning rate is larger at 128 than at 2",
                f"{low:.3g}, {high:.3g}",
                holds(high > low),
            )
        )
    return bench.Table("Claims", ("claim", "measured", ""), rows)


def describe(content: Mapping[str, Any]) -> bench.Document:
    config, found = content["config"], content["results"]
    tables = {
        name: [table_of(config, name, run["trials"]) for run in runs]
        for name, runs in found.items()
    }
    sparsities = [float(each) for each in config["sparsities"]]
    curves = {
        name: {each: mean_curve(of, each) for each in sparsities} for name, of in tables.items()
    }
    repetitions = len(next(iter(tables.values())))
    minutes = sum(each["seconds"] for runs in found.values() for each in runs) / 60 / repetitions
    blocks: list[Any] = [
        f"Data: {config['task']}. Goal: a validation error of {config['goal']:.0%}, looked at "
        f"every {config['check_every']} steps, within {config['max_steps']} steps; "
        f"{config['trials']} trials a cell, {repetitions} repetitions, of which steps are the "
        f"geometric means. The {len(tables)} optimizers took {minutes:.0f} minutes a repetition in "
        "all, one thread each, in as many processes as there are processors at a time."
    ]
    header = ("batch size", *(f"{name}, {s:.0%}" for name in tables for s in sparsities))
    sizes = next(iter(curves.values()))[0.0][0]
    columns = [curves[name][s][1] for name in tables for s in sparsities]
    rows = [
        (f"{size:.0f}", *("none" if math.isnan(c[i]) else f"{c[i]:.0f}" for c in columns))
        for i, size in enumerate(sizes)
    ]
    blocks.append(bench.Table("Fewest steps to the goal", header, rows))
    blocks.append(fits_table(curves))
    blocks.append(rates_table(tables, sizes))
    rates = {
        name: [
            float(np.exp(np.mean([math.log(t.best(0.0, "learning_rate")[b]) for t in of])))
            for b in (2, 128)
        ]
        for name, of in tables.items()
        if name == "sgd" and all({2, 128} <= set(t.best(0.0, "learning_rate")) for t in of)
    }
    blocks.append(claims(curves, rates))
    rules = [run["rules"] for run in found.get("sgd", []) if run["rules"]]
    if rules:
        blocks += [
            f"SGD on the dense model with the learning rate that was best at {BASE}, scaled by "
            "rules (one training each, steps of those that came to the goal in "
            f"{config['max_steps']}):",
            rules_table(rules, curves["sgd"][0.0]),
        ]
    notes = edges(tables)
    name = file_name(config["task"])
    if notes:
        blocks.append(f"Best trials within 5 % of an end of the range: {notes}.")
    blocks.append(
        f"Beside this: [the optimizers]({name}_optimizers.png), [the steps relative to "
        f"dense]({name}_ratio.png), [the trials of the dense model]({name}_trials.png), of "
        "which those that were stopped at the best one so far count as incomplete, and all trials "
        "as CSV."
    )
    picture = scaling_curves(next(iter(curves.values())), title=next(iter(curves)))
    return bench.Document(
        "Steps to a result over the batch size", blocks, picture, "Steps over batch sizes, SGD"
    )


def fits_table(curves: Mapping[str, Any]) -> bench.Table:
    """The critical batch sizes, fitted and by the efficiency."""
    rows = []
    for name, by_sparsity in curves.items():
        for sparsity, (sizes, steps) in by_sparsity.items():
            known = np.isfinite(steps)
            if known.sum() < 3:
                continue
            pair = sizes[known], steps[known]
            fit = ks.scaling.fit_scaling(*pair, bootstrap=200)
            low, high = fit.intervals["critical_batch"]
            reciprocal = ks.scaling.fit_scaling(*pair, "reciprocal")
            rows.append(
                (
                    f"{name}, {sparsity:.0%}",
                    f"{fit.parameters['C']:.0f}",
                    f"{fit.critical_batch:.1f}",
                    f"{low:.1f} to {high:.1f}",
                    f"{reciprocal.critical_batch:.1f}",
                    f"{ks.scaling.critical_batch(*pair):.0f}",
                )
            )
    header = ("", "C", "2 T", "95 % of draws", "c1 / c2", "efficiency >= 0.8")
    return bench.Table("Critical batch sizes", header, rows)


def rates_table(tables: Mapping[str, list[StepsTable]], sizes: np.ndarray) -> bench.Table:
    """The best learning rates, geometric means over the repetitions."""
    rows = []
    for name, of in tables.items():
        for sparsity in of[0].sparsities:
            found = [table.best(sparsity, "learning_rate") for table in of]
            cells = []
            for size in sizes:
                known = [math.log(each[int(size)]) for each in found if int(size) in each]
                cells.append(f"{math.exp(np.mean(known)):.3g}" if known else "")
            rows.append((f"{name}, {sparsity:.0%}", *cells))
    return bench.Table("Best learning rates", ("", *(f"{size:.0f}" for size in sizes)), rows)


def rules_table(rules: list[Mapping[str, Any]], tuned: tuple[np.ndarray, np.ndarray]) -> Any:
    """Steps of fixed rules beside those of the search."""
    sizes = [str(int(size)) for size in tuned[0]]
    rows = [("searched", *(f"{steps:.0f}" for steps in tuned[1]))]
    for name in RULES:
        cells = []
        for size in sizes:
            trials = [each[name][size] for each in rules]
            done = [str(t["steps"]) if t["status"] == "complete" else t["status"] for t in trials]
            cells.append(" / ".join(done))
        rows.append((name, *cells))
    return bench.Table("Rules", ("learning rate", *sizes), rows)


def edges(tables: Mapping[str, list[StepsTable]]) -> str:
    found = [
        f"{name}, {row.sparsity:.0%}, {row.batch_size} ({', '.join(row.at_edge)})"
        for name, of in tables.items()
        for table in of
        for row in table.rows
        if row.at_edge
    ]
    return "; ".join(dict.fromkeys(found))


def pictures(content: Mapping[str, Any], folder: Path, prefix: str) -> None:
    """The other pictures, and all trials as CSV."""
    config = content["config"]
    tables = {
        name: [table_of(config, name, run["trials"]) for run in runs]
        for name, runs in content["results"].items()
    }
    sparsities = next(iter(tables.values()))[0].sparsities
    means = {n: {s: mean_curve(of, s) for s in sparsities} for n, of in tables.items()}
    written(
        optimizer_comparison({s: {n: means[n][s] for n in means} for s in sparsities}),
        folder / f"{prefix}_optimizers.png",
    )
    ratios = {
        f"{n}, {s:.0%}": {
            int(size): float(ratio)
            for size, ratio in zip(of[s][0], of[s][1] / of[0.0][1], strict=True)
        }
        for n, of in means.items()
        for s in sparsities
        if s
    }
    written(steps_ratio(ratios), folder / f"{prefix}_ratio.png")
    last = list(tables)[-1]
    dense = [t._asdict() for t in tables[last][0].trials if not t.sparsity]
    written(trial_map(dense, title=f"{last}, dense"), folder / f"{prefix}_trials.png")
    for name, of in tables.items():
        for i, table in enumerate(of):
            table.csv(folder / f"{prefix}_{name}_{i}.csv")
