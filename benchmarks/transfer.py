"""How models that were pruned on one task transfer to others, by upstream method.

    python benchmarks/transfer.py --part fashion_mnist

Parts: `fashion_mnist` and `mnist` (28 x 28, upstream one of the two, transferred to the other and
to a few of its classes that look alike), `cifar10` (classes 0 to 4 upstream, 5 to 9 downstream, and
Fashion-MNIST) and `cifar10_reverse`. Every upstream model is a small convolutional network of four
layers; of the methods GMP, WoodFisher and LTH-T begin with the dense one, and of STR the threshold
is searched for that comes to the sparsity. Which methods and sparsities are run can be chosen.
"""

import numpy as np

from keras_sparse.experiments import benchmark as bench
from keras_sparse.experiments.pictures import error_increases
from keras_sparse.experiments.transfer_command import transfer_study
from keras_sparse.experiments.transfer_summary import (
    accuracy_table,
    comparison,
    increase_table,
    upstream_table,
    variant_name,
)
from keras_sparse.transfer import TransferComparison

SMALL = {"model": "small-conv", "images": 3000, "epochs": 6, "test_images": 1000}
SMALL |= {"transfer_images": 500, "transfer_epochs": 15, "ticket_epochs": 1}
PARTS = {
    "fashion_mnist": {**SMALL, "upstream": "fashion_mnist", "tasks": ["mnist", "mnist:4+7+9"]},
    "mnist": {
        **SMALL,
        "upstream": "mnist",
        "tasks": ["fashion_mnist", "fashion_mnist:0+2+3+4+6"],
    },
    "cifar10": {**SMALL, "upstream": "cifar10:0-4", "tasks": ["cifar10:5-9", "fashion_mnist"]},
    "cifar10_reverse": {
        **SMALL,
        "upstream": "cifar10:5-9",
        "tasks": ["cifar10:0-4", "fashion_mnist"],
    },
}
METHODS = ("acdc", "gmp", "rigl", "str", "woodfisher", "lth_t")
SPARSITIES = (0.8, 0.9, 0.95)
DENSE, LTH_T = "dense", "lth_t"
ABOUT = """\
Upstream: {images:,} training images of {upstream}, {epochs} epochs, {ticket_epochs} in each round
of a ticket's search. Transfer: {transfer_images} training images of each task, {transfer_epochs}
epochs of SGD, the head new and dense; L-BFGS with its penalty searched for. {seeds} seeds;
accuracies are the best of all epochs on {test_images:,} test images, as the source takes them.
`linear` uses features and statistics of the upstream task; `full` trains all weights that are not
zero."""


def increases(compared: TransferComparison, mode: str) -> dict[tuple[str, float], float]:
    """Mean relative error increases in percent, by method and sparsity."""
    rows = compared.increases(mode)
    return {(row.method, row.sparsity): 100 * row.over_tasks.mean for row in rows}


def claims(results: dict, models: dict, compared: TransferComparison) -> bench.Table:
    """The directional claims of the source on what was measured."""
    rows: list[tuple[str, ...]] = []

    def claim(says: str, wanted: str, measured: float | str, holds: bool) -> None:
        told = measured if isinstance(measured, str) else f"{measured:+.1f}"
        rows.append((says, wanted, told, "holds" if holds else "does not hold"))

    tasks = compared.tasks("full")
    gains = [100 * _gain(compared, task) for task in tasks]
    claim(
        "dense: full is ahead of linear on every task, points",
        ">= -1",
        min(gains),
        min(gains) >= -1,
    )
    linear, full = increases(compared, "linear"), increases(compared, "full")
    sparsities = sorted({sparsity for _, sparsity in linear})
    for sparsity in (s for s in (0.8, 0.9) if s in sparsities):
        apart = min(
            np.mean([100 * _behind(compared, method, s, task) for task in tasks])
            for method, s in linear
            if s == sparsity
        )
        says = f"linear at {sparsity:.0%}: the best sparse method behind dense, points"
        claim(says, "<= 2", apart, apart <= 2)
    for sparsity in (s for s in (0.9, 0.95) if (LTH_T, s) in linear):
        others = [v for (m, s), v in linear.items() if s == sparsity and m != LTH_T]
        if others:
            above = linear[LTH_T, sparsity] - max(others)
            says = f"linear at {sparsity:.0%}: LTH-T above every other, % of error"
            claim(says, ">= 20", above, above >= 20)
    low, high = sparsities[0], sparsities[-1]
    for method in dict.fromkeys(m for m, _ in full) if high > low else ():
        rise = full[method, high] - full[method, low]
        says = f"full: {method} from {low:.0%} to {high:.0%} zeros, % of error"
        claim(says, ">= -3", rise, rise >= -3)
    for sparsity in (s for s in (0.9, 0.95) if ("acdc", s) in linear):
        gone = {
            method: bench.mean([run["pruned_filters"] for run in results[variant_name(method, s)]])
            for method, s in models.values()
            if s == sparsity
        }
        most = max(gone.values())
        told = f"{gone['acdc']:.1%} of at most {most:.1%}"
        says = f"AC/DC has the most filters gone at {sparsity:.0%}"
        claim(says, "the most", told, gone["acdc"] == most)
    return bench.Table("Claims", ("claim", "wanted", "measured", ""), rows)


def _gain(compared: TransferComparison, task: str) -> float:
    full, linear = (compared.accuracy(DENSE, 0.0, task, mode) for mode in ("full", "linear"))
    return full - linear


def _behind(compared: TransferComparison, method: str, sparsity: float, task: str) -> float:
    dense = compared.accuracy(DENSE, 0.0, task, "linear")
    return dense - compared.accuracy(method, sparsity, task, "linear")


def describe(content: dict) -> bench.Document:
    results, config = content["results"], content["config"]
    models = {name: tuple(pair) for name, pair in config["models"].items()}
    compared = comparison(results, models)
    blocks: list[str | bench.Table] = [ABOUT.format(**config), upstream_table(results)]
    for mode in ("linear", "lbfgs", "full"):
        blocks += [
            f"Test accuracy in percent, {mode}:",
            accuracy_table(results, mode),
            f"Relative error increase over the dense model in percent, {mode}, with the standard "
            "error over tasks:",
            increase_table(compared, mode),
        ]
    hard = ", ".join(f"{task} {points:.1f}" for task, points in compared.difficulty().items())
    blocks += [f"Difficulty, points that full gains over linear with the dense model: {hard}."]
    blocks += ["Claims of the source:", claims(results, models, compared)]
    title = f"Transfer of sparse models from {config['upstream']}"
    picture = error_increases(compared, ("linear", "full"), title)
    return bench.Document(title, blocks, picture, "relative error increase by sparsity")


if __name__ == "__main__":
    script = bench.Script(
        __doc__,
        choices={"part": PARTS, "methods": METHODS},
        part="fashion_mnist",
        methods=METHODS,
        sparsities=SPARSITIES,
        seeds=3,
        images=int,
        epochs=int,
        transfer_images=int,
        transfer_epochs=int,
    )
    args = script.args
    config = script.chosen(PARTS[args.part])
    study, models = transfer_study(args.methods, args.sparsities, args.seeds, config)
    script.study(
        study,
        describe,
        {**config, "seeds": args.seeds, "models": models},
        name=f"transfer_{args.part}",
    )
