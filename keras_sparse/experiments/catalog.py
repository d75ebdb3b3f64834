"""The methods that can be chosen by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from keras_sparse.engine.callback import SparseCallback
from keras_sparse.methods.at_start.grasp import GraSP
from keras_sparse.methods.at_start.snip import SNIP
from keras_sparse.methods.at_start.static_mask import StaticMask
from keras_sparse.methods.at_start.synflow import SynFlow
from keras_sparse.methods.compression_aware.cram import CrAM
from keras_sparse.methods.compression_aware.csam import CSAM
from keras_sparse.methods.compression_aware.sam import SAM
from keras_sparse.methods.compression_aware.topk_plus import TopKPlus
from keras_sparse.methods.exploration.deep_r import DeepR
from keras_sparse.methods.exploration.dsr import DSR
from keras_sparse.methods.exploration.rigl import RigL
from keras_sparse.methods.exploration.set import SET
from keras_sparse.methods.exploration.snfs import SNFS
from keras_sparse.methods.gradual.acdc import ACDC
from keras_sparse.methods.gradual.admm import ADMM
from keras_sparse.methods.gradual.dpf import DPF
from keras_sparse.methods.gradual.gmp import GMP
from keras_sparse.methods.gradual.movement import MovementPruning
from keras_sparse.methods.grow_and_prune.cyclic import CyclicGaP
from keras_sparse.methods.sampled.l0 import L0
from keras_sparse.methods.sampled.sparse_variational_dropout import SparseVariationalDropout
from keras_sparse.methods.straight_through.edge_popup import EdgePopup
from keras_sparse.methods.straight_through.iht import IHT
from keras_sparse.methods.straight_through.sr_ste import SRSTE
from keras_sparse.methods.straight_through.ste import STE
from keras_sparse.methods.straight_through.str import STR
from keras_sparse.methods.straight_through.top_kast import TopKAST
from keras_sparse.posttrain.adaprune import adaprune, global_adaprune
from keras_sparse.posttrain.mfac import mfac
from keras_sparse.posttrain.obc import obc
from keras_sparse.posttrain.obd import obd
from keras_sparse.posttrain.prune import prune
from keras_sparse.posttrain.sparsegpt import sparsegpt
from keras_sparse.posttrain.wanda import wanda
from keras_sparse.posttrain.woodfisher import woodfisher
from keras_sparse.sparsity.granularity import NM
from keras_sparse.sparsity.recipe import Recipe
from keras_sparse.sparsity.schedules import OneShot


class Method(NamedTuple):
    """A training method as the command line offers it.

    Args:
        make: Makes the callback from the common arguments; `None` for no callback.
        line: What it does, in one line.
        source: Where it comes from.
        granularity: The pattern it prunes in, unless another is asked for.
        takes_sparsity: Whether a sparsity can be asked for.
        takes_data: Whether `make` takes calibration data as well.
        after: Prunes the trained model: `after(model, calibration data, **common arguments)`.
    """

    make: Callable[..., SparseCallback | None]
    line: str
    source: str = ""
    granularity: str = "unstructured"
    takes_sparsity: bool = True
    takes_data: bool = False
    after: Callable[..., Any] | None = None


def _one_shot(**common: Any) -> GMP:
    return GMP(schedule=OneShot("50%"), **common)


def _static_magnitude(**common: Any) -> StaticMask:
    return StaticMask(mask="magnitude", **common)


def _one_schedule(**common: Any) -> CyclicGaP:
    # A run has one learning-rate schedule, which would not come to its end if it began anew.
    return CyclicGaP(restart=False, **common)


def _uniform(method: Callable[..., SparseCallback]) -> Callable[..., SparseCallback]:
    def make(**common: Any) -> SparseCallback:
        return method(**{"allocation": "uniform", **common})

    return make


def _for_one_shot(method: Callable[..., SparseCallback], **more: Any) -> Callable[..., Any]:
    """Trains for the sparsity or pattern that the dense model is pruned to afterwards."""

    def make(
        sparsity: float | None = None, granularity: Any = None, **common: Any
    ) -> SparseCallback:
        if isinstance(granularity, NM):
            return method(operators=[granularity], **more, **common)
        # Asked for nothing to be pruned, for which there is nothing to train, by its default.
        return method(sparsity or None, granularity=granularity, **more, **common)

    return make


def _sam(sparsity: float | None = None, granularity: Any = None, **common: Any) -> SAM:
    Recipe(sparsity, granularity=granularity, **{k: v for k, v in common.items() if k != "seed"})
    return SAM(**common)


def _after_training(after: Callable[..., Any], line: str, source: str = "") -> Method:
    def make(seed: int, **common: Any) -> None:
        Recipe(**common)  # Raises for what cannot be used.

    return Method(make, f"dense training, then {line}", source, after=after)


def _magnitude(model: Any, data: Any, **common: Any) -> None:
    prune(model, **common)


METHODS: Mapping[str, Method] = {
    "dense": Method(lambda **_: None, "no pruning: the reference to compare with"),
    "acdc": Method(ACDC, "dense and sparse phases in turn, ends sparse", "Peste et al. 2021"),
    "gmp": Method(GMP, "gradual magnitude pruning, sparser and sparser", "Zhu and Gupta 2017"),
    "oneshot": Method(_one_shot, "dense until half of the run, pruned at once, fine-tuned"),
    "static": Method(StaticMask, "a random mask from the first step on"),
    "static_magnitude": Method(
        _static_magnitude, "the largest initial weights from the first step on"
    ),
    "snip": Method(
        SNIP, "weights that the loss feels at initialization", "Lee et al. 2019", takes_data=True
    ),
    "grasp": Method(
        GraSP, "weights that carry the gradient flow", "Wang et al. 2020", takes_data=True
    ),
    "synflow": Method(SynFlow, "weights that carry a signal of ones", "Tanaka et al. 2020"),
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
    "l0": Method(
        L0,
        "gates at random, a penalty closes them; the sparsity follows",
        "Louizos et al. 2018",
        takes_sparsity=False,
    ),
    "sparse_vd": Method(
        SparseVariationalDropout,
        "noise on each weight, as much as it bears; the sparsity follows",
        "Molchanov et al. 2017",
        takes_sparsity=False,
    ),
    "movement": Method(
        MovementPruning, "keeps weights that move away from zero", "Sanh et al. 2020"
    ),
    "edge_popup": Method(
        EdgePopup, "weights stay, which of them count is learned", "Ramanujan et al. 2020"
    ),
    "cyclic_gap": Method(
        _one_schedule, "quarters of the model grow dense in turn, and are cut", "Ma et al. 2022"
    ),
    "admm": Method(ADMM, "pulled towards sparse weights, then cut", "Zhang et al. 2018"),
    "cram": Method(
        _for_one_shot(CrAM, sparse_gradients=True),
        "learns to bear pruning, dense, and is cut after training",
        "Peste et al. 2023",
        after=_magnitude,
    ),
    "csam": Method(
        _for_one_shot(CSAM),
        "as cram, by sharpness of the cut model",
        "Peste et al. 2023",
        after=_magnitude,
    ),
    "topk_plus": Method(
        _for_one_shot(TopKPlus),
        "as cram, without a perturbation",
        "Peste et al. 2023",
        after=_magnitude,
    ),
    "sam": Method(_sam, "flat minima, cut after training", "Foret et al. 2021", after=_magnitude),
    "magnitude": _after_training(_magnitude, "the smallest weights are cut"),
    "obd": _after_training(obd, "cut by the Fisher diagonal", "LeCun et al. 1990"),
    "woodfisher": _after_training(
        woodfisher, "cut and corrected by Fisher blocks", "Singh and Alistarh 2020"
    ),
    "mfac": _after_training(mfac, "the same with the whole Fisher matrix", "Frantar et al. 2021"),
    "obc": _after_training(obc, "cut exactly by layers' outputs", "Frantar and Alistarh 2022"),
    "sparsegpt": _after_training(
        sparsegpt, "cut column by column by layers' outputs", "Frantar and Alistarh 2023"
    ),
    "wanda": _after_training(wanda, "cut by weights times their inputs' norms", "Sun et al. 2023"),
    "adaprune": _after_training(
        adaprune, "cut and layers fitted to their outputs", "Hubara et al. 2021"
    ),
    "global_adaprune": _after_training(
        global_adaprune, "the same on the pruned model's inputs", "Frantar and Alistarh 2022"
    ),
}
