"""What counting the steps to a result adds to a training step, beside the checks themselves.

    python benchmarks/steps_to_result.py

In one process plain training and the same with `StepsToResult`, whose next check never comes, take
steps in turn: LeNet-5 on batches of 32 images, in CPU time. It may add 2 % at most.
"""

from pathlib import Path
from typing import Any

import keras
import numpy as np
from stepping import Trial, measured

import keras_sparse as ks
from keras_sparse.experiments import benchmark as bench

LIMIT = 1.02
PLAIN, COUNTED = "plain", "steps counted"


def run(config: dict, folder: Path) -> dict[str, Any]:
    """The seconds of each trial's steps."""
    x, y = np.zeros((8, 32, 32, 3), "float32"), np.zeros(8, "int32")

    def trial(name: str) -> Trial:
        keras.utils.set_random_seed(0)
        model = ks.models.get("lenet5", input_shape=(32, 32, 3), num_classes=10, seed=0)
        model.compile(
            keras.optimizers.SGD(0.01, momentum=0.9),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        counted = ks.tuning.StepsToResult((x, y), 0.0, check_every=10**9)
        return Trial(keras, model, [counted] if name == COUNTED else [], config["batch"], 10**6)

    return measured(config, trial, [PLAIN, COUNTED])


def describe(content: dict) -> bench.Document:
    seconds = {name: np.array(times)[:, 1] for name, times in content["steps"].items()}
    ratios = seconds[COUNTED] / seconds[PLAIN]
    ratio = float(np.median(ratios))
    draws = np.random.default_rng(0).choice(ratios, (1000, len(ratios)))
    low, high = np.quantile(np.median(draws, axis=1), (0.025, 0.975))
    rows = [(name, f"{1000 * np.median(own):.2f}") for name, own in seconds.items()]
    text = (
        f"The median over {len(ratios)} turns of {content['config']['steps']} steps: counting adds "
        f"{100 * (ratio - 1):+.2f} % (95 %: {100 * (low - 1):+.2f} to {100 * (high - 1):+.2f}). At "
        f"most 2 %: {'holds' if ratio <= LIMIT else 'does not hold'}."
    )
    table = bench.Table("LeNet-5", ("training", "CPU ms a step"), rows)
    return bench.Document("Counting the steps to a result", [table, text])


if __name__ == "__main__":
    script = bench.Script(__doc__, batch=32, blocks=60, steps=5)
    args = script.args
    config = {"batch": args.batch, "blocks": args.blocks, "steps": args.steps, "threads": 1}
    study = bench.Study({"step": bench.Variant(config)}, [0], run)
    script.study(
        study,
        describe,
        config,
        lambda found: {"steps": found["step"][0]},
        anew=True,
        processes=1,
    )
