"""Cyclic and parallel grow-and-prune against other ways to a sparse model, at equal epochs.

On MNIST, a small convolutional network from three seeds:

    python benchmarks/gap.py --timing

and, in hours rather than minutes, on CIFAR-10, ResNet-20 of width 8 from one seed:

    python benchmarks/gap.py --data cifar10

A run is a process of its own with one thread, a parallel one a process for each partition.
All see the same number of images: the epochs of all workers of a parallel run together are those
of the others, unless its name says that it is longer. What is finished is not run again, and what
was interrupted goes on from its last epoch or round, so the command may be repeated. `--timing`
also measures how much sooner two workers are done than one, each on a core of its own (on Linux).
"""

import json
import math
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import keras
from gap_variants import TIMED, VARIANTS, lengths
from networks import compiled, five_convolutions

import keras_sparse as ks
from keras_sparse.experiments.backup import resumable_fit
from keras_sparse.experiments.claims import CLAIM_HEADER, Claim, checked
from keras_sparse.experiments.document import Document, Script, Table, notes
from keras_sparse.experiments.pictures import points
from keras_sparse.experiments.pool import CHILD
from keras_sparse.experiments.study import Study, Variant
from keras_sparse.experiments.summary import mean_and_spread
from keras_sparse.plots.drawing import BLUE, RED

HERE = Path(__file__).parent
DEFAULTS = {
    "mnist": {"width": 8, "images": 3000, "epochs": 48, "seeds": 3},
    "cifar10": {"width": 8, "images": 20000, "epochs": 48, "seeds": 1},
}
FIXED = {
    "batch": 64,
    "learning_rate": 0.1,
    "learning_rate_schedule": "an epoch of warm-up and a cosine to 0, in each step anew",
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "batch_norm_momentum": 0.9,
}


TIMED_EPOCHS, TIMED_REPEATS = 33, 3
# Between its first and its last layer: at high sparsities too little would be left of these.
ENDS = ("first", "last")
# What a small network can show of Ma et al. (2022).
CLAIMS = (
    Claim("cyclic4", "static", 8.0),
    Claim("cyclic4", "oneshot", 1.5),
    Claim("global4", "cyclic4", -0.5),
    Claim("cyclic4", "parallel4", 0.0),
    Claim("parallel4_8", "parallel4", 4.0),
)


def method_callbacks(
    config: dict, workers: ks.distribute.Communicator, folder: Path
) -> tuple[int, list[keras.callbacks.Callback]]:
    """The epochs of the `fit`, and what prunes in it."""
    kind, sparsity, peak = config["kind"], config["sparsity"], config["learning_rate"]

    def rate(epoch: int, epochs: int) -> float:
        if epoch == 0 and epochs > 1:
            return peak / 2
        return peak * 0.5 * (1 + math.cos(math.pi * epoch / epochs))

    seeded = {"keep_dense": ENDS, "seed": config["seed"]}
    if kind in ("cyclic", "parallel"):
        planned = lengths(config)
        epochs = planned["steps"] * planned["epochs_per_step"] + planned["finetune_epochs"]
        shared = {**config["options"], **seeded, **planned}
        shared |= {"learning_rate": rate, "partitions": config["kappa"]}
        if kind == "cyclic":
            return epochs, [ks.CyclicGaP(sparsity, **shared)]
        return epochs, [ks.ParallelGaP(sparsity, workers, backup=folder / "rounds", **shared)]
    epochs = config["epochs"]
    schedule = keras.callbacks.LearningRateScheduler(lambda epoch: rate(epoch, epochs))
    shared = {"keep_dense": ENDS, "allocation": "uniform"}
    make = {
        "static": lambda: ks.StaticMask(sparsity, mask="random", **shared, seed=config["seed"]),
        "oneshot": lambda: ks.GMP(sparsity, ks.OneShot("50%"), **shared),
        "gmp": lambda: ks.GMP(sparsity, **shared),
        "rigl": lambda: ks.RigL(sparsity, **shared, seed=config["seed"]),
    }
    return epochs, [schedule, *([make[kind]()] if kind in make else [])]


