"""What AC/DC memorizes of random labels in its sparse and its dense epochs.

    python benchmarks/memorization.py

A perceptron learns ten classes of clusters in 32 dimensions; some of its 3,000 labels are replaced
by another class. AC/DC's phases are of six epochs. Nothing is augmented. One run trains one model.
"""

import itertools
from pathlib import Path

import keras
import numpy as np
from keras import layers

import keras_sparse as ks
from keras_sparse.experiments import benchmark as bench

EPOCHS, PHASE, BATCH = 60, 6, 64
# The first phase is dense, the last one sparse; those in the middle are looked at.
SCHEDULE = ("D" * PHASE + "C" * PHASE) * (EPOCHS // PHASE // 2)
SPARSITIES = (0.8, 0.9, 0.95)
ABOUT = """\
{samples:,} samples of clusters, {random} of them with the label of another class; a perceptron
32-{width}-{width}-10, {epochs} epochs, batches of {batch}, SGD with momentum 0.9 and weight decay
1e-4, learning rate {rate} along a cosine. AC/DC's phases take {phase} epochs each, dense first.
"Memorized" is the accuracy on the samples with random labels by these, "true" by their true labels.
Phases that are looked at end with epochs {sparse} (sparse) and {dense} (dense). {seeds} seeds."""


def clusters(samples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Ten classes, each of six clusters."""
    generator = np.random.default_rng(seed)
    centers = np.random.default_rng(0).normal(size=(10, 6, 32))
    y = generator.integers(0, 10, samples).astype("int32")
    x = centers[y, generator.integers(0, 6, samples)]
    return (x + generator.normal(0, 0.55 * 3**0.5, x.shape)).astype("float32"), y


def perceptron(width: int, seed: int) -> keras.Model:
    keras.utils.set_random_seed(seed)
    hidden = [layers.Dense(width, activation="relu") for _ in range(2)]
    return keras.Sequential([keras.Input((32,)), *hidden, layers.Dense(10)])


def run(config: dict, folder: Path) -> dict:
    """The logs of one training."""
    x, y = clusters(config["samples"], 1 + config["seed"])
    labels = ks.inject_random_labels(y, config["random"], keep_true=False, seed=config["seed"])
    model = perceptron(config["width"], config["seed"])
    steps = config["epochs"] * -(-len(y) // config["batch"])
    bench.compiled(model, bench.warm_cosine(config["rate"], steps), weight_decay=1e-4)
    callbacks: list = [ks.MemorizationMonitor(x, labels, batch_size=len(y))]
    if config["sparsity"]:
        callbacks.append(ks.ACDC(config["sparsity"], schedule=SCHEDULE[: config["epochs"]]))
    batches = ks.data.pipeline(x, labels.y, config["batch"], seed=config["seed"])
    history = model.fit(
        batches, epochs=config["epochs"], shuffle=False, verbose=0, callbacks=callbacks
    ).history
    accuracy = model.evaluate(*clusters(5000, 1000), batch_size=1000, verbose=0)[1]
    kept = ("memorization", "true_label_accuracy", "sparsity")
    return {"accuracy": accuracy, **{name: history[name] for name in kept if name in history}}


def ends(phase: str) -> list[int]:
    """The last epochs of the middle phases of a kind, counted from 0."""
    last = [e for e in range(PHASE - 1, EPOCHS, PHASE) if SCHEDULE[e] == phase]
    return [e for e in last if EPOCHS // 4 <= e < EPOCHS * 3 // 4]


def at(runs: bench.Runs, log: str, epochs: list[int]) -> list[float]:
    """The mean of a log over some epochs, of each run."""
    return [float(np.mean([run[log][e] for e in epochs])) for run in runs]


def describe(content: dict) -> bench.Document:
    results, config = content["results"], content["config"]
    columns = {"test accuracy, %": lambda runs: bench.percent([run["accuracy"] for run in runs])}
    for phase, name in (("C", "sparse"), ("D", "dense")):
        for log, told in (("memorization", "memorized"), ("true_label_accuracy", "true")):

            def cell(runs: bench.Runs, log: str = log, phase: str = phase) -> str:
                return bench.percent(at(runs, log, ends(phase)))

            columns[f"{told}, {name} phases, %"] = cell
    columns["memorized in the end, %"] = lambda runs: bench.percent(
        [run["memorization"][-1] for run in runs]
    )
    rows = []
    final = bench.mean([run["memorization"][-1] for run in results["dense"]])
    rows.append(
        ("dense: memorized in the end", ">= 95", f"{100 * final:.1f}", _holds(final >= 0.95))
    )
    hardest = results["AC/DC 95 %"]
    true = [bench.mean(at(hardest, "true_label_accuracy", ends(phase))) for phase in "CD"]
    apart = 100 * (true[0] - true[1])
    says = "AC/DC 95 %: true labels, sparse phases ahead of dense ones, points"
    rows.append((says, ">= 20", f"{apart:+.1f}", _holds(apart >= 20)))
    falling = [
        bench.mean(at(results[f"AC/DC {s:.0%}".replace("%", " %")], "memorization", ends("C")))
        for s in config["sparsities"]
    ]
    told = ", ".join(f"{100 * value:.1f}" for value in falling)
    falls = all(one > other for one, other in itertools.pairwise(falling))
    rows.append(("memorized in sparse phases falls with sparsity", "falls", told, _holds(falls)))
    claims = bench.Table("Claims", ("claim", "wanted", "measured", ""), rows)
    panels = {
        told: {
            name: np.mean([run[log] for run in runs], 0).tolist() for name, runs in results.items()
        }
        for log, told in (
            ("memorization", "random labels known"),
            ("true_label_accuracy", "their true labels known"),
        )
    }
    picture = bench.lines(panels, "epoch", title="Samples with random labels")
    blocks = [
        ABOUT.format(**config, phase=PHASE, sparse=_told("C"), dense=_told("D")),
        bench.by_variant("Memorization", "training", columns, results),
        "Claims of the source:",
        claims,
    ]
    return bench.Document("What is memorized of random labels", blocks, picture, "by epoch")


def _told(phase: str) -> str:
    return ", ".join(str(epoch + 1) for epoch in ends(phase))


def _holds(holds: bool) -> str:
    return "holds" if holds else "does not hold"


if __name__ == "__main__":
    script = bench.Script(__doc__, seeds=3)
    common = {"samples": 3000, "random": 90, "width": 128, "epochs": EPOCHS, "batch": BATCH}
    common |= {"rate": 0.1}
    variants = {"dense": bench.Variant({**common, "sparsity": 0.0})}
    variants |= {
        f"AC/DC {100 * s:g} %": bench.Variant({**common, "sparsity": s}) for s in SPARSITIES
    }
    seeds = script.args.seeds
    study = bench.Study(variants, range(seeds), run)
    script.study(study, describe, {**common, "seeds": seeds, "sparsities": SPARSITIES})
