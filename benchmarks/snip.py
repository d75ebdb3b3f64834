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

import argparse
import json
import os
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import writing
from processes import HERE, run_script
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import keras_sparse as ks

NAME = "snip"


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
METHODS = ("dense", "snip")
STEPS_PER_EXECUTION = 50
LIMIT = 0.5  # points below the dense reference


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--steps", type=int, help="instead of 40,000 and 10,000")
    parser.add_argument("--learning-rate", type=float, help="instead of 0.1 and 0.02")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=2, help="runs at a time")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    parser.add_argument("--report-only", action="store_true", help="report what is finished")
    parser.add_argument("--run", nargs=3, metavar=("MODEL", "METHOD", "SEED"), help="(internal)")
    args = parser.parse_args()
    if args.steps is not None and args.steps % STEPS_PER_EXECUTION:
        parser.error(f"--steps is a multiple of {STEPS_PER_EXECUTION}")
    return args


def setting_of(model: str, args: argparse.Namespace) -> Setting:
    """How a network trains, with what the command line changes."""
    setting = SETTINGS[model]
    return setting._replace(
        steps=args.steps or setting.steps, learning_rate=args.learning_rate or setting.learning_rate
    )


def result_path(model: str, method: str, seed: int, setting: Setting) -> Path:
    name = f"{model}-{method}-{setting.steps}st-lr{setting.learning_rate}-seed{seed}.json"
    return HERE / "build" / NAME / name


def train(name: str, method: str, seed: int, setting: Setting) -> dict[str, float]:
    """Accuracy on the test images, and the fraction of zeros."""
    steps, peak = setting.steps, setting.learning_rate
    keras.utils.set_random_seed(seed)
    mnist = ks.data.load("mnist", limit=54000, seed=seed)
    model = ks.models.get(name, input_shape=mnist.input_shape, seed=seed)
    draw = keras.initializers.VarianceScaling
    for i, weight in enumerate(model.trainable_variables):
        if len(weight.shape) > 1:
            weight.assign(draw(seed=1000 * seed + i)(weight.shape))
        weight.regularizer = keras.regularizers.L2(0.00025)
    rate = keras.optimizers.schedules.PiecewiseConstantDecay([2 * steps // 3], [peak, peak / 10])
    model.compile(
        keras.optimizers.SGD(rate, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.SparseCategoricalAccuracy("accuracy")],
        steps_per_execution=STEPS_PER_EXECUTION,
    )
    first = np.random.default_rng(seed).choice(len(mnist.x_train), 100, replace=False)
    data = mnist.x_train[first], mnist.y_train[first]
    batches = ks.data.pipeline(*mnist.train, batch_size=100, seed=seed).repeat()
    history = model.fit(
        batches,
        steps_per_epoch=steps,
        shuffle=False,
        verbose=0,
        callbacks=[
            keras.callbacks.TerminateOnNaN(),
            *([ks.SNIP(setting.sparsity, data)] if method == "snip" else []),
        ],
    )
    if not np.isfinite(history.history["loss"][-1]):
        raise SystemExit(f"{name}, {method}, seed {seed}: training diverged.")
    _, accuracy = model.evaluate(*mnist.test, batch_size=500, verbose=0)
    return {"accuracy": accuracy, "sparsity": ks.report(model).sparsity}


def run_all(args: argparse.Namespace) -> None:
    todo = [
        (model, method, seed)
        for model in args.models
        for seed in range(args.seeds)
        for method in METHODS
        if not result_path(model, method, seed, setting_of(model, args)).exists()
    ]
    (HERE / "build" / NAME).mkdir(parents=True, exist_ok=True)

    def run(model: str, method: str, seed: int) -> int:
        setting = setting_of(model, args)
        words = ["--steps", str(setting.steps), "--learning-rate", str(setting.learning_rate)]
        words += ["--run", model, method, str(seed)]
        log = result_path(model, method, seed, setting).with_suffix(".log")
        with log.open("w") as file:
            return run_script("snip.py", words, file, threads=1)

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with (
        Progress(*columns, TimeElapsedColumn()) as progress,
        ThreadPoolExecutor(args.processes) as pool,
    ):
        task = progress.add_task("runs", total=len(todo))
        running = {pool.submit(run, *each): each for each in todo}
        for done in as_completed(running):
            if done.result():
                progress.console.print(f"{running[done]} failed, see {HERE / 'build' / NAME}")
            progress.advance(task)


def report(args: argparse.Namespace) -> None:
    rows, found = [], {}
    for name in args.models:
        setting = setting_of(name, args)
        accuracies = {}
        for method in METHODS:
            paths = [result_path(name, method, seed, setting) for seed in range(args.seeds)]
            if not all(path.exists() for path in paths):
                raise SystemExit(
                    f"Not finished: {name}, {method}. If its logs in {paths[0].parent} do not say "
                    "that training diverged, give the same command again."
                )
            results = [json.loads(path.read_text()) for path in paths]
            accuracies[method] = 100 * np.array([result["accuracy"] for result in results])
            found[f"{name} {method}"] = results
        below = accuracies["dense"] - accuracies["snip"]
        rows.append(
            (
                setting.label,
                f"{setting.sparsity:.0%}",
                f"{setting.steps:,}",
                f"{setting.learning_rate:g}",
                *(f"{accuracies[m].mean():.2f} ± {accuracies[m].std(ddof=1):.2f}" for m in METHODS),
                f"{below.mean():.2f} ± {below.std(ddof=1):.2f}",
                "holds" if below.mean() <= LIMIT else "does not hold",
                f"{100 - setting.dense_error:.1f}, {100 - setting.error:.1f}",
            )
        )
    header = (
        "network",
        "zeros",
        "steps",
        "learning rate",
        "dense, %",
        "SNIP, %",
        "points below",
        f"at most {LIMIT}",
        "the source's two, %",
    )
    title = "SNIP against its own dense reference on MNIST"
    text = f"""# {title}

`{writing.command()}` on {writing.machine()}.

{writing.markdown_table(header, rows)}

Test accuracy after the last step, mean over {args.seeds} seeds and sample standard deviation;
a step is of 100 images.
"""
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / f"{NAME}.md").write_text(text)
    content = {"command": writing.command(), "versions": writing.versions(), "runs": found}
    writing.write_json(args.out / f"{NAME}.json", content)
    writing.print_table(title, header, rows)


def main() -> None:
    args = arguments()
    if args.run:
        model, method, seed = args.run[0], args.run[1], int(args.run[2])
        setting = setting_of(model, args)
        result = train(model, method, seed, setting)
        result_path(model, method, seed, setting).write_text(json.dumps(result))
        return
    if not args.report_only:
        run_all(args)
    report(args)


if __name__ == "__main__":
    main()
