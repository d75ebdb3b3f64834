"""The methods that can be chosen by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from keras_sparse.engine.callback import SparseCallback
from keras_sparse.methods.acdc import ACDC
from keras_sparse.methods.admm import ADMM
from keras_sparse.methods.deep_r import DeepR
from keras_sparse.methods.dpf import DPF
from keras_sparse.methods.dsr import DSR
from keras_sparse.methods.gap import CyclicGaP
from keras_sparse.methods.gmp import GMP
from keras_sparse.methods.iht import IHT
from keras_sparse.methods.movement import MovementPruning
from keras_sparse.methods.rigl import RigL
from keras_sparse.methods.set import SET
from keras_sparse.methods.snfs import SNFS
from keras_sparse.methods.sr_ste import SRSTE
from keras_sparse.methods.static_mask import StaticMask
from keras_sparse.methods.ste import STE
from keras_sparse.methods.str import STR
from keras_sparse.methods.top_kast import TopKAST
from keras_sparse.sparsity.schedules import OneShot


class Method(NamedTuple):
    """A training method as the command line offers it.

    Args:
        make: Makes the callback from the common arguments; `None` for no callback.
        line: What it does, in one line.
        source: Where it comes from.
        granularity: The pattern it prunes in, unless another is asked for.
        takes_sparsity: Whether a sparsity can be asked for.
    """

    make: Callable[..., SparseCallback | None]
    line: str
    source: str = ""
    granularity: str = "unstructured"
    takes_sparsity: bool = True


def _one_shot(**common: Any) -> GMP:
    return GMP(schedule=OneShot("50%"), **common)


def _one_schedule(**common: Any) -> CyclicGaP:
    # A run has one learning-rate schedule, which would not come to its end if it began anew.
    return CyclicGaP(restart=False, **common)


def _uniform(method: Callable[..., SparseCallback]) -> Callable[..., SparseCallback]:
    def make(**common: Any) -> SparseCallback:
        return method(**{"allocation": "uniform", **common})

    return make


METHODS: Mapping[str, Method] = {
    "dense": Method(lambda **_: None, "no pruning: the reference to compare with"),
    "acdc": Method(ACDC, "dense and sparse phases in turn, ends sparse", "Peste et al. 2021"),
    "gmp": Method(GMP, "gradual magnitude pruning, sparser and sparser", "Zhu and Gupta 2017"),
    "oneshot": Method(_one_shot, "dense until half of the run, pruned at once, fine-tuned"),
    "static": Method(StaticMask, "a random mask from the first step on"),
    "set": Method(SET, "small weights move to random places each epoch", "Mocanu et al. 2018"),
    "deep_r": Method(DeepR, "weights of fixed sign die and others wake", "Bellec et al. 2018"),
    "dsr": Method(DSR, "as set, and between layers as well", "Mostafa and Wang 2019"),
    "snfs": Method(
        SNFS, "weights move to where the mean gradient is large", "Dettmers and Zettlemoyer 2019"
    ),
    "rigl": Method(
        RigL, "weights move to where the gradient is large (ERK layers)", "Evci et al. 2020"
    ),
    "rigl_uniform": Method(
        _uniform(RigL), "rigl with the same sparsity in each layer", "Evci et al. 2020"
    ),
    "top_kast": Method(
        TopKAST, "the largest weights compute, some more learn", "Jayakumar et al. 2020"
    ),
    "iht": Method(IHT, "a dense step, then all but the largest are cut", "Jin et al. 2016"),
    "ste": Method(STE, "the largest weights compute, all learn", "Peste 2023"),
    "dpf": Method(DPF, "as ste, sparser and sparser", "Lin et al. 2020"),
    "sr_ste": Method(SRSTE, "as ste, n:m, pruned weights decay", "Zhou et al. 2021", "2:4"),
    "str": Method(
        STR,
        "learned thresholds; the sparsity follows from weight decay",
        "Kusupati et al. 2020",
        takes_sparsity=False,
    ),
    "movement": Method(
        MovementPruning, "keeps weights that move away from zero", "Sanh et al. 2020"
    ),
    "cyclic_gap": Method(
        _one_schedule, "quarters of the model grow dense in turn, and are cut", "Ma et al. 2022"
    ),
    "admm": Method(ADMM, "pulled towards sparse weights, then cut", "Zhang et al. 2018"),
}
