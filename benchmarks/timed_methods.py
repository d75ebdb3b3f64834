"""Methods as the benchmarks time them: with masks that stay, and with masks that always change."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras_sparse as ks

SPARSITY = 0.9


class Timed(NamedTuple):
    """A method whose masks are not updated while steps are timed, and one whose masks always are.

    Args:
        quiet: makes the first, given a number of steps that the run does not reach.
        busy: makes the second; `None` where each step is alike.
    """

    quiet: Callable[[str], Any]
    busy: Callable[[], Any] | None = None


def _every_so_often(method: Callable[..., Any], **more: Any) -> Timed:
    return Timed(
        lambda far: method(SPARSITY, every=far, **more),
        lambda: method(SPARSITY, every="1st", **more),
    )


def _rising(method: Callable[..., Any]) -> Timed:
    return Timed(
        # Without a further update the masks of the first step stay in force.
        lambda _: method(SPARSITY, schedule=ks.OneShot("1st")),
        lambda: method(SPARSITY, schedule=ks.Polynomial(begin=0, end="100%", every="1st")),
    )


METHODS = {
    "acdc": Timed(lambda _: ks.ACDC(SPARSITY, schedule="CC")),
    "gmp": _rising(ks.GMP),
    "static": Timed(lambda _: ks.StaticMask(SPARSITY)),
    "set": _every_so_often(ks.SET),
    "dsr": _every_so_often(ks.DSR, end="100%"),
    "rigl": _every_so_often(ks.RigL, end="100%"),
    "granet": _every_so_often(ks.GraNet, end="100%"),
    "snfs": _every_so_often(ks.SNFS),
    "deep_r": Timed(lambda _: ks.DeepR(SPARSITY)),
    "top_kast": _every_so_often(ks.TopKAST),
    "ste": _every_so_often(ks.STE),
    "sr_ste": _every_so_often(ks.SRSTE, granularity=None),
    "iht": _every_so_often(ks.IHT),
    "dpf": _every_so_often(ks.DPF, end="90%"),
    "movement": _rising(ks.MovementPruning),
    "admm": _every_so_often(ks.ADMM, cut="99%"),
    "str": Timed(lambda _: ks.STR()),
    "l0": Timed(lambda _: ks.L0()),
    "sparse_vd": Timed(lambda _: ks.SparseVariationalDropout()),
    "edge_popup": Timed(lambda _: ks.EdgePopup(SPARSITY)),
    "cyclic_gap": Timed(lambda _: ks.CyclicGaP(SPARSITY, 1, 1, 1, 1)),
}
# What these add to a step does depend on the batch.
TWO_GRADIENTS = {
    "sam": Timed(lambda _: ks.SAM()),
    "cram": Timed(
        lambda far: ks.CrAM(mask_interval=int(far.removesuffix("st"))), lambda: ks.CrAM()
    ),
}
# Before the first step these look at images; after it they are `static`.
SCORED: dict[str, Callable[[Any], Any]] = {
    "snip": lambda data: ks.SNIP(SPARSITY, data),
    "grasp": lambda data: ks.GraSP(SPARSITY, data),
    "synflow": lambda _: ks.SynFlow(SPARSITY),
}
