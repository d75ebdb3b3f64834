"""Learning rates that come to a goal, dense and sparse: how many of a range do, and which.

    python benchmarks/successful_rates.py

The perceptron and digits of `batch_size.py`, SGD, masks of connection sensitivity. Every trial has
the whole budget, which is the same number of examples for all batch sizes, or steps for large ones.
"""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from batch_size import network

import keras_sparse as ks
from keras_sparse.experiments import benchmark as bench
from keras_sparse.experiments.pictures import lines

RATES = ks.tuning.LogUniform(0.005, 20)
COMPLETE = "complete"


def run(config: dict, folder: Path) -> dict[str, Any]:
    """All trials at one batch size."""
    digits, seed = ks.data.load("digits"), config["seed"]
    study = ks.tuning.BatchSizeStudy(
        network,
        (*digits.train, *digits.test),
        optimizer="sgd",
        sparsities=config["sparsities"],
        batch_sizes=[config["batch_size"]],
        goal_error=config["goal"],
        check_every=config["check_every"],
        max_steps=max(config["examples"] // config["batch_size"], config["fewest_steps"]),
        n_trials=config["trials"],
        search_space={"learning_rate": RATES},
        seed=1000 * seed,
        first_point=1 + seed * config["trials"],
        directory=folder / "study",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ks.SparsityWarning)  # The rates are what is looked at.
        return {"trials": [trial._asdict() for trial in study.run().trials]}


def successful(runs: list[Mapping[str, Any]], sparsity: float) -> list[float]:
    """The learning rates of complete trials, in their order."""
    return sorted(
        trial["values"]["learning_rate"]
        for run in runs
        for trial in run["trials"]
        if trial["sparsity"] == sparsity and trial["status"] == COMPLETE
    )


def describe(content: Mapping[str, Any]) -> bench.Document:
    found, config = content["results"], content["config"]
    sparsities, rows = config["sparsities"], []
    counts: dict[str, list[float]] = {f"{s:.0%}": [] for s in sparsities}
    for name, runs in found.items():
        cells = []
        for sparsity in sparsities:
            rates = successful(runs, sparsity)
            cells.append(f"{len(rates)}: {rates[0]:.2g} to {rates[-1]:.2g}" if rates else "0")
            counts[f"{sparsity:.0%}"].append(len(rates))
        rows.append((name, *cells))
    tried = config["trials"] * len(next(iter(found.values())))
    totals = [sum(each) for each in counts.values()]
    fewer = "holds" if totals[-1] < totals[0] else "does not hold"
    claim = f"fewer rates succeed at {sparsities[-1]:.0%} than dense, over all batch sizes"
    blocks: list[Any] = [
        f"A validation error of {config['goal']:.0%} within {config['examples']:,} examples and "
        f"at least {config['fewest_steps']} steps; {tried} learning rates from {RATES.low:g} to "
        f"{RATES.high:g} in each cell: how many succeed, and between which.",
        bench.Table("Rates that succeed", ("batch size", *counts), rows),
        bench.Table(
            "Claims", ("claim", "measured", ""), [(claim, f"{totals[-1]}, {totals[0]}", fewer)]
        ),
    ]
    picture = lines(
        {"rates that succeed": counts},
        "batch size",
        list(found),
        "Rates that succeed",
        fractions=False,
    )
    return bench.Document("Learning rates that succeed", blocks, picture, "counts by batch size")


def main() -> None:
    script = bench.Script(
        __doc__,
        sparsities=[0.0, 0.5, 0.7, 0.9],
        batch_sizes=[8, 32, 128, 512],
        trials=24,
        seeds=2,
        goal=0.05,
        check_every=8,
        examples=16_000,
        fewest_steps=250,
    )
    args = script.args
    names = ("sparsities", "trials", "goal", "check_every", "examples", "fewest_steps")
    config = {name: getattr(args, name) for name in names}
    variants = {
        str(size): bench.Variant({**config, "batch_size": size}) for size in args.batch_sizes
    }
    script.study(bench.Study(variants, range(args.seeds), run), describe, config)


if __name__ == "__main__":
    main()
