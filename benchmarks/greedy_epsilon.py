"""Greedy forward selection that finds the size of each layer of ResNet-20, by its tolerance.

    python benchmarks/greedy_epsilon.py

Inside of each residual block filters are added until the accuracy is 1 - epsilon times what it was
before that layer (Wolfe 2023, Algorithm 7 and Tables 5 and 6); then the smaller network is tuned.
Besides, for one epsilon, the same from the dense network after each quarter of its training.
"""

import itertools
from pathlib import Path
from typing import Any

import keras
import numpy as np

import keras_sparse as ks
from keras_sparse.experiments import benchmark as bench

SETTINGS = {"images": 5000, "width": 8, "epochs": 8, "tuning": 2, "batch": 128}
SETTINGS |= {"rate": 0.1, "tuning_rate": 0.02, "samples": 1280, "candidates": 16, "drawn": 128}
EPSILONS, QUARTERS, SHOWN = (0.02, 0.05, 0.08), (1, 2, 3, 4), 0.05
DENSE = "dense"
# Residual streams stay: greedy forward selection is not defined for them.
EXCLUDED = "stem"
ABOUT = """\
{images:,} training images of CIFAR-10, all test images. The dense network of width {width} was
trained for {epochs} epochs, the smaller ones for {tuning} more. {candidates} random filters are
compared for each pick on {drawn} images that are drawn for it, out of {samples:,}; on all of these
the accuracy is compared with the tolerance."""


def dense(config: dict, folder: Path) -> dict[str, Any]:
    """Trains the dense network, which is kept after each quarter."""
    data = ks.data.load("cifar10", limit=config["images"], seed=config["seed"])
    keras.utils.set_random_seed(config["seed"])
    model = ks.models.resnet20(width=config["width"], seed=config["seed"])
    compiled(model, data, config, config["rate"], config["epochs"])
    found = {}
    for quarter in QUARTERS:
        ends = [config["epochs"] * each // len(QUARTERS) for each in (quarter - 1, quarter)]
        fit = {"batch_size": config["batch"], "verbose": 0}
        model.fit(*data.train, initial_epoch=ends[0], epochs=ends[1], **fit)
        model.save(folder / f"quarter{quarter}.keras")
        found[f"quarter {quarter}"] = bench.accuracy(model, data.test)
    flops = ks.report(model).dense_flops
    return {
        **found,
        "after": found["quarter 4"],
        "flops": flops,
        "parameters": model.count_params(),
    }


def compiled(
    model: keras.Model, data: ks.data.Dataset, config: dict, peak: float, epochs: int
) -> None:
    """For some epochs, with a learning rate that rises for half of the first and falls to 0."""
    steps = -(-len(data.y_train) // config["batch"])
    bench.compiled(model, bench.warm_cosine(peak, epochs * steps, steps // 2), weight_decay=5e-4)


def run(config: dict, folder: Path) -> dict[str, Any]:
    """Prunes the dense network of a quarter, and tunes what is left."""
    data = ks.data.load("cifar10", limit=config["images"], seed=config["seed"])
    file = folder.with_name(config["after"]) / f"quarter{config['quarter']}.keras"
    model = keras.saving.load_model(file)
    greedy = ks.structured.GreedyForwardSelection(
        config["epsilon"], config["candidates"], config["drawn"], seed=config["seed"]
    )
    sample = tuple(part[: config["samples"]] for part in data.train)
    keras.utils.set_random_seed(config["seed"])
    small = ks.structured.prune_layerwise(model, sample, greedy, exclude=EXCLUDED).model
    compiled(small, data, config, config["tuning_rate"], config["tuning"])
    before = bench.accuracy(small, data.test)
    small.fit(*data.train, batch_size=config["batch"], epochs=config["tuning"], verbose=0)
    return {
        "before": before,
        "after": bench.accuracy(small, data.test),
        "flops": ks.report(small).dense_flops,
        "parameters": small.count_params(),
    }


def name_of(epsilon: float, quarter: int) -> str:
    """The name of a variant."""
    return f"epsilon {epsilon:g}, {100 * quarter // len(QUARTERS)} % of the training"


def describe(content: dict) -> bench.Document:
    runs, config = content["results"], content["config"]
    whole = bench.mean([one["flops"] for one in runs[DENSE]])
    columns = {
        "before tuning": lambda of: bench.percent([one["before"] for one in of if "before" in one]),
        "after": accuracy_after,
        "operations left": lambda of: f"{bench.mean([o['flops'] for o in of]) / whole:.2f}",
        "parameters": bench.cell("parameters", ",.0f"),
    }
    pruned = {name: of for name, of in runs.items() if name != DENSE}
    last = {e: pruned[name_of(e, QUARTERS[-1])] for e in EPSILONS}
    flops = [bench.mean([one["flops"] for one in of]) for of in last.values()]
    behind = [
        100 * (reference["after"] - one["after"])
        for reference, one in zip(runs[DENSE], last[EPSILONS[0]], strict=True)
    ]
    by_quarter = [
        bench.mean([one["after"] for one in pruned[name_of(SHOWN, quarter)]])
        for quarter in QUARTERS
    ]
    falling = all(b < a for a, b in itertools.pairwise(flops))
    early = int(np.argmax(by_quarter)) < len(QUARTERS) - 1
    claims = {
        "A larger epsilon leaves fewer operations": falling,
        f"At epsilon {EPSILONS[0]:g} the tuned network is within 2 points of the dense one "
        f"({bench.mean(behind):.1f} behind)": bench.mean(behind) <= 2,
        f"At epsilon {SHOWN:g} the best network is reached before the end of the training": early,
    }
    lines = [f"{text}: {'holds' if told else 'does not hold'}." for text, told in claims.items()]
    lines.append(f"Means and standard deviations over {len(runs[DENSE])} seeds.")
    dense_line = ", ".join(
        f"{100 * quarter // len(QUARTERS)} % of the training "
        + bench.percent([one[f"quarter {quarter}"] for one in runs[DENSE]])
        for quarter in QUARTERS
    )
    title = "Greedy forward selection of ResNet-20 by its tolerance"
    drawn = {name: [one["after"] for one in of] for name, of in runs.items()}
    picture = bench.points(drawn, "test accuracy", {DENSE: "C1"}, title)
    blocks = [
        ABOUT.format(**config),
        f"Dense, after {dense_line}.",
        bench.by_variant("Test accuracy, %", "", columns, pruned),
        bench.notes(lines),
    ]
    return bench.Document(title, blocks, picture, "test accuracy after tuning")


def accuracy_after(runs: bench.Runs) -> str:
    """In percent, after tuning."""
    return bench.percent([one["after"] for one in runs])


if __name__ == "__main__":
    script = bench.Script(__doc__, seeds=2, images=int, epochs=int, tuning=int, samples=int)
    config = script.chosen(SETTINGS)
    variants = {DENSE: bench.Variant(config, dense)}
    pairs = [*((e, QUARTERS[-1]) for e in EPSILONS), *((SHOWN, q) for q in QUARTERS[:-1])]
    for epsilon, quarter in pairs:
        settings = {**config, "epsilon": epsilon, "quarter": quarter}
        variants[name_of(epsilon, quarter)] = bench.Variant(settings, after=DENSE)
    script.study(bench.Study(variants, range(script.args.seeds), run), describe, config)
