"""Seconds that a mask update takes on a model of 25 million weights.

    python benchmarks/mask_update.py

ResNet-50 for small images; GMP ranks all its weights together, RigL those of each layer. In one
process a model whose masks are updated in every step and one whose masks stay take steps in turn;
an update is the difference.
"""

import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
from stepping import Trial, paired
from timed_methods import METHODS

from keras_sparse.experiments.document import Document, Script, Table
from keras_sparse.experiments.study import Study, Variant

HERE = Path(__file__).parent


def trial(callback: Any, steps: int) -> Trial:
    keras.utils.set_random_seed(0)
    model = keras.applications.ResNet50(weights=None, input_shape=(32, 32, 3), classes=1000)
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), "sparse_categorical_crossentropy")
    return Trial(keras, model, [callback], 2, steps)


def run(config: dict, folder: Path) -> dict[str, Any]:
    """Seconds of updates, by the wall's clock and by the processor's, for each turn."""
    steps, method = 3 + config["blocks"] + 1000, METHODS[config["method"]]
    trials = {
        "quiet": trial(method.quiet(f"{steps}st"), steps),
        "busy": trial(method.busy(), steps),
    }
    times = paired(trials, config["blocks"])
    updates = np.array(times["busy"]) - np.array(times["quiet"])
    masks = trials["quiet"].callbacks.callbacks[0].optimizer.masks
    weights = sum(mask.shape.num_elements() for mask in masks)
    return {"weights": weights, "seconds": updates[:, 0].tolist(), "cpu": updates[:, 1].tolist()}


def describe(content: dict) -> Document:
    rows = []
    for method, result in content["results"].items():
        low, middle, high = np.percentile(result["seconds"], (25, 50, 75))
        spread, cpu = f"{low:.2f} to {high:.2f}", f"{np.median(result['cpu']):.2f}"
        rows.append((method, f"{result['weights']:,}", f"{middle:.2f}", spread, cpu))
    title = "A mask update, ResNet-50"
    header = ("method", "weights", "seconds", "quartiles", "CPU s")
    return Document(title, [Table(title, header, rows)])


def main() -> None:
    script = Script(__doc__, HERE / "results", methods=("gmp", "rigl"), blocks=9, threads=2)
    args = script.parser.parse_args()
    config = {"blocks": args.blocks, "threads": args.threads}
    variants = {method: Variant({"method": method, **config}) for method in args.methods}
    build = HERE / "build" / "mask_update"

    def measure() -> dict:
        shutil.rmtree(build, ignore_errors=True)  # Seconds of another version are not of this one.
        found = Study(variants, [0], run).make(build, 1, args.threads)
        return {"config": config, "results": {method: runs[0] for method, runs in found.items()}}

    script.write(args, "mask_update", measure, describe)


if __name__ == "__main__":
    main()
