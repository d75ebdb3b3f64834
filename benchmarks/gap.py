"""Cyclic and parallel grow-and-prune against other ways to a sparse model, at equal epochs.

    python benchmarks/gap.py --timing
    python benchmarks/gap.py --data cifar10

A small convolutional network on MNIST, and ResNet-20 on CIFAR-10, which takes hours. All see the
same number of images: the epochs of all workers of a parallel run together are those of the others,
unless its name says that it is longer. What was interrupted goes on from its last epoch or round.
`--timing` also measures how much sooner two workers are done than one, each on a core of its own
(on Linux).
"""

import json
import math
import os
import statistics
import sys
from pathlib import Path
from typing import Any

import keras
from networks import five_convolutions

import keras_sparse as ks
from keras_sparse.experiments import benchmark as bench
from keras_sparse.experiments.benchmark import Claim
from keras_sparse.experiments.pool import CHILD
from keras_sparse.plots.drawing import BLUE, RED

COMMON = {
    **{"width": 8, "epochs": 48, "sparsity": 0.95, "batch": 64, "learning_rate": 0.1},
    "learning_rate_schedule": "an epoch of warm-up and a cosine to 0, in each step anew",
    **{"momentum": 0.9, "weight_decay": 5e-4, "batch_norm_momentum": 0.9},
}
SETTINGS = {
    "mnist": {"data": "mnist", "images": 3000, "seeds": 3, **COMMON, "augmentation": False},
    "cifar10": {"data": "cifar10", "images": 20000, "seeds": 1, **COMMON, "augmentation": True},
}
TIMED_EPOCHS, TIMED_REPEATS = 33, 3
# What a small network can show of Ma et al. (2022).
CLAIMS = (
    Claim("cyclic4", "static", 8.0),
    Claim("cyclic4", "oneshot", 1.5),
    Claim("global4", "cyclic4", -0.5),
    Claim("cyclic4", "parallel4", 0.0),
    Claim("parallel4_8", "parallel4", 4.0),
)
COLUMNS = {
    "accuracy": bench.cell("test_accuracy", ".2%"),
    "spread": bench.cell(lambda run: 100 * run["test_accuracy"], ".2f", bench.spread),
    "sparsity": bench.cell("sparsity", ".2%"),
    "FLOPs": bench.cell("inference_flops_ratio", ".1%"),
    "peak density": bench.cell("peak_density", ".1%"),
    "epochs": bench.cell("epochs", ".0f"),
    "node epochs": bench.cell("node_epochs", ".0f"),
    "traffic": bench.cell(lambda run: run["traffic"] or math.nan, ",.0f"),
    "CPU s": bench.cell("cpu_seconds", ".0f"),
}
NOTES = (
    "{seeds} seed(s); accuracy of the last epoch on all test images, mean, and sample standard "
    "deviation in points. First and last layer stay dense.",
    "Each layer has the same sparsity, unless it is one ranking of all weights. All see as "
    "many images; epochs are those of a worker, node epochs those of all workers together.",
    "FLOPs are those of an inference, relative to the dense model. Peak density is the "
    "largest fraction of prunable weights that were not pruned at once, on one machine. "
    "Traffic are the bytes that all workers received in the rounds.",
    "CPU seconds are those of `fit` on all workers, compilation included, one thread each.",
)
TIMED = (
    "Two workers of one thread and core each against one, as many epochs for each partition "
    "({images:,} images, {rounds} rounds, {epochs} epochs): {parallel:.1f} s and {cyclic:.1f} s, "
    "{ratio:.2f} times as long, and {cpu_ratio:.2f} times the CPU seconds in the worker that has "
    "most (medians of {repeats} pairs of runs, compilation included)."
)


def gap(label: str, kind: str, kappa: int, rounds: int = 2, longer: int = 1, **more: Any) -> dict:
    """Grow-and-prune, whose rounds may take more node-epochs than others do."""
    planned = {"kappa": kappa, "rounds": rounds, "longer": longer}
    return {"label": label, "kind": kind, **planned, "options": {"allocation": "uniform", **more}}


