"""The side of keras_sparse in `overhead.py`, which starts it in a process of its own.

python benchmarks/overhead_run.py --measure steps --blocks 20
"""

import argparse
import json
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import tensorflow as tf
from stepping import Trial, arguments, first_steps, paired, synthetic_batches

import keras_sparse as ks
from keras_sparse import models

SPARSITY = 0.9


class Measured(NamedTuple):
    """A method whose masks are not updated while steps are timed, and one whose masks always are.

    Args:
        quiet: makes the first, given a number of steps that the run does not reach.
        busy: makes the second; `None` where each step is alike.
    """

    quiet: Callable[[str], Any]
    busy: Callable[[], Any] | None = None


def _every_so_often(method: Callable[..., Any], **more: Any) -> Measured:
    return Measured(
        lambda far: method(SPARSITY, every=far, **more),
        lambda: method(SPARSITY, every="1st", **more),
    )


def _rising() -> Any:
    return ks.Polynomial(begin=0, end="100%", every="1st")


METHODS = {
    "acdc": Measured(lambda _: ks.ACDC(SPARSITY, schedule="CC")),
    "gmp": Measured(
        # Without a further update the masks of the first step stay in force.
        lambda _: ks.GMP(SPARSITY, schedule=ks.OneShot("1st")),
        lambda: ks.GMP(SPARSITY, schedule=_rising()),
    ),
    "static": Measured(lambda _: ks.StaticMask(SPARSITY)),
    "set": _every_so_often(ks.SET),
    "dsr": _every_so_often(ks.DSR, end="100%"),
    "rigl": _every_so_often(ks.RigL, end="100%"),
    "snfs": _every_so_often(ks.SNFS),
    "deep_r": Measured(lambda _: ks.DeepR(SPARSITY)),
    "top_kast": _every_so_often(ks.TopKAST),
    "ste": _every_so_often(ks.STE),
    "sr_ste": _every_so_often(ks.SRSTE, granularity=None),
    "iht": _every_so_often(ks.IHT),
    "dpf": _every_so_often(ks.DPF, end="90%"),
    "movement": Measured(
        lambda _: ks.MovementPruning(SPARSITY, schedule=ks.OneShot("1st")),
        lambda: ks.MovementPruning(SPARSITY, schedule=_rising()),
    ),
    "admm": _every_so_often(ks.ADMM, cut="99%"),
    "str": Measured(lambda _: ks.STR()),
    "l0": Measured(lambda _: ks.L0()),
    "sparse_vd": Measured(lambda _: ks.SparseVariationalDropout()),
    "edge_popup": Measured(lambda _: ks.EdgePopup(SPARSITY)),
    "cyclic_gap": Measured(lambda _: ks.CyclicGaP(SPARSITY, 1, 1, 1, 1)),
}
# What these add to a step does depend on the batch.
TWO_GRADIENTS = {
    "sam": Measured(lambda _: ks.SAM()),
    "cram": Measured(
        lambda far: ks.CrAM(mask_interval=int(far.removesuffix("st"))), lambda: ks.CrAM()
    ),
}


def callback(name: str, steps: int) -> list[Any]:
    """The callback of a trial: `plain`, a method, or a method with `+update`."""
    method, _, update = name.partition("+")
    if method == "plain":
        return []
    measured = (METHODS | TWO_GRADIENTS)[method]
    return [measured.busy() if update and measured.busy else measured.quiet(f"{steps}st")]


def names(methods: Sequence[str]) -> list[str]:
    """The trials of some methods, plain training first."""
    made = ["plain"]
    for method in methods:
        busy = (METHODS | TWO_GRADIENTS)[method].busy
        made += [method, f"{method}+update"] if busy else [method]
    return made


def trial(method: str, args: argparse.Namespace) -> Trial:
    keras.utils.set_random_seed(0)
    model = models.resnet20(width=args.width, seed=0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), loss, metrics=["accuracy"])
    steps = 3 + args.blocks * args.steps + 1000
    own = callback(method, steps)
    return Trial(keras, model, own, synthetic_batches(args.batch), steps)


def main() -> None:
    args = arguments(__doc__)
    tf.config.threading.set_intra_op_parallelism_threads(args.threads)
    if args.measure == "start":
        result: Any = first_steps(lambda: trial(args.method, args), 2)
    else:
        trials = {name: trial(name, args) for name in names(args.methods or METHODS)}
        result = paired(trials, args.blocks, args.steps, lambda n: print(n, flush=True))
    args.write.write_text(json.dumps(result))


if __name__ == "__main__":
    main()
