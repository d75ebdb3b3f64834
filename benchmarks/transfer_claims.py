"""What else is stated of sparse transfer: label smoothing, kept features, sparse teachers.

    python benchmarks/transfer_claims.py

- `smoothing`: a dense network trained on Fashion-MNIST with and without label smoothing of 0.1, put
  to MNIST by its head alone (Peste 2023, B.7.1);
- `features`: an epoch of linear transfer on features that are kept, and on those that each batch
  computes anew;
- `teachers`: a small network beside a larger teacher that is dense, pruned or absent (4.6).

Networks are trained with SGD with momentum, all of one part equally long.
"""

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

import keras_sparse as ks
from keras_sparse.experiments import benchmark as bench
from keras_sparse.experiments.networks import NETWORKS
from keras_sparse.experiments.transfer_config import load_task

EPOCHS, BATCH, HEAD = 8, 64, "logits"
SMOOTHING = {"plain labels": 0.0, "label smoothing": 0.1}
TASKS = ("mnist", "mnist:4+7+9")
TEACHERS = {"none": None, "dense": 0.0, "80 % zeros": 0.8, "90 % zeros": 0.9}


def fit(
    model: keras.Model, data: tuple, callbacks: list | None = None, smoothing: float = 0.0
) -> keras.Model:
    """Trains a classifier of logits as all here are."""
    x, y = data
    rate = bench.warm_cosine(0.05, EPOCHS * -(-len(y) // BATCH))
    bench.compiled(model, rate, weight_decay=5e-4, clipnorm=1.0)
    if smoothing:
        y = keras.utils.to_categorical(y)
        loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
        metrics = [keras.metrics.CategoricalAccuracy("accuracy")]
        model.compile(model.optimizer, loss, metrics=metrics)
    given = {"batch_size": BATCH, "epochs": EPOCHS, "callbacks": callbacks or [], "verbose": 0}
    model.fit(x, y, **given)
    return bench.compiled(model, 0.0, batch_norm_momentum=None)


def images(task: str, count: int, seed: int) -> tuple[tuple, tuple]:
    """Images of a task and their labels, to train and to test with."""
    data = load_task(task, count, seed)
    return data.train, tuple(part[:1000] for part in data.test)


def head_accuracy(model: keras.Model, train: tuple, test: tuple, dense: bool, seed: int) -> float:
    """That of a new head on features that stay as they are."""
    how = {"dense": dense, "epochs": 60, "learning_rate": 0.05, "seed": seed, "verbose": 0}
    return bench.accuracy(ks.transfer.linear(model, *train, **how).model, test)


def smoothing(seed: int) -> dict[str, Any]:
    """Accuracies upstream, and of heads trained on MNIST and on three of its digits."""
    train, test = images("fashion_mnist", 6000, seed)
    found = {}
    for name, amount in SMOOTHING.items():
        keras.utils.set_random_seed(seed)
        model = fit(NETWORKS["conv"](train[0].shape[1:], 10), train, smoothing=amount)
        found[name] = {"upstream": bench.accuracy(model, test)}
        for task in TASKS:
            found[name][task] = head_accuracy(model, *images(task, 1000, seed), True, seed)
    return found


def features(seed: int) -> dict[str, Any]:
    """Median seconds of an epoch."""
    train, _ = images("cifar10", 2000, seed)
    keras.utils.set_random_seed(seed)
    model = NETWORKS["conv"](train[0].shape[1:], 10)
    found = {}
    for kind in ("offline", "online"):
        how = {"dense": True, "epochs": 9, "seed": seed, "verbose": 0}
        made = ks.transfer.linear(model, *train, features=kind, **how)
        found[kind] = {"seconds": statistics.median(made.epoch_seconds[1:])}
    return found


def teachers(seed: int) -> dict[str, Any]:
    """Accuracies of teachers, and of their students."""
    train, test = images("fashion_mnist", 6000, seed)
    shape = train[0].shape[1:]
    keras.utils.set_random_seed(seed)
    dense = fit(NETWORKS["conv"](shape, 10), train)
    found = {}
    for name, zeros in TEACHERS.items():
        teacher = dense
        if zeros:
            teacher = keras.models.clone_model(dense)
            teacher.set_weights(dense.get_weights())
            fit(teacher, train, [ks.GMP(zeros, exclude=HEAD)])
        keras.utils.set_random_seed(seed)
        beside = [] if zeros is None else [ks.Distillation(teacher)]
        student = fit(NETWORKS["small-conv"](shape, 10), train, beside)
        found[name] = {"student": bench.accuracy(student, test)}
        if zeros is not None:
            found[name]["teacher"] = bench.accuracy(teacher, test)
    return found


PARTS = {"smoothing": smoothing, "features": features, "teachers": teachers}


def run(config: dict, folder: Path) -> dict[str, Any]:
    return PARTS[config["part"]](config["seed"])


def told(claim: str, wanted: str, measured: str, holds: bool) -> tuple[str, ...]:
    return claim, wanted, measured, "holds" if holds else "does not hold"


def claims(results: dict[str, list[dict]]) -> bench.Table:
    """Those of the specification, for the parts that were run."""
    rows = []

    def difference(part: str, one: str, other: str, what: Callable[[dict], float]) -> list[float]:
        return [100 * (what(each[one]) - what(each[other])) for each in results[part]]

    if "smoothing" in results:
        lost = difference(
            "smoothing", *SMOOTHING, lambda of: bench.mean([of[task] for task in TASKS])
        )
        shown = f"{bench.mean(lost):+.2f} ± {bench.spread(lost):.2f}"
        claim = "label smoothing lowers the mean accuracy of heads, points"
        rows.append(told(claim, ">= 0", shown, bench.mean(lost) >= 0))
    if "features" in results:
        ratios = [
            each["online"]["seconds"] / each["offline"]["seconds"] for each in results["features"]
        ]
        claim = "an epoch on kept features is sooner done, times"
        rows.append(told(claim, ">= 5", f"{min(ratios):.1f} at least", min(ratios) >= 5))
    if "teachers" in results:
        lost = difference("teachers", "dense", "80 % zeros", lambda of: of["student"])
        shown = f"{bench.mean(lost):+.2f} ± {bench.spread(lost):.2f}"
        claim = "the student of a teacher of 80 % zeros behind that of the dense one, points"
        rows.append(told(claim, "<= 1", shown, bench.mean(lost) <= 1))
    return bench.Table("Claims", ("claim", "wanted", "measured", ""), rows)


def describe(content: dict) -> bench.Document:
    results = content["results"]
    blocks: list[str | bench.Table] = [claims(results)]
    for part, runs in results.items():
        by_name = {name: [each[name] for each in runs] for name in runs[0]}
        columns: dict[str, bench.Cell] = {}
        for what in dict.fromkeys(key for of in runs[0].values() for key in of):
            columns[f"{what}, %"] = of_accuracy(what)
        if part == "features":
            columns = {"ms of an epoch": bench.cell(lambda r: 1000 * r["seconds"], ".0f")}
        blocks += [f"{part}:", bench.by_variant(part, part, columns, by_name)]
    blocks.append(f"{len(runs)} seeds; after ± the sample standard deviation.")
    return bench.Document("Statements about sparse transfer", blocks)


def of_accuracy(what: str) -> bench.Cell:
    return lambda runs: bench.percent([run[what] for run in runs]) if what in runs[0] else ""


if __name__ == "__main__":
    script = bench.Script(__doc__, only=PARTS, seeds=3)
    variants = {part: bench.Variant({"part": part}) for part in script.args.only}
    script.study(bench.Study(variants, range(script.args.seeds), run), describe)