VARIANTS = {
    "dense": {"label": "dense", "kind": "dense"},
    "static": {"label": "static random mask", "kind": "static"},
    "oneshot": {"label": "prune from dense, at once half-way", "kind": "oneshot"},
    "gmp": {"label": "prune from dense, gradually (GMP)", "kind": "gmp"},
    "rigl": {"label": "RigL", "kind": "rigl"},
    **{f"cyclic{kappa}": gap(f"C-GaP, kappa {kappa}", "cyclic", kappa) for kappa in (1, 2, 4)},
    "random4": gap("C-GaP, kappa 4, random partitions", "cyclic", 4, order="random"),
    "global4": gap("C-GaP, kappa 4, one ranking", "cyclic", 4, allocation="global"),
    **{f"parallel{kappa}": gap(f"P-GaP, kappa {kappa}", "parallel", kappa) for kappa in (2, 4)},
    "parallel4_8": gap("P-GaP, kappa 4, 8 rounds", "parallel", 4, 8, longer=4),
}
LABELS = {name: variant["label"] for name, variant in VARIANTS.items()}


def pruning(config: dict, workers: ks.distribute.Communicator, folder: Path) -> tuple[int, list]:
    """The epochs of the `fit`, and its callbacks."""
    kind, sparsity, epochs = config["kind"], config["sparsity"], config["epochs"]
    # Between its first and its last layer: at high sparsities too little would be left of these.
    shared = {"keep_dense": ("first", "last"), "allocation": "uniform"}
    seeded = {**shared, "seed": config["seed"]}

    def rate(epoch: int, epochs: int) -> float:
        if epoch == 0 and epochs > 1:
            return config["learning_rate"] / 2
        return config["learning_rate"] * 0.5 * (1 + math.cos(math.pi * epoch / epochs))

    if "kappa" in config:
        tuning, kappa, rounds = config["finetune_epochs"], config["kappa"], config["rounds"]
        length = (epochs - tuning) * config["longer"] // (kappa * rounds)
        steps = rounds * (1 if kind == "parallel" else kappa)
        planned = {"steps": steps, "epochs_per_step": length, "finetune_epochs": tuning}
        options = {**seeded, **planned, **config["options"]}
        options |= {"learning_rate": rate, "partitions": kappa}
        if kind == "parallel":
            method = ks.ParallelGaP(sparsity, workers, backup=folder / "rounds", **options)
        else:
            method = ks.CyclicGaP(sparsity, **options)
        return steps * length + tuning, [method]
    make = {
        "static": lambda: ks.StaticMask(sparsity, mask="random", **seeded),
        "oneshot": lambda: ks.GMP(sparsity, ks.OneShot("50%"), **shared),
        "gmp": lambda: ks.GMP(sparsity, **shared),
        "rigl": lambda: ks.RigL(sparsity, **seeded),
    }
    schedule = keras.callbacks.LearningRateScheduler(lambda epoch: rate(epoch, epochs))
    return epochs, [schedule, *([make[kind]()] if kind in make else [])]


def run(config: dict, folder: Path) -> dict[str, Any] | None:
    """One run; of a parallel one starts the workers, of which worker 0 returns the result."""
    parallel, seed, cifar = config["kind"] == "parallel", config["seed"], config["augmentation"]
    if parallel and "TF_CONFIG" not in os.environ:
        status = ks.distribute.launch(CHILD, [str(folder)], config["kappa"], threads=1)
        return sys.exit(status) if status else None
    workers = ks.distribute.connect() if parallel else ks.distribute.alone()
    if config.get("timed"):
        # This process, its Python threads too, on one core, as if it had no other.
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[workers.rank % len(cores)]})
    keras.utils.set_random_seed(seed)
    dataset = ks.data.load(config["data"], limit=config["images"])
    model = (ks.models.resnet20 if cifar else five_convolutions)(width=config["width"], seed=seed)
    bench.compiled(model, config["learning_rate"], weight_decay=config["weight_decay"])
    epochs, callbacks = pruning(config, workers, folder)
    fit = {"epochs": epochs, "batch_size": config["batch"], "callbacks": callbacks}
    fit |= {"seed": 100 * seed + workers.rank, "augment": cifar}
    # A parallel run has a backup of its own.
    found = bench.trained(model, dataset, None if parallel else folder, **fit)
    rows = found.pop("history")
    peak = max((row.get("gap_peak_density", math.nan) for row in rows), default=math.nan)
    own = [found["cpu_seconds"], len(rows), peak]
    every = [json.loads(each) for each in workers.exchange(json.dumps(own).encode())]
    seconds, node_epochs, peaks = (list(values) for values in zip(*every, strict=True))
    if workers.rank:
        return None
    traffic = rows[-1].get("gap_traffic", 0.0) if rows else 0.0
    found |= {"epochs": epochs, "node_epochs": sum(node_epochs), "traffic": traffic}
    found |= {"cpu_seconds": sum(seconds), "longest_cpu_seconds": max(seconds)}
    return {**found, "peak_density": max(peaks)}


