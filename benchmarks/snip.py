"""SNIP against its own dense reference on MNIST, as its source trains.

    python benchmarks/snip.py

LeNet-300-100 at 95 % zeros and LeNet-5-Caffe at 98 % (Lee 2020, Table 3.1), three seeds: weights
from a variance-scaling distribution, scored on one batch of 100 images, then SGD with momentum 0.9,
batches of 100, a learning rate that falls to a tenth after two thirds of the steps, and an L2
penalty of 0.00025. The learning rate is the source's 0.1 for LeNet-300-100 and 0.02 for
LeNet-5-Caffe, whose dense training diverges at 0.1 (`--learning-rate 0.1 --models lenet5` shows
it). One image in ten is kept from training, as in the source, and not used. The dense reference
trains in just the same way. Each run is a process of its own with one thread, two at a time; what
is finished is not run again, so the command may be repeated.
"""

from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
from networks import compiled

import keras_sparse as ks
from keras_sparse.experiments.claims import Claim
from keras_sparse.experiments.document import Document, Script, Table
from keras_sparse.experiments.study import Study, Variant

HERE = Path(__file__).parent


class Setting(NamedTuple):
    """A network, its sparsity, how it trains, and the source's errors in percent."""

    label: str
    sparsity: float
    learning_rate: float
    steps: int
    error: float
    dense_error: float


SETTINGS = {
    "lenet300": Setting("LeNet-300-100", 0.95, 0.1, 40000, 1.6, 1.7),
    "lenet5": Setting("LeNet-5-Caffe", 0.98, 0.02, 10000, 0.8, 0.9),
}
CLAIM = Claim("snip", "dense", -0.5)
METHODS = ("dense", "snip")
STEPS_PER_EXECUTION = 50


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
    compiled(model, rate, steps_per_execution=STEPS_PER_EXECUTION)
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
    _, accuracy = model.evaluate(*mnist.test, batch_size=500, verbose=0)
    return {"accuracy": accuracy, "sparsity": ks.report(model).sparsity}


def describe(content: dict) -> Document:
    settings = {name: Setting(*values) for name, values in content["settings"].items()}
    rows = []
    for name, setting in settings.items():
        found = {m: [run["accuracy"] for run in content["runs"][f"{name} {m}"]] for m in METHODS}
        percents = [100 * np.array(found[method]) for method in METHODS]
        spreads = [*percents, percents[0] - percents[1]]
        rows.append(
            (
                setting.label,
                f"{setting.sparsity:.0%}",
                f"{setting.steps:,}",
                f"{setting.learning_rate:g}",
                *(f"{values.mean():.2f} ± {values.std(ddof=1):.2f}" for values in spreads),
                CLAIM.cells(found["snip"], found["dense"])[-1],
                f"{100 - setting.dense_error:.1f}, {100 - setting.error:.1f}",
            )
        )
    header = ("network", "zeros", "steps", "learning rate", "dense, %", "SNIP, %", "points below")
    header = (*header, f"at most {-CLAIM.margin}", "the source's two, %")
    title = "SNIP against its own dense reference on MNIST"
    seeds = len(next(iter(content["runs"].values())))
    text = (
        f"Test accuracy after the last step, mean over {seeds} seeds and sample standard "
        "deviation;\na step is of 100 images."
    )
    return Document(title, [Table(title, header, rows), text])


def main() -> None:
    script = Script(
        __doc__,
        HERE / "results",
        {"models": tuple(SETTINGS)},
        models=tuple(SETTINGS),
        steps=int,
        learning_rate=float,
        seeds=3,
    )
    args = script.parser.parse_args()
    if args.steps is not None and args.steps % STEPS_PER_EXECUTION:
        script.parser.error(f"--steps is a multiple of {STEPS_PER_EXECUTION}")
    named = ("steps", "learning_rate")
    given = {name: getattr(args, name) for name in named if getattr(args, name)}
    settings = {name: SETTINGS[name]._replace(**given) for name in args.models}
    variants = {
        f"{name} {method}": Variant({**settings[name]._asdict(), "model": name, "method": method})
        for name in settings
        for method in METHODS
    }

    def measure() -> dict:
        build = HERE / "build" / "snip"
        runs = Study(variants, range(args.seeds), run).make(build, args.processes)
        return {"settings": settings, "runs": runs}

    # What was measured before this was written down used the settings above.
    script.write(args, "snip", measure, lambda c: describe({"settings": settings, **c}))


if __name__ == "__main__":
    main()
