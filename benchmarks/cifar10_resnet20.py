r"""ResNet-20 on CIFAR-10: sparse training methods at equal epochs.

The committed results are those of

    python benchmarks/cifar10_resnet20.py --width 8 --images 20000 --epochs 20
    python benchmarks/cifar10_resnet20.py --width 8 --images 20000 --epochs 20 --sparsity 0.95 \
        --name cifar10_resnet20_95 --methods dense acdc gmp rigl top_kast dpf str snip \
        one_shot woodfisher tfmot

Each run is a process of its own; two run side by side, one thread each. What is finished is not
run again and what was interrupted goes on from its last epoch, so the command may be repeated.
`tfmot` needs `pip install keras-sparse[tfmot]`, here or in an environment whose interpreter
`--tfmot-python` names. CIFAR-10 is looked for as `keras_sparse.data.load` does.
"""

import sys
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tfmot
from acdc_phases import phases
from networks import compiled

import keras_sparse as ks
from keras_sparse.data import batches
from keras_sparse.experiments.backup import resumable_fit
from keras_sparse.experiments.document import Document, Script, Table, notes
from keras_sparse.experiments.pictures import lines
from keras_sparse.experiments.study import Study, Variant

HERE = Path(__file__).parent
LABELS = {
    "dense": "dense",
    "acdc": "AC/DC",
    "gmp": "GMP",
    "gmp_uniform": "GMP, same in each layer",
    "tfmot": "tfmot",
    "one_shot": "one-shot, then fine-tuning",
    "random": "static random mask",
    "rigl": "RigL, ERK layers",
    "top_kast": "Top-KAST (all layers ranked together)",
    "dpf": "DPF",
    "str": "STR",
    "snip": "SNIP",
    "woodfisher": "WoodFisher, no fine-tuning",
}
METHODS = ("acdc", "dense", "gmp", "tfmot", "one_shot", "random", "gmp_uniform")
CALIBRATION = 1000
# STR has no sparsity to ask for: it follows from these.
STR = {"threshold": 0.3, "weight_decay": 0.22, "momentum": 0.0}
FIXED = {
    "model": "resnet20",
    "batch": 128,
    "learning_rate": 0.1,
    "learning_rate_schedule": "cosine to 0",
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "weight_decay_form": "decoupled (the optimizer's argument), on all variables",
    "batch_norm_momentum": 0.9,
    "augmentation": "pad 4, random crop, horizontal flip",
}


