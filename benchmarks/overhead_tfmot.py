"""The side of tfmot in `overhead.py`, which starts it in a process of its own.

    TF_USE_LEGACY_KERAS=1 python benchmarks/overhead_tfmot.py --measure steps --blocks 20

It never imports keras_sparse, which would bring Keras 3 into the process.
"""

import argparse
import json
from typing import Any

import legacy_tfmot
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras as keras
from stepping import Trial, arguments, first_steps, paired, synthetic_batches

TRIALS = ("plain", "tfmot", "tfmot+update")


def trial(method: str, args: argparse.Namespace) -> Trial:
    keras.utils.set_random_seed(0)
    model = legacy_tfmot.resnet20(args.width)
    steps = 3 + args.blocks * args.steps + 1000
    callbacks: list[Any] = []
    if method != "plain":
        # tfmot asks at every step whether masks are due; from step 1 on it is step 1 only.
        every = 1 if method == "tfmot+update" else steps
        schedule = tfmot.sparsity.keras.PolynomialDecay(
            0.0 if every < steps else 0.9, 0.9, 1, steps, frequency=every
        )
        model = legacy_tfmot.wrapped(model, schedule)
        callbacks = [tfmot.sparsity.keras.UpdatePruningStep()]
    legacy_tfmot.compiled(model, keras.optimizers.SGD(0.01, momentum=0.9))
    return Trial(keras, model, callbacks, synthetic_batches(args.batch), steps)


def main() -> None:
    args = arguments(__doc__)
    tf.config.threading.set_intra_op_parallelism_threads(args.threads)
    if args.measure == "start":
        result: Any = first_steps(lambda: trial(args.method, args), 2)
    else:
        trials = {method: trial(method, args) for method in TRIALS}
        result = paired(trials, args.blocks, args.steps, lambda n: print(n, flush=True))
    args.write.write_text(json.dumps(result))


if __name__ == "__main__":
    main()
