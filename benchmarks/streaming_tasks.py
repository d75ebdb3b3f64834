"""Several data sets one after the other: the four ways to replay, and training one by one.

    python benchmarks/streaming_tasks.py

A small convolutional trunk with a head each learns MNIST, Fashion-MNIST and scikit-learn's digits,
enlarged to 28 x 28, class after class (Wolfe 2023, 5.6.3 and D.2.5). Beside it a network of its own
for each data set, trained offline.
"""

from pathlib import Path
from typing import Any

import keras
import numpy as np

import keras_sparse as ks
from keras_sparse.experiments import benchmark as bench
from keras_sparse.experiments.networks import NETWORKS
from keras_sparse.streaming.learner.offline import train_offline
from keras_sparse.streaming.multi_task import STRATEGIES

TASKS = ("mnist", "fashion_mnist", "digits")
SETTINGS = {"limit": 300, "test": 500, "replay": 60, "offline_epochs": 200}
SETTINGS |= {"batch_norm_momentum": 0.9}
OFFLINE, SHARED = "offline, one by one", "shared statistics"
LABELS = {name: name.replace("_", ", ") for name in STRATEGIES}
CLAIMS = (
    bench.Claim("full, sep", "split, sep", 0.0),
    bench.Claim("full, sum", "split, sum", 0.0),
)
ABOUT = """\
Accuracy in percent on {test} test images of each data set when all have come, {limit} training
images each. `full` replays {replay} images of each data set with every new one, `split` as many in
all; `sep` takes a step for each data set, `sum` one for all. Buffers hold all images. Each data set
is tested with batch-norm statistics of its own; beside it the mean with those of all together."""


def dataset(name: str, config: dict) -> tuple[np.ndarray, np.ndarray, tuple]:
    """Images of 28 x 28 in bytes, their classes, and the test's."""
    data = ks.data.load(name, limit=config["limit"], seed=config["seed"])

    def pixels(x: np.ndarray) -> np.ndarray:
        raw = x * data.std + data.mean
        if name == "digits":
            raw = 15 * np.asarray(keras.ops.image.resize(raw, (28, 28)))
        return np.clip(np.rint(raw), 0, 255).astype("uint8")

    x_test, y_test = (part[: config["test"]] for part in data.test)
    return pixels(data.x_train), data.y_train, (pixels(x_test), y_test)


def scale_of(x: np.ndarray) -> tuple[list[float], list[float]]:
    return [float(x.mean())], [float(x.std())]


def network_of(config: dict) -> keras.Model:
    network = NETWORKS["small-conv"]((28, 28, 1), 10)
    ks.models.set_batch_norm_momentum(network, config["batch_norm_momentum"])
    return network


def run(config: dict, folder: Path) -> dict[str, float]:
    """The accuracy on each data set in the end."""
    keras.utils.set_random_seed(config["seed"])
    found = {name: dataset(name, config) for name in TASKS}
    scales = {name: scale_of(x) for name, (x, _, _) in found.items()}
    if config["strategy"] == OFFLINE:
        return {name: offline(*found[name], scales[name], config) for name in TASKS}
    network = network_of(config)
    trunk = keras.Model(network.inputs, network.get_layer("features").output)
    heads = {name: keras.layers.Dense(10, name=f"{name}_logits") for name in TASKS}
    learner = ks.streaming.MultiTaskStreaming(
        trunk,
        heads,
        strategy=config["strategy"],
        replay_size=config["replay"],
        standardize=scales,
        seed=config["seed"],
    )
    learner.fit_streams({name: (x, y) for name, (x, y, _) in found.items()}, seed=config["seed"])
    tests = {name: test for name, (_, _, test) in found.items()}
    shared = {
        f"{name}, {SHARED}": learner.evaluate(name, *test, shared_statistics=True).accuracy
        for name, test in tests.items()
    }
    return {**shared, **{name: learner.evaluate(name, *tests[name]).accuracy for name in tests}}


def offline(x: np.ndarray, y: np.ndarray, test: tuple, scale: Any, config: dict) -> float:
    """The accuracy of a network of its own."""
    model = network_of(config)
    given = {"classes": 10, "standardize": scale, "seed": config["seed"]}
    train_offline(model, x, y, epochs=config["offline_epochs"], **given)
    return ks.streaming.StreamingLearner(model, standardize=scale).evaluate(*test).accuracy


def describe(content: dict) -> bench.Document:
    runs, config = content["results"], content["config"]
    columns: dict[str, bench.Cell] = {name: of_task(name) for name in TASKS}
    columns["mean"] = lambda of: bench.percent([average(one) for one in of])
    columns[f"mean, {SHARED}"] = mean_shared

    def accuracies(name: str, _: Any) -> list[float]:
        return [average(one) for one in runs.get(name, [])]

    first = {"claim": lambda claim: f"{claim.better} over {claim.worse}"}
    title = "Three data sets, one after the other"
    colors = {name: f"C{i}" for i, name in enumerate(runs)}
    picture = bench.points(
        {name: accuracies(name, 0) for name in runs}, "mean accuracy", colors, title
    )
    blocks = [
        ABOUT.format(**config),
        bench.by_variant("Accuracy", "", columns, runs),
        bench.claims_table("Claims", first, CLAIMS, accuracies),
    ]
    return bench.Document(title, blocks, picture, "mean accuracy over the data sets")


def average(found: dict[str, float], ending: str = "") -> float:
    return bench.mean([found[name + ending] for name in TASKS])


def mean_shared(runs: bench.Runs) -> str:
    """In percent; of networks that share nothing there is none."""
    values = [average(one, f", {SHARED}") for one in runs if f"{TASKS[0]}, {SHARED}" in one]
    return bench.percent(values) if values else ""


def of_task(name: str) -> bench.Cell:
    return lambda runs: bench.percent([one[name] for one in runs])


if __name__ == "__main__":
    script = bench.Script(__doc__, seeds=3, limit=int, test=int, offline_epochs=int)
    config = script.chosen(SETTINGS)
    variants = {
        LABELS.get(name, name): bench.Variant({**config, "strategy": name})
        for name in (OFFLINE, *STRATEGIES)
    }
    study = bench.Study(variants, range(script.args.seeds), run)
    script.study(study, describe, config)
