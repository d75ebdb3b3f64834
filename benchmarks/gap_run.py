"""Runs of one variant of `gap.py`, from each seed in turn; of parallel ones a worker.

It is started by that script, which writes the plan that it reads:

    python benchmarks/gap_run.py --plan benchmarks/build/.../plan.json --variant cyclic4 --seeds 0 1
"""

import argparse
import dataclasses
import json
import math
import os
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
from keras import layers
from progress import set_batch_norm_momentum

import keras_sparse as ks
from keras_sparse import data, models
from keras_sparse.experiments.backup import Backup


@dataclasses.dataclass(frozen=True)
class Variant:
    """What is trained how.

    Args:
        label: its name in the table.
        kind: `"dense"`, `"static"`, `"oneshot"`, `"gmp"`, `"rigl"`, `"cyclic"` or `"parallel"`.
        kappa: partitions.
        rounds: how often each partition is dense.
        options: further arguments of the method.
        longer: how many times the node-epochs of the others the rounds take.
    """

    label: str
    kind: str
    kappa: int = 1
    rounds: int = 2
    options: dict = dataclasses.field(default_factory=dict)
    longer: int = 1


UNIFORM = {"allocation": "uniform"}
VARIANTS = {
    "dense": Variant("dense", "dense"),
    "static": Variant("static random mask", "static", options=UNIFORM),
    "oneshot": Variant("prune from dense, at once half-way", "oneshot", options=UNIFORM),
    "gmp": Variant("prune from dense, gradually (GMP)", "gmp", options=UNIFORM),
    "rigl": Variant("RigL", "rigl", options=UNIFORM),
    "cyclic1": Variant("C-GaP, kappa 1", "cyclic", 1, options=UNIFORM),
    "cyclic2": Variant("C-GaP, kappa 2", "cyclic", 2, options=UNIFORM),
    "cyclic4": Variant("C-GaP, kappa 4", "cyclic", 4, options=UNIFORM),
    "random4": Variant(
        "C-GaP, kappa 4, random partitions", "cyclic", 4, options={**UNIFORM, "order": "random"}
    ),
    "global4": Variant(
        "C-GaP, kappa 4, one ranking", "cyclic", 4, options={"allocation": "global"}
    ),
    "parallel2": Variant("P-GaP, kappa 2", "parallel", 2, options=UNIFORM),
    "parallel4": Variant("P-GaP, kappa 4", "parallel", 4, options=UNIFORM),
    "parallel4_8": Variant("P-GaP, kappa 4, 8 rounds", "parallel", 4, 8, UNIFORM, longer=4),
}
# One core and as many epochs for each partition, to compare the time that they take.
TIMED = {
    "timed_cyclic2": Variant("C-GaP, kappa 2", "cyclic", 2, 4, UNIFORM),
    "timed_parallel2": Variant("P-GaP, kappa 2", "parallel", 2, 4, UNIFORM),
}
# Between its first and its last layer: at high sparsities too little would be left of these.
ENDS = ("first", "last")


def rate(peak: float):
    """One epoch of warm-up, then a cosine to zero, by the epoch of a step or of a run."""

    def at(epoch: int, epochs: int) -> float:
        if epoch == 0 and epochs > 1:
            return peak / 2
        return peak * 0.5 * (1 + math.cos(math.pi * epoch / epochs))

    return at


def small_network(width: int, seed: int) -> keras.Model:
    """Five convolutions with batch normalization for MNIST, the first half as wide as the rest."""
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input((28, 28, 1))], name="convolutions")
    for i, strides in enumerate((2, 2, 1, 2, 1)):
        filters = 2 * width if i else width
        model.add(layers.Conv2D(filters, 3, strides, "same", use_bias=False, name=f"conv{i + 1}"))
        model.add(layers.BatchNormalization(name=f"norm{i + 1}"))
        model.add(layers.ReLU())
    model.add(layers.GlobalAveragePooling2D())
    model.add(layers.Dense(10, name="logits"))
    return model


def compiled_model(plan: dict, seed: int) -> keras.Model:
    width = plan["width"]
    cifar = plan["data"] == "cifar10"
    model = models.resnet20(width=width, seed=seed) if cifar else small_network(width, seed)
    set_batch_norm_momentum(model.layers, plan["batch_norm_momentum"])
    model.compile(
        keras.optimizers.SGD(
            plan["learning_rate"], momentum=plan["momentum"], weight_decay=plan["weight_decay"]
        ),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        # A metric by its name is made in the first step, which is then traced twice.
        metrics=[keras.metrics.SparseCategoricalAccuracy("accuracy")],
    )
    return model


def lengths(variant: Variant, plan: dict) -> dict:
    """Steps, their epochs, and those of fine-tuning."""
    tuning = plan["finetune_epochs"]
    node_epochs = (plan["epochs"] - tuning) * variant.longer
    length = node_epochs // (variant.kappa * variant.rounds)
    steps = variant.rounds * (1 if variant.kind == "parallel" else variant.kappa)
    return {"steps": steps, "epochs_per_step": length, "finetune_epochs": tuning}


