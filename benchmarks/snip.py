"""SNIP against its own dense reference on MNIST, as its source trains.

    python benchmarks/snip.py

LeNet-300-100 at 95 % zeros and LeNet-5-Caffe at 98 % (Lee 2020, Table 3.1), three seeds: weights
from a variance-scaling distribution, scored on one batch of 100 images, then SGD with momentum 0.9,
batches of 100, a learning rate that falls to a tenth after two thirds of the steps, and an L2
penalty of 0.00025. The learning rate is the source's 0.1 for LeNet-300-100 and 0.02 for
LeNet-5-Caffe, whose dense training diverges at 0.1 (`--learning-rate 0.1 --models lenet5` shows
it). One image in ten is kept from training, as in the source, and not used.

    python benchmarks/snip.py --variants --models lenet300 --steps 10000 --seeds 2

compares what else the source has, Chapter 4: scores on all training images, orthogonal weights
(LDI) to begin with, isometry after pruning, scores without labels, and all of these together; and
beside the accuracy after the last step the largest of every 1,000 steps, which the source reports.
"""

from pathlib import Path

import keras
import numpy as np

import keras_sparse as ks
from keras_sparse.experiments import benchmark as bench

CLAIM = bench.Claim("snip", "dense", -0.5)
METHODS = ("dense", "snip")
# What each variant has of: all images to score on, orthogonal weights, isometry, and no labels.
VARIANTS = {
    "dense": (),
    "dense, LDI": ("ldi",),
    "SNIP, one batch": ("snip",),
    "SNIP": ("snip", "all"),
    "SNIP, isometry": ("snip", "all", "isometry"),
    "SNIP, LDI": ("snip", "all", "ldi"),
    "SNIP, LDI, isometry": ("snip", "all", "ldi", "isometry"),
    "SNIP, LDI, isometry, uniform": ("snip", "all", "ldi", "isometry", "uniform"),
}
EVALUATED_EVERY = 1000
STEPS_PER_EXECUTION = 50
SETTINGS = {
    "lenet300": {"label": "LeNet-300-100", "sparsity": 0.95, "learning_rate": 0.1, "steps": 40000},
    "lenet5": {"label": "LeNet-5-Caffe", "sparsity": 0.98, "learning_rate": 0.02, "steps": 10000},
}
# The source's accuracies, dense and of SNIP.
SOURCE = {"lenet300": "98.3, 98.4", "lenet5": "99.1, 99.2"}