def make_plan(given: dict[str, Any]) -> dict[str, Any]:
    """Everything that the runs must have in common."""
    per_epoch = -(-given["images"] // FIXED["batch"])
    steps = given["epochs"] * per_epoch
    every = max(1, min(100, steps // 20))
    begin = steps // 5 // every * every
    updates = int(0.6 * steps) // every  # a whole number of intervals: tfmot counts so
    times = {"begin": begin, "end": begin + updates * every, "every": every}
    times["one_shot"] = round(0.7 * given["epochs"]) * per_epoch
    return {**FIXED, **given, "steps": steps, "schedule": times}


def method_callback(plan: dict, calibration: tuple) -> list[keras.callbacks.Callback]:
    sparsity, times = plan["sparsity"], plan["schedule"]
    gradual = ks.Polynomial(*(f"{times[key]}st" for key in ("begin", "end", "every")))
    make = {
        # Phases of one epoch, which were the default when the results were made.
        "acdc": lambda: ks.ACDC(sparsity, phases("one epoch", plan["epochs"])),
        "gmp": lambda: ks.GMP(sparsity, schedule=gradual),
        "gmp_uniform": lambda: ks.GMP(sparsity, schedule=gradual, allocation="uniform"),
        "one_shot": lambda: ks.GMP(sparsity, schedule=ks.OneShot(f"{times['one_shot']}st")),
        "random": lambda: ks.StaticMask(sparsity, mask="random", seed=plan["seed"]),
        "rigl": lambda: ks.RigL(sparsity, seed=plan["seed"]),
        "top_kast": lambda: ks.TopKAST(sparsity, allocation="global"),
        "dpf": lambda: ks.DPF(sparsity),
        "str": lambda: ks.STR(**STR),
        "snip": lambda: ks.SNIP(sparsity, calibration),
    }
    return [make[plan["method"]]()] if plan["method"] in make else []


def export(plan: dict, folder: Path) -> dict[str, str]:
    """Leaves data and initial weights to tfmot's process, which cannot import keras_sparse."""
    cifar = ks.data.load("cifar10", limit=plan["images"], seed=plan["seed"])
    names = ("x_train", "y_train", "x_test", "y_test")
    np.savez(folder / "data.npz", **{name: getattr(cifar, name) for name in names})
    model = ks.models.resnet20(width=plan["width"], seed=plan["seed"])
    # By layer and place, as the two Kerases may order a model's variables differently.
    weights = {
        f"{layer.name}/{i}": value
        for layer in model.layers
        for i, value in enumerate(layer.get_weights())
    }
    np.savez(folder / "initial_weights.npz", **weights)
    # From its file, and so the same batches, crops and flips.
    return {"pipeline": batches.__file__}


def run(plan: dict, folder: Path) -> dict[str, Any]:
    """Trains with a method, or prunes what the dense run has trained."""
    keras.utils.set_random_seed(plan["seed"])
    cifar = ks.data.load("cifar10", limit=plan["images"], seed=plan["seed"])
    calibration = cifar.x_train[:CALIBRATION], cifar.y_train[:CALIBRATION]
    model = ks.models.resnet20(width=plan["width"], seed=plan["seed"])
    decay = keras.optimizers.schedules.CosineDecay(plan["learning_rate"], plan["steps"])
    compiled(model, decay, plan["weight_decay"])
    rows: list[dict[str, float]] = []
    if plan["method"] == "woodfisher":
        model.load_weights(folder.with_name(plan["after"]) / "model.weights.h5")
        wall, cpu = time.perf_counter(), time.process_time()
        ks.woodfisher(model, calibration, sparsity=plan["sparsity"])
        ks.batch_norm_tuning(model, calibration[0])
        spent = time.perf_counter() - wall, time.process_time() - cpu
    else:
        rows = resumable_fit(
            model,
            cifar.train,
            folder / "backup",
            epochs=plan["epochs"],
            batch_size=plan["batch"],
            seed=plan["seed"],
            augment=True,
            callbacks=method_callback(plan, calibration),
            validation_data=tuple(side[: plan["monitored"]] for side in cifar.test),
            validation_batch_size=500,
        )
        model.save_weights(folder / "model.weights.h5")
        spent = sum(row["seconds"] for row in rows), sum(row["cpu_seconds"] for row in rows)
    loss, accuracy = model.evaluate(*cifar.test, batch_size=500, verbose=0)
    report = ks.report(model)
    return {
        "test_accuracy": accuracy,
        "test_loss": loss,
        "sparsity": report.sparsity,
        "layer_sparsity": {row.path: row.sparsity for row in report.rows if row.reason is None},
        "inference_flops_ratio": report.flops / report.dense_flops,
        "train_flops_ratio": rows[-1].get("train_flops_ratio", 1.0) if rows else 1.0,
        "seconds": spent[0],
        "cpu_seconds": spent[1],
        "history": [{**row, "epoch": row["epoch"] - 1} for row in rows],
    }


def tfmot_accounts(result: dict, plan: dict) -> dict[str, Any]:
    """Sparsity and FLOPs of tfmot's run, counted as `keras_sparse` counts its own."""
    report = ks.report(ks.models.resnet20(width=plan["width"]))
    kernels = {row.path: row for row in report.rows if row.reason is None}
    if kernels.keys() != result["nonzeros"].keys():
        raise ValueError(f"tfmot pruned {sorted(result['nonzeros'])}, not {sorted(kernels)}.")
    sizes = {path: row.nonzeros for path, row in kernels.items()}
    total = sum(row.dense_flops for row in kernels.values())

    def ratio(nonzeros: dict[str, int]) -> float:
        return sum(kernels[p].dense_flops * n / sizes[p] for p, n in nonzeros.items()) / total

    # Its gradients are dense: two passes on the nonzero weights and one on all of them.
    epochs = [2 * ratio(nonzeros) + 1 for nonzeros in result.pop("epochs").values()]
    return {
        "sparsity": 1 - sum(result["nonzeros"].values()) / sum(sizes.values()),
        "layer_sparsity": {path: 1 - n / sizes[path] for path, n in result["nonzeros"].items()},
        "inference_flops_ratio": ratio(result["nonzeros"]),
        "train_flops_ratio": sum(epochs) / (3 * len(epochs)),
    }


def about(plan: dict, results: dict) -> list[str]:
    found = [
        "One seed. Test accuracy is that of the last epoch on all 10,000 test images; its "
        "standard error from the test set alone is about half a point.",
        "Sparsity is counted over the same kernels for all: every convolution and the classifier, "
        "first and last layer included. FLOPs are relative to the dense model and its training.",
        "All share initial weights, batches, augmentation, learning rates and weight decay. "
        "keras_sparse ranks all weights together unless it says otherwise; tfmot "
        "(prune_low_magnitude with PolynomialDecay, at GMP's steps) knows only the same sparsity "
        "in each layer, the first and the last included.",
        "CPU seconds are those of training and of the tests after each epoch, compilation "
        "included, one thread a run.",
    ]
    if plan["images"] < 50000 or plan["epochs"] < 100:
        found.append(
            "The run is short (steps in all: {steps}) to fit a small machine; accuracies are far "
            "from converged. Without options the script trains the full recipe: width 16, 50,000 "
            "images, 100 epochs.".format(**plan)
        )
    accuracies = {method: result["test_accuracy"] for method, result in results.items()}
    if accuracies.get("random", 0) > accuracies.get("dense", 1):
        found.append(
            "The static random mask did better than dense training, so what is compared here is "
            "how fast a network learns in its first steps, not what pruning costs one that has "
            "learnt: do not rank the methods by this table."
        )
    if "str" in results:
        found.append("STR's sparsity follows from the weight decay of its thresholds.")
    if "woodfisher" in results:
        found.append(
            "WoodFisher prunes the dense model at once with 1,000 training images, on which batch "
            "normalization is tuned afterwards; its CPU seconds come after those of the dense run."
        )
    return found


def describe(content: dict) -> Document:
    title = (
        "CIFAR-10, ResNet-20 of width {width}, {images:,} training images, "
        "{epochs} epochs, {sparsity:.0%} sparsity"
    ).format(**content["config"])
    rows = []
    curves: dict[str, dict[str, list[float]]] = {"accuracy on test images": {}, "sparsity": {}}
    for method, result in content["results"].items():
        shares = [result[f"{name}_flops_ratio"] for name in ("inference", "train")]
        shares += [result["layer_sparsity"][f"{name}/kernel"] for name in ("stem", "logits")]
        accuracies = (f"{result[name]:.2%}" for name in ("test_accuracy", "sparsity"))
        cells = (*accuracies, *(f"{share:.1%}" for share in shares))
        rows.append((LABELS[method], *cells, f"{result['cpu_seconds']:.0f}"))
        for panel, key in zip(curves.values(), ("val_accuracy", "sparsity"), strict=True):
            panel[LABELS[method]] = [row.get(key, 0.0) for row in result["history"]]
    measured = ("test accuracy", "sparsity", "inference FLOPs", "training FLOPs")
    table = Table(title, ("method", *measured, "first layer", "last layer", "CPU s"), rows)
    picture = lines(curves, "epoch", title=title)
    return Document(
        title, [table, notes(content["notes"])], picture, "accuracy and sparsity by epoch"
    )


def main() -> None:
    script = Script(
        __doc__,
        HERE / "results",
        {"methods": tuple(LABELS)},
        width=16,
        images=50000,
        epochs=100,
        sparsity=0.9,
        seed=0,
        methods=METHODS,
        threads=1,
        monitored=1000,
        name="cifar10_resnet20",
        tfmot_python=sys.executable,
    )
    script.parser.add_argument("--parallel", dest="processes", type=int, help="as --processes")
    args = script.parser.parse_args()
    named = ("width", "images", "epochs", "sparsity", "seed", "monitored", "threads")
    plan = make_plan({name: getattr(args, name) for name in named})
    needed = ["dense"] if "woodfisher" in args.methods else []
    variants = {
        method: Variant({**plan, "method": method}, after=_after(method))
        for method in dict.fromkeys((*needed, *args.methods))
        if method != "tfmot"
    }
    if "tfmot" in args.methods:
        variants["exported"] = Variant(plan, export)
        variants["tfmot"] = tfmot.variant(
            "legacy_tfmot.py:run", plan, args.tfmot_python, "exported"
        )

    def measure() -> dict:
        versions = tfmot.versions(args.tfmot_python) if "tfmot" in args.methods else {}
        build = HERE / "build" / "cifar10"
        found = Study(variants, [plan["seed"]], run).make(build, args.processes, args.threads)
        results = {method: found[method][0] for method in LABELS if method in args.methods}
        if "tfmot" in results:
            results["tfmot"] |= tfmot_accounts(results["tfmot"], plan)
        config = {**plan, "parallel": args.processes}
        return {
            "versions": versions,
            "config": config,
            "notes": about(plan, results),
            "results": results,
        }

    script.write(args, args.name, measure, describe)


def _after(method: str) -> str | None:
    return "dense" if method == "woodfisher" else None


if __name__ == "__main__":
    main()
