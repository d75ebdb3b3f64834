"""The side of tfmot in `overhead.py`, which calls it in a process with the Keras that it needs."""

from pathlib import Path
from typing import Any

import legacy_tfmot
import tensorflow_model_optimization as tfmot
import tf_keras as keras
from stepping import Trial, measured


def run(config: dict, folder: Path) -> dict[str, Any]:
    def trial(method: str) -> Trial:
        keras.utils.set_random_seed(0)
        model, callbacks = legacy_tfmot.resnet20(config["width"]), []
        steps = 3 + config["blocks"] * config["steps"] + 1000
        if method != "plain":
            # tfmot asks at every step whether masks are due; from step 1 on it is step 1 only.
            every = 1 if method == "tfmot+update" else steps
            schedule = tfmot.sparsity.keras.PolynomialDecay(
                0.0 if every < steps else 0.9, 0.9, 1, steps, frequency=every
            )
            model = legacy_tfmot.wrapped(model, schedule)
            callbacks = [tfmot.sparsity.keras.UpdatePruningStep()]
        legacy_tfmot.compiled(model, keras.optimizers.SGD(0.01, momentum=0.9))
        return Trial(keras, model, callbacks, config["batch"], steps)

    return measured(config, trial, ("plain", "tfmot", "tfmot+update"))
