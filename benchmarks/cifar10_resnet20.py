r"""ResNet-20 on CIFAR-10: sparse training methods at equal epochs.

The committed results are those of

    python benchmarks/cifar10_resnet20.py --width 8 --images 20000 --epochs 20
    python benchmarks/cifar10_resnet20.py --width 8 --images 20000 --epochs 20 --sparsity 0.95 \
        --name cifar10_resnet20_95 --methods dense acdc gmp rigl top_kast dpf str snip \
        one_shot woodfisher tfmot

What was interrupted goes on from its last epoch, but for `tfmot`, which begins anew. It needs
`pip install keras-sparse[tfmot]`, here or in an environment whose interpreter `--tfmot-python`
names. CIFAR-10 is looked for as `keras_sparse.data.load` does.
"""

import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import tfmot
from acdc_phases import phases

import keras_sparse as ks
from keras_sparse.data import batches
from keras_sparse.experiments import benchmark as bench

SETTINGS = {
    **{"width": 16, "images": 50000, "epochs": 100, "sparsity": 0.9, "seed": 0},
    **{"batch": 128, "learning_rate": 0.1, "learning_rate_schedule": "cosine to 0"},
    **{"momentum": 0.9, "weight_decay": 5e-4, "batch_norm_momentum": 0.9, "monitored": 1000},
}
# By its name the label of a method, and what makes it of the plan.
METHODS = {
    "dense": ("dense", None),
    # Phases of one epoch, which were the default when the results were made.
    "acdc": ("AC/DC", lambda p: ks.ACDC(p.sparsity, phases("one epoch", p.epochs))),
    "gmp": ("GMP", lambda p: ks.GMP(p.sparsity, p.gradual)),
    "gmp_uniform": (
        "GMP, same in each layer",
        lambda p: ks.GMP(p.sparsity, p.gradual, allocation="uniform"),
    ),
    "tfmot": ("tfmot", None),
    "one_shot": ("one-shot, then fine-tuning", lambda p: ks.GMP(p.sparsity, p.at_once)),
    "random": (
        "static random mask",
        lambda p: ks.StaticMask(p.sparsity, mask="random", seed=p.seed),
    ),
    "rigl": ("RigL, ERK layers", lambda p: ks.RigL(p.sparsity, seed=p.seed)),
    "top_kast": (
        "Top-KAST (all layers ranked together)",
        lambda p: ks.TopKAST(p.sparsity, allocation="global"),
    ),
    "dpf": ("DPF", lambda p: ks.DPF(p.sparsity)),
    # It has no sparsity to ask for: that follows from these.
    "str": ("STR", lambda p: ks.STR(threshold=0.3, weight_decay=0.22, momentum=0.0)),
    "snip": ("SNIP", lambda p: ks.SNIP(p.sparsity, p.calibration)),
    "woodfisher": ("WoodFisher, no fine-tuning", None),
}
COLUMNS = {
    "test accuracy": bench.cell("test_accuracy", ".2%"),
    "sparsity": bench.cell("sparsity", ".2%"),
    "inference FLOPs": bench.cell("inference_flops_ratio", ".1%"),
    "training FLOPs": bench.cell("train_flops_ratio", ".1%"),
    "first layer": bench.cell(lambda run: run["layer_sparsity"]["stem/kernel"], ".1%"),
    "last layer": bench.cell(lambda run: run["layer_sparsity"]["logits/kernel"], ".1%"),
    "CPU s": bench.cell("cpu_seconds", ".0f"),
}
NOTES = (
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
    "Without options the script trains the full recipe: width 16, 50,000 images, 100 epochs. In "
    "fewer steps than its 39,100 (here {steps:,}) accuracies are far from converged.",
)
NOTES_ON = {
    "str": "STR's sparsity follows from the weight decay of its thresholds.",
    "woodfisher": "WoodFisher prunes the dense model at once with 1,000 training images, on which "
    "batch normalization is tuned afterwards; its CPU seconds come after those of the dense run.",
}