def method_callbacks(
    variant: Variant, plan: dict, seed: int, workers: ks.distribute.Communicator, folder: Path
) -> tuple[int, list[keras.callbacks.Callback]]:
    """The epochs of the `fit`, and what prunes in it."""
    shared = {**variant.options, "keep_dense": ENDS}
    peak = rate(plan["learning_rate"])
    if variant.kind in ("cyclic", "parallel"):
        planned = lengths(variant, plan)
        epochs = planned["steps"] * planned["epochs_per_step"] + planned["finetune_epochs"]
        shared |= {**planned, "learning_rate": peak, "seed": seed, "partitions": variant.kappa}
        if variant.kind == "cyclic":
            return epochs, [ks.CyclicGaP(plan["sparsity"], **shared)]
        backup = folder / "rounds"
        return epochs, [ks.ParallelGaP(plan["sparsity"], workers, backup=backup, **shared)]
    epochs = plan["epochs"]
    schedule = keras.callbacks.LearningRateScheduler(lambda epoch: peak(epoch, epochs))
    make = {
        "static": lambda: ks.StaticMask(plan["sparsity"], mask="random", seed=seed, **shared),
        "oneshot": lambda: ks.GMP(plan["sparsity"], ks.OneShot("50%"), **shared),
        "gmp": lambda: ks.GMP(plan["sparsity"], **shared),
        "rigl": lambda: ks.RigL(plan["sparsity"], seed=seed, **shared),
    }
    return epochs, [schedule, *([make[variant.kind]()] if variant.kind in make else [])]


def train(
    variant: Variant,
    plan: dict,
    seed: int,
    workers: ks.distribute.Communicator,
    dataset: data.Dataset,
    folder: Path,
) -> dict:
    """One run; what it came to is complete on worker 0."""
    folder.mkdir(parents=True, exist_ok=True)
    model = compiled_model(plan, seed)
    epochs, callbacks = method_callbacks(variant, plan, seed, workers, folder)
    backup = None if variant.kind == "parallel" else Backup(folder / "backup")
    done = backup.epoch if backup else 0
    batches = data.pipeline(
        *dataset.train,
        plan["batch"],
        augment=plan["augmentation"],
        seed=100 * seed + workers.rank,
        initial_epoch=done,
    )
    began, cpu = time.perf_counter(), time.process_time()
    history = model.fit(
        batches,
        shuffle=False,  # The batches are.
        epochs=epochs,
        initial_epoch=done,
        verbose=0,
        callbacks=[*callbacks, *([backup] if backup else [])],
    ).history
    spent = {
        "fit_seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time() - cpu,
        "node_epochs": len(history.get("loss", ())),
        "peak_density": max(history.get("gap_peak_density", [math.nan])),
    }
    everyone = [json.loads(each) for each in workers.exchange(json.dumps(spent).encode())]
    _, accuracy = model.evaluate(*dataset.test, batch_size=500, verbose=0)
    report = ks.report(model)
    return {
        "test_accuracy": accuracy,
        "sparsity": report.sparsity,
        "inference_flops_ratio": report.flops / report.dense_flops,
        "epochs": epochs,
        "node_epochs": done + sum(each["node_epochs"] for each in everyone),
        "fit_seconds": spent["fit_seconds"],
        "cpu_seconds": sum(each["cpu_seconds"] for each in everyone),
        "longest_cpu_seconds": max(each["cpu_seconds"] for each in everyone),
        "peak_density": max(each["peak_density"] for each in everyone),
        "traffic": history.get("gap_traffic", [0.0])[-1],
        "resumed": done > 0,
        "history": backup.rows if backup else history,
    }


def keep_to_one_core(rank: int) -> None:
    """Has this process, its Python threads too, compute on one core, as if it had no other."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[rank % len(cores)]})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plan", type=Path, required=True)
    parser.add_argument("--variant", choices=[*VARIANTS, *TIMED], required=True)
    parser.add_argument("--seeds", type=int, nargs="+", required=True)
    args = parser.parse_args()
    plan = json.loads(args.plan.read_text())
    variant = (VARIANTS | TIMED)[args.variant]
    parallel = variant.kind == "parallel"
    if args.variant in TIMED:
        keep_to_one_core(ks.distribute.read_cluster().rank if parallel else 0)
    workers = ks.distribute.connect() if parallel else ks.distribute.alone()
    dataset = data.load(plan["data"], limit=plan["images"])
    for seed in args.seeds:
        folder = args.plan.parent / f"{args.variant}-seed{seed}"
        keras.utils.set_random_seed(seed)
        result = train(variant, plan, seed, workers, dataset, folder)
        if workers.rank == 0:
            (folder / "result.json").write_text(json.dumps(result, indent=1))
        keras.utils.clear_session()


if __name__ == "__main__":
    main()
