"""The side of keras_sparse in `overhead.py`, which starts it in a process of its own.

python benchmarks/overhead_run.py --measure steps --blocks 20
"""

import argparse
import json
import os
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import tensorflow as tf
from stepping import Trial, arguments, first_steps, paired, synthetic_batches

import keras_sparse as ks
from keras_sparse import models

SPARSITY = 0.9
METHODS = ("plain", "acdc", "gmp_no_update", "gmp_every_step")


def callbacks(method: str) -> list[Any]:
    if method == "plain":
        return []
    if method == "acdc":
        return [ks.ACDC(SPARSITY, schedule="CC")]
    # Without a further update the masks of the first step stay in force.
    times = {"gmp_no_update": ks.OneShot("1st"), "gmp_every_step": _every(1), "gmp": _every(100)}
    return [ks.GMP(SPARSITY, schedule=times[method])]


def _every(steps: int) -> Any:
    return ks.Polynomial(begin=0, end="100%", every=f"{steps}st")


def trial(method: str, args: argparse.Namespace) -> Trial:
    keras.utils.set_random_seed(0)
    model = models.resnet20(width=args.width, seed=0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), loss, metrics=["accuracy"])
    steps = 3 + args.blocks * args.steps + 1000
    return Trial(keras, model, callbacks(method), synthetic_batches(args.batch), steps)


def main() -> None:
    args = arguments(__doc__)
    tf.config.threading.set_intra_op_parallelism_threads(args.threads)
    if args.measure == "start":
        result: Any = first_steps(lambda: trial(args.method, args), 2)
    else:
        trials = {method: trial(method, args) for method in METHODS}
        result = paired(trials, args.blocks, args.steps, lambda n: print(n, flush=True))
    args.write.write_text(json.dumps(result))


if __name__ == "__main__":
    main()