def planned(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings, and the steps that follow from them, of which tfmot counts whole intervals."""
    per_epoch = -(-settings["images"] // settings["batch"])
    steps = settings["epochs"] * per_epoch
    every = max(1, min(100, steps // 20))
    begin = steps // 5 // every * every
    times = {"begin": begin, "end": begin + int(0.6 * steps) // every * every, "every": every}
    one_shot = round(0.7 * settings["epochs"]) * per_epoch
    return {**settings, "steps": steps, "schedule": times, "one_shot": one_shot}


def started(plan: dict) -> tuple[ks.data.Dataset, keras.Model]:
    """The data and the model before its first step."""
    keras.utils.set_random_seed(plan["seed"])
    cifar = ks.data.load("cifar10", limit=plan["images"], seed=plan["seed"])
    model = ks.models.resnet20(width=plan["width"], seed=plan["seed"])
    rate = bench.warm_cosine(plan["learning_rate"], plan["steps"])
    return cifar, bench.compiled(model, rate, weight_decay=plan["weight_decay"])


def run(plan: dict, folder: Path) -> dict[str, Any]:
    """Trains with a method."""
    cifar, model = started(plan)
    given = SimpleNamespace(**plan, calibration=(cifar.x_train[:1000], cifar.y_train[:1000]))
    given.gradual = ks.Polynomial(*(f"{plan['schedule'][k]}st" for k in ("begin", "end", "every")))
    given.at_once = ks.OneShot(f"{plan['one_shot']}st")
    make = METHODS[plan["method"]][1]
    fit = {"epochs": plan["epochs"], "batch_size": plan["batch"], "seed": plan["seed"]}
    fit["validation_data"] = tuple(side[: plan["monitored"]] for side in cifar.test)
    fit |= {"validation_batch_size": 500, "callbacks": [make(given)] if make else []}
    result = bench.trained(model, cifar, folder, augment=True, **fit)
    model.save_weights(folder / "model.weights.h5")
    return result


def woodfisher(plan: dict, folder: Path) -> dict[str, Any]:
    """Prunes what the dense run has trained."""
    cifar, model = started(plan)
    model.load_weights(folder.with_name(plan["after"]) / "model.weights.h5")
    began = time.process_time()
    ks.woodfisher(model, (cifar.x_train[:1000], cifar.y_train[:1000]), sparsity=plan["sparsity"])
    ks.batch_norm_tuning(model, cifar.x_train[:1000])
    spent = {"cpu_seconds": time.process_time() - began, "train_flops_ratio": 1.0}
    return {**bench.outcome(model, cifar.test), **spent, "history": []}


def export(plan: dict, folder: Path) -> dict:
    """Leaves data and initial weights to tfmot's process, which cannot import keras_sparse."""
    cifar, model = started(plan)
    tested = dict(zip(("x_test", "y_test"), cifar.test, strict=True))
    np.savez(folder / "data.npz", x_train=cifar.x_train, y_train=cifar.y_train, **tested)
    # By layer and place, as the two Kerases may order a model's variables differently.
    weights = {layer.name: layer.get_weights() for layer in model.layers}
    named = {f"{name}/{i}": value for name in weights for i, value in enumerate(weights[name])}
    np.savez(folder / "weights.npz", **named)
    return {}


def from_tfmot(plan: dict, folder: Path) -> dict[str, Any]:
    """What tfmot has trained, tested and counted as all others are."""
    cifar, model = started(plan)
    trained = folder.with_name(plan["after"])
    with np.load(trained / "weights.npz") as weights:
        for layer in model.layers:
            layer.set_weights([weights[f"{layer.name}/{i}"] for i in range(len(layer.weights))])
    result = json.loads((trained / "result.json").read_text())
    # Its gradients are dense: two passes on the nonzero weights and one on all of them.
    costs = [(2 * (1 - row["sparsity"]) + 1) / 3 for row in result["history"]]
    outcome = bench.outcome(model, cifar.test)
    return {**outcome, **result, "train_flops_ratio": bench.mean(costs)}


def describe(content: dict) -> bench.Document:
    title = (
        "CIFAR-10, ResNet-20 of width {width}, {images:,} training images, "
        "{epochs} epochs, {sparsity:.0%} sparsity"
    ).format(**content["config"])
    results = {METHODS[method][0]: result for method, result in content["results"].items()}
    runs = {label: [result] for label, result in results.items()}
    curves = {"accuracy on test images": {}, "sparsity": {}}
    for label, result in results.items():
        for curve, key in zip(curves.values(), ("val_accuracy", "sparsity"), strict=True):
            curve[label] = [row.get(key, 0.0) for row in result["history"]]
    blocks = [bench.by_variant(title, "method", COLUMNS, runs), bench.notes(content["notes"])]
    picture = bench.lines(curves, "epoch", title=title)
    return bench.Document(title, blocks, picture, "accuracy and sparsity by epoch")


if __name__ == "__main__":
    options = {name: SETTINGS[name] for name in ("width", "images", "epochs", "sparsity")}
    options |= {"methods": tuple(METHODS)[:7], "name": str, "tfmot_python": sys.executable}
    script = bench.Script(__doc__, choices={"methods": METHODS}, **options)
    plan, asked = planned(script.chosen(SETTINGS)), script.args.methods
    versions, python = {}, script.args.tfmot_python
    wanted = dict.fromkeys(("dense", *asked) if "woodfisher" in asked else asked)
    variants = {method: bench.Variant({**plan, "method": method}) for method in wanted}
    if "woodfisher" in asked:
        variants["woodfisher"] = bench.Variant(plan, woodfisher, after="dense")
    if "tfmot" in asked and not script.args.report_only:
        versions = tfmot.versions(python)
        variants["exported"] = bench.Variant(plan, export)
        legacy = {**plan, "pipeline": batches.__file__}
        variants["legacy"] = tfmot.variant("legacy_tfmot.py:run", legacy, python, "exported")
        variants["tfmot"] = bench.Variant(plan, from_tfmot, after="legacy")

    def kept(found: bench.Results) -> dict[str, Any]:
        results = {method: found[method][0] for method in METHODS if method in asked}
        told = [*NOTES, *(note for method, note in NOTES_ON.items() if method in results)]
        told = [note.format(**plan) for note in told]
        return {"versions": versions, "notes": told, "results": results}

    study = bench.Study(variants, [plan["seed"]], run)
    script.study(study, describe, plan, kept, name=script.args.name)
