"""SNIP against its own dense reference on MNIST, as its source trains.

    python benchmarks/snip.py

LeNet-300-100 at 95 % zeros and LeNet-5-Caffe at 98 % (Lee 2020, Table 3.1), three seeds: weights
from a variance-scaling distribution, scored on one batch of 100 images, then SGD with momentum 0.9,
batches of 100, a learning rate that falls to a tenth after two thirds of the steps, and an L2
penalty of 0.00025. The learning rate is the source's 0.1 for LeNet-300-100 and 0.02 for
LeNet-5-Caffe, whose dense training diverges at 0.1 (`--learning-rate 0.1 --models lenet5` shows
it). One image in ten is kept from training, as in the source, and not used.
"""

from pathlib import Path

import keras
import numpy as np

import keras_sparse as ks
from keras_sparse.experiments import benchmark as bench

CLAIM = bench.Claim("snip", "dense", -0.5)
METHODS = ("dense", "snip")
STEPS_PER_EXECUTION = 50
SETTINGS = {
    "lenet300": {"label": "LeNet-300-100", "sparsity": 0.95, "learning_rate": 0.1, "steps": 40000},
    "lenet5": {"label": "LeNet-5-Caffe", "sparsity": 0.98, "learning_rate": 0.02, "steps": 10000},
}
# The source's accuracies, dense and of SNIP.
SOURCE = {"lenet300": "98.3, 98.4", "lenet5": "99.1, 99.2"}


def run(config: dict, folder: Path) -> dict[str, float]:
    """Accuracy on the test images, and the fraction of zeros."""
    seed, steps, peak = config["seed"], config["steps"], config["learning_rate"]
    keras.utils.set_random_seed(seed)
    mnist = ks.data.load("mnist", limit=54000, seed=seed)
    model = ks.models.get(config["model"], input_shape=mnist.input_shape, seed=seed)
    draw = keras.initializers.VarianceScaling
    for i, weight in enumerate(model.trainable_variables):
        if len(weight.shape) > 1:
            weight.assign(draw(seed=1000 * seed + i)(weight.shape))
        weight.regularizer = keras.regularizers.L2(0.00025)
    rate = keras.optimizers.schedules.PiecewiseConstantDecay([2 * steps // 3], [peak, peak / 10])
    bench.compiled(model, rate, steps_per_execution=STEPS_PER_EXECUTION)
    first = np.random.default_rng(seed).choice(len(mnist.x_train), 100, replace=False)
    data = mnist.x_train[first], mnist.y_train[first]
    method = [ks.SNIP(config["sparsity"], data)] if config["method"] == "snip" else []
    history = model.fit(
        ks.data.pipeline(*mnist.train, batch_size=100, seed=seed).repeat(),
        steps_per_epoch=steps,
        shuffle=False,
        verbose=0,
        callbacks=[keras.callbacks.TerminateOnNaN(), *method],
    )
    if not np.isfinite(history.history["loss"][-1]):
        raise FloatingPointError(f"Training diverged: {config}")
    return {"accuracy": bench.accuracy(model, mnist.test), "sparsity": ks.report(model).sparsity}


def describe(content: dict) -> bench.Document:
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
    script = bench.Script(__doc__, models=SETTINGS, steps=int, learning_rate=float, seeds=3)
    settings = {model: script.chosen(SETTINGS[model]) for model in script.args.models}
    if (script.args.steps or 0) % STEPS_PER_EXECUTION:
        script.parser.error(f"--steps is a multiple of {STEPS_PER_EXECUTION}")
    variants = {
        f"{model} {method}": bench.Variant({**setting, "model": model, "method": method})
        for model, setting in settings.items()
        for method in METHODS
    }
    study = bench.Study(variants, range(script.args.seeds), run)
    script.study(study, describe, content=lambda found: {"settings": settings, "runs": found})