def run(config: dict, folder: Path) -> dict[str, Any] | None:
    """One run; of a parallel one starts the workers, of which worker 0 returns the result."""
    parallel = config["kind"] == "parallel"
    if parallel and "TF_CONFIG" not in os.environ:
        status = ks.distribute.launch(CHILD, [str(folder)], config["kappa"], threads=1)
        return sys.exit(status) if status else None
    workers = ks.distribute.connect() if parallel else ks.distribute.alone()
    if config.get("timed"):
        # This process, its Python threads too, on one core, as if it had no other.
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[workers.rank % len(cores)]})
    seed, cifar = config["seed"], config["data"] == "cifar10"
    keras.utils.set_random_seed(seed)
    dataset = ks.data.load(config["data"], limit=config["images"])
    model = (ks.models.resnet20 if cifar else five_convolutions)(width=config["width"], seed=seed)
    compiled(model, config["learning_rate"], config["weight_decay"])
    epochs, callbacks = method_callbacks(config, workers, folder)
    settings = {"batch_size": config["batch"], "augment": cifar, "seed": 100 * seed + workers.rank}
    began, cpu = time.perf_counter(), time.process_time()
    if parallel:  # It has a backup of its own.
        batches = ks.data.pipeline(*dataset.train, **settings)
        logs = model.fit(batches, epochs=epochs, callbacks=callbacks, shuffle=False, verbose=0)
        history = logs.history
        node_epochs, seconds = len(history.get("loss", ())), time.process_time() - cpu
    else:
        rows = resumable_fit(
            model, dataset.train, folder / "backup", epochs=epochs, callbacks=callbacks, **settings
        )
        history = {name: [row[name] for row in rows] for name in rows[0]}
        node_epochs, seconds = len(rows), sum(history["cpu_seconds"])
    spent = {
        "cpu_seconds": seconds,
        "node_epochs": node_epochs,
        "peak_density": max(history.get("gap_peak_density", [math.nan])),
    }
    wall = time.perf_counter() - began
    everyone = [json.loads(each) for each in workers.exchange(json.dumps(spent).encode())]
    _, accuracy = model.evaluate(*dataset.test, batch_size=500, verbose=0)
    if workers.rank:
        return None
    report = ks.report(model)
    return {
        "test_accuracy": accuracy,
        "sparsity": report.sparsity,
        "inference_flops_ratio": report.flops / report.dense_flops,
        "epochs": epochs,
        "node_epochs": sum(each["node_epochs"] for each in everyone),
        "fit_seconds": wall,
        "cpu_seconds": sum(each["cpu_seconds"] for each in everyone),
        "longest_cpu_seconds": max(each["cpu_seconds"] for each in everyone),
        "peak_density": max(each["peak_density"] for each in everyone),
        "traffic": history.get("gap_traffic", [0.0])[-1],
        "history": history,
    }


def time_workers(plan: dict) -> dict[str, Any]:
    """Times two workers against one, in turn, each in processes of its own."""
    config = {**plan, "epochs": TIMED_EPOCHS, "finetune_epochs": 1, "images": 4 * plan["images"]}
    variants = {kind: Variant({**config, **v, "timed": True}) for kind, v in TIMED.items()}
    results = Study(variants, range(TIMED_REPEATS), run).make(HERE / "build" / "gap", 1)
    one = {**config, **TIMED["cyclic"]}
    timed: dict[str, Any] = {"images": config["images"], "rounds": one["rounds"], **lengths(one)}
    for clock, key in (("wall", "fit_seconds"), ("cpu", "longest_cpu_seconds")):
        cyclic, parallel = ([run[key] for run in results[kind]] for kind in TIMED)
        ratios = [p / c for p, c in zip(parallel, cyclic, strict=True)]
        timed |= {f"cyclic_{clock}_seconds": cyclic, f"parallel_{clock}_seconds": parallel}
        timed |= {f"{clock}_ratios": ratios, f"median_{clock}_ratio": statistics.median(ratios)}
    return timed


def about(seeds: int, timed: dict | None) -> list[str]:
    found = [
        f"{seeds} seed{'s' if seeds > 1 else ''}; accuracy of the last epoch on all test images, "
        "mean, and sample standard deviation in points. First and last layer stay dense.",
        "Each layer has the same sparsity, unless it is one ranking of all weights. All see as "
        "many images; epochs are those of a worker, node epochs those of all workers together.",
        "FLOPs are those of an inference, relative to the dense model. Peak density is the "
        "largest fraction of prunable weights that were not pruned at once, on one machine. "
        "Traffic are the bytes that all workers received in the rounds.",
        "CPU seconds are those of `fit` on all workers, compilation included, one thread each.",
    ]
    if timed:
        keys = ("parallel_wall_seconds", "cyclic_wall_seconds")
        seconds = " and ".join(f"{statistics.median(timed[key]):.1f} s" for key in keys)
        found.append(
            "Two workers of one thread and core each against one, as many epochs for each "
            f"partition ({timed['images']:,} images, {timed['rounds']} rounds of "
            f"{timed['epochs_per_step']} epochs, fine-tuning in {timed['finetune_epochs']}): "
            f"{seconds}, {timed['median_wall_ratio']:.2f} times as long, and "
            f"{timed['median_cpu_ratio']:.2f} times the CPU seconds in the worker that has most "
            f"(medians of {len(timed['wall_ratios'])} pairs of runs, compilation included)."
        )
    return found