def timing(plan: dict, build: Path) -> tuple[str, bench.Results]:
    """Times two workers against one, in turn, each in processes of its own."""
    config = {**plan, "epochs": TIMED_EPOCHS, "finetune_epochs": 1, "images": 4 * plan["images"]}
    kinds, config["timed"] = ("cyclic", "parallel"), True
    variants = {kind: bench.Variant({**config, **gap(kind, kind, 2, 4)}) for kind in kinds}
    results = bench.Study(variants, range(TIMED_REPEATS), run).make(build, processes=1)

    def medians(key: str) -> tuple[float, ...]:
        cyclic, parallel = ([run[key] for run in results[kind]] for kind in kinds)
        ratios = [one / other for one, other in zip(parallel, cyclic, strict=True)]
        return tuple(map(statistics.median, (cyclic, parallel, ratios)))

    cyclic, parallel, ratio = medians("seconds")
    told = {"images": config["images"], "rounds": 4, "epochs": TIMED_EPOCHS}
    told |= {"cyclic": cyclic, "parallel": parallel, "ratio": ratio, "repeats": TIMED_REPEATS}
    return TIMED.format(**told, cpu_ratio=medians("longest_cpu_seconds")[-1]), results


def describe(content: dict) -> bench.Document:
    plan, results, width = content["config"], content["results"], content["config"]["width"]
    small = f"Five convolutions of width {width} and {2 * width}"
    network = f"ResNet-20 of width {width}" if plan["data"] == "cifar10" else small
    title = (
        f"{network} on {plan['data']}, {plan['images']:,} training "
        f"images, {plan['epochs']} epochs, {plan['sparsity']:.0%} sparsity"
    )
    accuracies = {name: [run["test_accuracy"] for run in results[name]] for name in results}
    colors = {"cyclic": BLUE, "parallel": RED}
    colors = {v["label"]: colors[v["kind"]] for v in VARIANTS.values() if v["kind"] in colors}
    shown = {LABELS[name]: values for name, values in accuracies.items()}
    picture = bench.points(shown, "test accuracy: each run, and the mean", colors, title)
    over = "One over another"
    first = {"claim": lambda claim: f"{LABELS[claim.better]} over {LABELS[claim.worse]}"}
    blocks = [
        bench.by_variant(title, "method", COLUMNS, {LABELS[n]: results[n] for n in results}),
        bench.notes(content["notes"]),
        f"## {over}",
        bench.claims_table(over, first, CLAIMS, lambda name, _: accuracies.get(name, ())),
    ]
    return bench.Document(title, blocks, picture, "accuracy of each method")


if __name__ == "__main__":
    options = {"data": "mnist", "images": int, "epochs": int, "seeds": int, "name": str}
    options |= {"variants": VARIANTS, "timing": False}
    script = bench.Script(__doc__, choices={"data": SETTINGS}, **options)
    plan = script.chosen(SETTINGS[script.args.data])
    if plan["epochs"] % 24:
        script.parser.error("--epochs is a multiple of 24: two rounds of four steps in two thirds")
    seeds, plan["finetune_epochs"] = plan.pop("seeds"), plan["epochs"] // 3
    variants = {name: bench.Variant({**plan, **VARIANTS[name]}) for name in script.args.variants}

    def kept(found: bench.Results) -> dict[str, Any]:
        told = [note.format(seeds=seeds) for note in NOTES]
        if not script.args.timing:
            return {"notes": told, "results": found}
        note, timed = timing(plan, script.build)
        return {"notes": [*told, note], "timing": timed, "results": found}

    study = bench.Study(variants, range(seeds), run)
    script.study(study, describe, plan, kept, name=script.args.name or f"gap_{plan['data']}")
