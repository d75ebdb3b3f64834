"""Time from `fit` to the end of its first step: every method over plain Keras.

    python benchmarks/first_step.py

Choosing what is pruned, first masks and tracing included; CPU seconds. In one process for each
network, every method begins a training of its own in turn, several times over, and is compared
with the plain one of the same turn. Methods that score weights before the first step do so on 32
images.
"""

import gc
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
from stepping import Trial
from timed_methods import METHODS, SCORED, TWO_GRADIENTS

import keras_sparse as ks
from keras_sparse.experiments.benchmark import Document, Script, Study, Table, Variant

HERE = Path(__file__).parent
NETWORKS = {"ResNet-20": 32, "MobileNetV2": 96}
STEPS = 2000


def network(name: str) -> keras.Model:
    if name == "ResNet-20":
        return ks.models.resnet20(seed=0)
    size = NETWORKS[name]
    return keras.applications.MobileNetV2(
        (size, size, 3), weights=None, classes=10, classifier_activation=None
    )


def run(config: dict, folder: Path) -> dict[str, Any]:
    """CPU seconds to the end of the first step, of each turn."""
    name = config["network"]
    size, draw = NETWORKS[name], np.random.default_rng(0)
    scored = draw.normal(size=(32, size, size, 3)).astype("float32"), draw.integers(0, 10, 32)
    makers = {"plain": lambda: []}
    for method, timed in (METHODS | TWO_GRADIENTS).items():
        makers[method] = lambda timed=timed: [timed.quiet(f"{STEPS}st")]
    for method, make in SCORED.items():
        makers[method] = lambda make=make: [make(scored)]

    def begun(method: str) -> float:
        keras.utils.clear_session()
        gc.collect()
        model = network(name)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(0.01, momentum=0.9), loss, metrics=["accuracy"])
        before = time.process_time()
        Trial(keras, model, makers[method](), config["batch"], STEPS, size).step()
        return time.process_time() - before

    begun("plain"), begun("gmp")  # What a process computes but once.
    seconds: dict[str, list[float]] = {method: [] for method in makers}
    for turn in range(config["turns"]):
        for method in makers:
            seconds[method].append(begun(method))
        print(turn, flush=True)
    return seconds


def describe(content: dict) -> Document:
    rows: dict[str, list[str]] = {}
    for seconds in content["seconds"].values():
        plain = np.array(seconds["plain"])
        for method, values in seconds.items():
            ratios = np.array(values) / plain
            shown = f"{np.median(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f})"
            rows.setdefault(method, []).extend((f"{np.median(values):.1f}", shown))
    header = ["method"]
    for name in content["seconds"]:
        header += [f"{name}, CPU s", "over plain"]
    title = "From fit to the end of the first step"
    return Document(title, [Table(title, header, [(m, *row) for m, row in rows.items()])])


def main() -> None:
    script = Script(
        __doc__, HERE / "results", networks=tuple(NETWORKS), turns=2, batch=8, threads=1
    )
    args = script.parser.parse_args()
    config = {"turns": args.turns, "batch": args.batch}
    variants = {name: Variant({**config, "network": name}) for name in args.networks}

    def measure() -> dict:
        found = Study(variants, [0], run).timed(HERE / "build" / "first_step", args.threads)
        return {"config": config, "seconds": found}

    script.write(args, "first_step", measure, describe)


if __name__ == "__main__":
    main()
