"""A `Case` for each training-time method: what the properties in docs/properties.md are tested on.

A new method is one line in `CASES`.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

import keras_sparse as ks

MASK, COPY = 1, 4  # bytes a weight: a bool and a float32


class Case(NamedTuple):
    """A method, as it trains for six short epochs.

    Args:
        make: The callback, of further arguments; where it `ends` at a sparsity, of that first.
        ends: `"sparse"` at a sparsity that is asked for, `"follows"` where it follows from other
            settings, or `"dense"`.
        stands_for: What the engine alone does is tested on one method for each `"regime"` in which
            it works, and outside of the thorough suite on three `"kind"`s of them.
        memory: Bytes that the method keeps of each weight beside the user's optimizer.
    """

    make: Callable
    ends: str = "sparse"
    stands_for: str = ""
    memory: float = MASK


def scored_on():
    """Data of the shape of the fixture `images`."""
    generator = np.random.default_rng(1)
    return generator.normal(size=(96, 8, 8, 1)).astype("float32"), generator.integers(0, 4, 96)


CASES = {
    # In six epochs its default has one phase of each kind. Of the masks of the phase before it
    # keeps a bit a weight, for its logs.
    "ACDC": Case(
        lambda s=0.8, **kw: ks.ACDC(s, schedule="DCDCDC", **kw),
        stands_for="kind",
        memory=MASK + 1 / 8,
    ),
    "GMP": Case(
        lambda s=0.8, **kw: ks.GMP(s, ks.Polynomial(1, 4, every="2st"), **kw), stands_for="regime"
    ),
    "OneShot": Case(lambda s=0.8, **kw: ks.GMP(s, ks.OneShot(2), **kw)),
    "StaticMask": Case(lambda s=0.8, **kw: ks.StaticMask(s, seed=1, **kw), stands_for="regime"),
    "SET": Case(lambda s=0.8, **kw: ks.SET(s, every=1, seed=1, **kw)),
    "GraNet": Case(lambda s=0.8, **kw: ks.GraNet(s, every="4st", seed=1, **kw)),
    "RigL": Case(lambda s=0.8, **kw: ks.RigL(s, every="4st", seed=1, **kw), stands_for="kind"),
    # Mean gradients.
    "SNFS": Case(lambda s=0.8, **kw: ks.SNFS(s, every="5st", seed=1, **kw), memory=MASK + COPY),
    "DSR": Case(lambda s=0.8, **kw: ks.DSR(s, every="5st", seed=1, **kw)),
    # Signs.
    "DeepR": Case(lambda s=0.8, **kw: ks.DeepR(s, seed=1, **kw), memory=2 * MASK),
    # Which weights compute and which learn.
    "TopKAST": Case(
        lambda s=0.8, **kw: ks.TopKAST(s, every="3st", **kw),
        stands_for="regime",
        memory=2 * MASK + COPY,
    ),
    "STE": Case(lambda s=0.8, **kw: ks.STE(s, **kw), memory=MASK + COPY),
    "SRSTE": Case(lambda s=0.8, **kw: ks.SRSTE(s, granularity=None, **kw), memory=MASK + COPY),
    "IHT": Case(lambda s=0.8, **kw: ks.IHT(s, every="2st", **kw)),
    "DPF": Case(
        lambda s=0.8, **kw: ks.DPF(s, every="2st", **kw), stands_for="kind", memory=MASK + COPY
    ),
    # Scores.
    "MovementPruning": Case(
        lambda s=0.8, **kw: ks.MovementPruning(s, **kw),
        stands_for="regime",
        memory=MASK + 2 * COPY,
    ),
    # Scores and their momentum.
    "EdgePopup": Case(
        lambda s=0.8, **kw: ks.EdgePopup(s, seed=1, **{"allocation": "global", **kw}),
        memory=MASK + 3 * COPY,
    ),
    # Sparse weights and duals.
    "ADMM": Case(lambda s=0.8, **kw: ks.ADMM(s, **kw), memory=MASK + 2 * COPY),
    "SNIP": Case(lambda s=0.8, **kw: ks.SNIP(s, scored_on(), **kw)),
    "GraSP": Case(lambda s=0.8, **kw: ks.GraSP(s, scored_on(), **kw)),
    "SynFlow": Case(lambda s=0.8, **kw: ks.SynFlow(s, **kw)),
    "CyclicGaP": Case(
        lambda s=0.8, **kw: ks.CyclicGaP(s, 2, 4, 1, 2, seed=1, **kw), stands_for="regime"
    ),
    "STR": Case(lambda **kw: ks.STR(0.05, weight_decay=0.02, **kw), ends="follows"),
    "SoftMovement": Case(
        lambda **kw: ks.MovementPruning(soft=True, threshold=0.0, penalty=1e-3, **kw),
        ends="follows",
    ),
    "L0": Case(lambda **kw: ks.L0(1e-3, gate_learning_rate=0.3, seed=1, **kw), ends="follows"),
    "SparseVD": Case(
        lambda **kw: ks.SparseVariationalDropout(
            0.01, noise_learning_rate=0.05, initial_log_variance=-4.0, seed=1, **kw
        ),
        ends="follows",
    ),
    "CrAM": Case(
        lambda **kw: ks.CrAM(
            [0.5, 0.8], operators="4bit", mask_interval=2, base_probability=0.2, seed=1, **kw
        ),
        ends="dense",
        stands_for="regime",
    ),
    "SAM": Case(lambda **kw: ks.SAM(**kw), ends="dense"),
    "CSAM": Case(lambda **kw: ks.CSAM([0.5, 0.8], seed=1, **kw), ends="dense"),
    "TopKPlus": Case(lambda **kw: ks.TopKPlus([0.5, 0.8], seed=1, **kw), ends="dense"),
}


def names(ends, *stands_for):
    """The methods that end so, or of them those that stand for others."""
    return [
        name
        for name, case in CASES.items()
        if case.ends == ends and (not stands_for or case.stands_for in stands_for)
    ]


def makers(ends):
    """What makes the callbacks of the methods that end so, by name."""
    return {name: CASES[name].make for name in names(ends)}


METHODS, FOLLOWS, DENSE = makers("sparse"), makers("follows"), makers("dense")
EVERY = METHODS | FOLLOWS | DENSE
REGIMES, KINDS = names("sparse", "kind", "regime"), names("sparse", "kind")