def run(config: dict, folder: Path) -> dict[str, float]:
    """Accuracy on the test images, its largest of every 1,000 steps, and the fraction of zeros."""
    parts = config["parts"] if "parts" in config else [config["method"]]
    seed, steps, peak = config["seed"], config["steps"], config["learning_rate"]
    keras.utils.set_random_seed(seed)
    mnist = ks.data.load("mnist", limit=54000, seed=seed)
    model = ks.models.get(config["model"], input_shape=mnist.input_shape, seed=seed)
    draw = keras.initializers.VarianceScaling
    for i, weight in enumerate(model.trainable_variables):
        if len(weight.shape) > 1:
            weight.assign(draw(seed=1000 * seed + i)(weight.shape))
        weight.regularizer = keras.regularizers.L2(0.00025)
    if "ldi" in parts:
        ks.init_ldi(model, seed=seed)
    rate = keras.optimizers.schedules.PiecewiseConstantDecay([2 * steps // 3], [peak, peak / 10])
    bench.compiled(model, rate, steps_per_execution=STEPS_PER_EXECUTION)
    first = np.random.default_rng(seed).choice(len(mnist.x_train), 100, replace=False)
    data = mnist.train if "all" in parts else (mnist.x_train[first], mnist.y_train[first])
    scored = {"loss": "uniform"} if "uniform" in parts else {}
    snip = {"batch_size": 1000, "isometry": "isometry" in parts, **scored}
    method = [ks.SNIP(config["sparsity"], data, **snip)] if "snip" in parts else []
    epochs = steps // EVALUATED_EVERY if "parts" in config else 1
    watched = {"validation_data": mnist.test, "validation_batch_size": 1000} if epochs > 1 else {}
    history = model.fit(
        ks.data.pipeline(*mnist.train, batch_size=100, seed=seed).repeat(),
        steps_per_epoch=steps // epochs,
        epochs=epochs,
        **watched,
        shuffle=False,
        verbose=0,
        callbacks=[keras.callbacks.TerminateOnNaN(), *method],
    )
    if not np.isfinite(history.history["loss"][-1]):
        raise FloatingPointError(f"Training diverged: {config}")
    accuracy = bench.accuracy(model, mnist.test)
    return {
        "accuracy": accuracy,
        "best": max(history.history.get("val_accuracy", [accuracy])),
        "sparsity": ks.report(model).sparsity,
    }


def describe_variants(content: dict) -> bench.Document:
    """All variants against the dense network of the same seeds, by both ways of reporting."""
    rows = []
    for name, setting in content["settings"].items():
        runs = {each: content["runs"][f"{name} {each}"] for each in VARIANTS}
        for each, of_variant in runs.items():
            cells = []
            for key in ("accuracy", "best"):
                dense, own = ([run[key] for run in of] for of in (runs["dense"], of_variant))
                below = [one - other for one, other in zip(dense, own, strict=True)]
                cells += [bench.percent(own), bench.percent(below)]
            zeros = f"{np.mean([run['sparsity'] for run in of_variant]):.0%}"
            rows.append((setting["label"], each, zeros, *cells))
    header = ("network", "variant", "zeros", "last, %", "below dense")
    header = (*header, "largest, %", "below dense")
    text = (
        f"Test accuracy, mean over {len(of_variant)} seeds and sample standard deviation; "
        f"{setting['steps']:,} steps of 100 images. The largest is that of every "
        f"{EVALUATED_EVERY:,} steps, chosen on the test images. SNIP scores on all 54,000 training "
        "images where nothing else is said."
    )
    title = "SNIP with what its source adds to it"
    return bench.Document(title, [bench.Table(title, header, rows), text])


def describe(content: dict) -> bench.Document:
    if content.get("variants"):
        return describe_variants(content)
    rows = []
    # What was measured before settings were written down used those above.
    for name, setting in content.get("settings", SETTINGS).items():
        zeros, steps = f"{setting['sparsity']:.0%}", f"{setting['steps']:,}"
        runs = (content["runs"][f"{name} {method}"] for method in METHODS)
        dense, snip = ([run["accuracy"] for run in of_method] for of_method in runs)
        below = [one - other for one, other in zip(dense, snip, strict=True)]
        measured = map(bench.percent, (dense, snip, below))
        shown = setting["label"], zeros, steps, f"{setting['learning_rate']:g}"
        rows.append((*shown, *measured, CLAIM.cells(snip, dense)[-1], SOURCE[name]))
    header = ("network", "zeros", "steps", "learning rate", "dense, %", "SNIP, %", "points below")
    header = (*header, f"at most {-CLAIM.margin}", "the source's two, %")
    title = "SNIP against its own dense reference on MNIST"
    seeds = f"mean over {len(dense)} seeds and sample standard deviation"
    text = f"Test accuracy after the last step, {seeds};\na step is of 100 images."
    return bench.Document(title, [bench.Table(title, header, rows), text])


if __name__ == "__main__":
    script = bench.Script(
        __doc__, models=SETTINGS, steps=int, learning_rate=float, seeds=3, variants=False
    )
    settings = {model: script.chosen(SETTINGS[model]) for model in script.args.models}
    if (script.args.steps or 0) % STEPS_PER_EXECUTION:
        script.parser.error(f"--steps is a multiple of {STEPS_PER_EXECUTION}")
    whole = script.args.variants
    if whole and any(setting["steps"] % EVALUATED_EVERY for setting in settings.values()):
        script.parser.error(f"--steps is a multiple of {EVALUATED_EVERY}")
    of = {name: {"parts": list(parts)} for name, parts in VARIANTS.items()} if whole else {}
    of = of or {method: {"method": method} for method in METHODS}
    variants = {
        f"{model} {method}": bench.Variant({**setting, "model": model, **more})
        for model, setting in settings.items()
        for method, more in of.items()
    }
    study = bench.Study(variants, range(script.args.seeds), run)
    script.study(
        study,
        describe,
        content=lambda found: {
            "settings": settings,
            **({"variants": True} if whole else {}),
            "runs": found,
        },
        name="snip_variants" if whole else "snip",
    )