def describe(content: dict) -> Document:
    plan, results = content["config"], content["results"]
    small = f"Five convolutions of width {plan['width']} and {2 * plan['width']}"
    network = f"ResNet-20 of width {plan['width']}" if plan["data"] == "cifar10" else small
    title = (
        f"{network} on {plan['data']}, {plan['images']:,} training "
        f"images, {plan['epochs']} epochs, {plan['sparsity']:.0%} sparsity"
    )

    def row(name: str) -> tuple[str, ...]:
        def mean(key: str) -> float:
            return mean_and_spread([run[key] for run in results[name]])[0]

        spread = mean_and_spread([run["test_accuracy"] for run in results[name]])[1]
        peak, traffic = mean("peak_density"), mean("traffic")
        return (
            VARIANTS[name]["label"],
            f"{mean('test_accuracy'):.2%}",
            "" if math.isnan(spread) else f"{100 * spread:.2f}",
            f"{mean('sparsity'):.2%}",
            f"{mean('inference_flops_ratio'):.1%}",
            "" if math.isnan(peak) else f"{peak:.1%}",
            f"{mean('epochs'):.0f}",
            f"{mean('node_epochs'):.0f}",
            f"{traffic:,.0f}" if traffic else "",
            f"{mean('cpu_seconds'):.0f}",
        )

    accuracies = {name: [run["test_accuracy"] for run in results[name]] for name in results}
    claims = [
        (f"{VARIANTS[claim.better]['label']} over {VARIANTS[claim.worse]['label']}", *cells)
        for claim, cells in checked(CLAIMS, lambda name, _: accuracies.get(name, ()))
    ]
    measured = ("accuracy", "spread", "sparsity", "FLOPs", "peak density")
    header = ("method", *measured, "epochs", "node epochs", "traffic", "CPU s")
    over = "One over another"
    blocks = [Table(title, header, [row(name) for name in results]), notes(content["notes"])]
    blocks += [f"## {over}", Table(over, ("claim", *CLAIM_HEADER), claims)]
    colors = {
        v["label"]: {"cyclic": BLUE, "parallel": RED}.get(v["kind"]) for v in VARIANTS.values()
    }
    shown = {VARIANTS[name]["label"]: values for name, values in accuracies.items()}
    known = {label: color for label, color in colors.items() if color}
    picture = points(shown, "test accuracy: each run, and the mean", known, title)
    return Document(title, blocks, picture, "accuracy of each method")


def main() -> None:
    script = Script(
        __doc__,
        HERE / "results",
        {"data": tuple(DEFAULTS), "variants": tuple(VARIANTS)},
        data="mnist",
        width=int,
        images=int,
        epochs=int,
        seeds=int,
        sparsity=0.95,
        variants=tuple(VARIANTS),
        timing=False,
        name=str,
    )
    args = script.parser.parse_args()
    names = ("width", "images", "epochs", "seeds")
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    plan = {"data": args.data, **DEFAULTS[args.data], **given}
    seeds, epochs = plan.pop("seeds"), plan["epochs"]
    if epochs % 24:
        script.parser.error("--epochs is a multiple of 24: two rounds of four steps in two thirds")
    plan |= {"finetune_epochs": epochs // 3, "sparsity": args.sparsity, **FIXED}
    plan["augmentation"] = args.data == "cifar10"
    variants = {name: Variant({**plan, **VARIANTS[name]}) for name in args.variants}

    def measure() -> dict:
        results = Study(variants, range(seeds), run).make(HERE / "build" / "gap", args.processes)
        timed = time_workers(plan) if args.timing else None
        return {"config": plan, "notes": about(seeds, timed), "timing": timed, "results": results}

    script.write(args, args.name or f"gap_{args.data}", measure, describe)


if __name__ == "__main__":
    main()
