"""Seconds and memory that mask updates take on models of 25 and 100 million weights.

    python benchmarks/mask_update.py

ResNet-50 for small images, and dense layers of 100 million weights in one tensor and in five. GMP
ranks all weights together, RigL those of each layer. In one process a model whose masks are updated
in every step and one whose masks stay take steps in turn; an update is the difference. Peak memory
is that of a process that takes six steps, over that of plain training.
"""

import resource
from pathlib import Path
from typing import Any

import keras
import numpy as np
from stepping import Trial, paired
from timed_methods import METHODS

from keras_sparse.experiments.benchmark import Document, Script, Study, Table, Variant

HERE = Path(__file__).parent


def network(name: str) -> keras.Model:
    keras.utils.set_random_seed(0)
    if name == "resnet50":
        return keras.applications.ResNet50(weights=None, input_shape=(32, 32, 3), classes=1000)
    widths = {"100M in 1": (32_540,), "100M in 5": (5_000, 5_000, 5_000, 5_000, 1_930)}[name]
    layers = [keras.layers.Dense(width, activation="relu") for width in widths]
    output = keras.layers.Dense(10, activation="softmax")
    return keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Flatten(), *layers, output])


def trial(of: str, callbacks: list[Any], steps: int) -> Trial:
    model = network(of)
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), "sparse_categorical_crossentropy")
    return Trial(keras, model, callbacks, 2, steps)


def run(config: dict, folder: Path) -> dict[str, Any]:
    """Seconds of updates, by the wall's clock and by the processor's, for each turn."""
    steps, method = 3 + config["blocks"] + 1000, METHODS[config["method"]]
    trials = {
        "quiet": trial(config["network"], [method.quiet(f"{steps}st")], steps),
        "busy": trial(config["network"], [method.busy()], steps),
    }
    times = paired(trials, config["blocks"])
    updates = np.array(times["busy"]) - np.array(times["quiet"])
    masks = trials["quiet"].callbacks.callbacks[0].optimizer.masks
    weights = sum(mask.shape.num_elements() for mask in masks)
    return {"weights": weights, "seconds": updates[:, 0].tolist(), "cpu": updates[:, 1].tolist()}


def memory(config: dict, folder: Path) -> dict[str, Any]:
    """GiB that a process has had at most."""
    method = config["method"]
    callbacks = [] if method == "plain" else [METHODS[method].busy()]
    trial(config["network"], callbacks, 1000).timed(6)
    return {"peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}


def updates_table(title: str, results: dict) -> Table:
    rows = []
    for name, result in results.items():
        low, middle, high = np.percentile(result["seconds"], (25, 50, 75))
        spread, cpu = f"{low:.2f} to {high:.2f}", f"{np.median(result['cpu']):.2f}"
        rows.append((name, f"{result['weights']:,}", f"{middle:.2f}", spread, cpu))
    return Table(title, ("method", "weights", "seconds", "quartiles", "CPU s"), rows)


def describe(content: dict) -> Document:
    tables = [updates_table("A mask update", content["results"])]
    rows = [
        (f"{of}, {method}", f"{peaks[method]:.2f}", f"{peaks[method] - peaks['plain']:+.2f}")
        for of, peaks in content.get("peaks", {}).items()
        for method in peaks
    ]
    if rows:
        header = ("weights, method", "of the process", "over plain")
        tables.append(Table("Peak memory, GiB", header, rows))
    blocks = [block for table in tables for block in (f"**{table.title}**", table)]
    return Document("What a mask update takes", blocks)


def main() -> None:
    script = Script(__doc__, HERE / "results", methods=("gmp", "rigl"), blocks=9, threads=2)
    args = script.parser.parse_args()
    config = {"blocks": args.blocks, "threads": args.threads}
    variants = {
        f"{of}, {method}": Variant({"network": of, "method": method, **config})
        for of in ("resnet50", "100M in 5")
        for method in args.methods
    }
    of_memory = {
        f"memory {of} {method}": (of, method)
        for of in ("100M in 1", "100M in 5")
        for method in ("plain", *args.methods)
    }
    for name, (of, method) in of_memory.items():
        variants[name] = Variant({"network": of, "method": method, **config}, memory)

    def measure() -> dict:
        found = Study(variants, [0], run).timed(HERE / "build" / "mask_update", args.threads)
        peaks: dict[str, dict[str, float]] = {}
        for name, (of, method) in of_memory.items():
            peaks.setdefault(of, {})[method] = found.pop(name)["peak_gib"]
        return {"config": config, "results": found, "peaks": peaks}

    script.write(args, "mask_update", measure, describe)


if __name__ == "__main__":
    main()
