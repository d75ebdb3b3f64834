"""What simulating low precision costs a training step: ResNet-20 on batches of 128.

    python benchmarks/precision_step.py

In one process plain training, `PrecisionScheduler("CR")` and the same with gradients rounded to the
nearest take steps in turn, as in `overhead.py`; each step is compared with the plain step of the
same turn, in CPU time. A step may cost at most 1.6 plain ones.
"""

from pathlib import Path
from typing import Any

import keras
import numpy as np
from stepping import Trial, measured

import keras_sparse as ks
from keras_sparse.experiments import benchmark as bench

LIMIT = 1.6
TRIALS = {"plain": None, "low precision": "stochastic", "gradients to the nearest": "nearest"}


def run(config: dict, folder: Path) -> dict[str, Any]:
    """The seconds of each trial's steps."""

    def trial(name: str) -> Trial:
        keras.utils.set_random_seed(0)
        model = ks.models.resnet20(seed=0)
        model.compile(
            keras.optimizers.SGD(0.01, momentum=0.9),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
        rounding = TRIALS[name]
        low = [ks.PrecisionScheduler("CR", rounding=rounding)] if rounding else []
        return Trial(keras, model, low, config["batch"], 1000)

    return measured(config, trial, list(TRIALS))


def describe(content: dict) -> bench.Document:
    seconds = {name: np.array(times)[:, 1] for name, times in content["steps"].items()}
    plain = seconds["plain"]
    rows = []
    for name, own in seconds.items():
        ratio = np.median(own / plain)
        held = "" if name == "plain" else "holds" if ratio <= LIMIT else "does not hold"
        rows.append((name, f"{1000 * np.median(own):.0f}", f"{ratio:.2f}", held))
    header = ("training", "CPU ms a step", "of a plain step", f"at most {LIMIT}")
    text = f"The median over {len(plain)} turns."
    return bench.Document(
        "A step in simulated low precision", [bench.Table("ResNet-20", header, rows), text]
    )


if __name__ == "__main__":
    script = bench.Script(__doc__, batch=128, blocks=12)
    args = script.args
    config = {"batch": args.batch, "blocks": args.blocks, "steps": 1, "threads": 1}
    study = bench.Study({"step": bench.Variant(config)}, [0], run)
    script.study(
        study,
        describe,
        content=lambda found: {"steps": found["step"][0]},
        anew=True,
        processes=1,
    )
