"""Pruning that makes a model smaller: channels, neurons and heads that belong together."""

from keras_sparse.structured.coupling.coupling import register_coupling
from keras_sparse.structured.group_lasso import GroupLasso
from keras_sparse.structured.layerwise.greedy_forward import GreedyForwardSelection
from keras_sparse.structured.layerwise.i_spasp import ISpaSP
from keras_sparse.structured.layerwise.prune_layerwise import LayerwisePruning, prune_layerwise
from keras_sparse.structured.pretraining.pretraining_probe import PretrainingProbe
from keras_sparse.structured.pretraining.pretraining_report import (
    PretrainingReport,
    pretraining_report,
)
from keras_sparse.structured.prune import prune
from keras_sparse.structured.report import StructureReport, report
from keras_sparse.structured.shrink import masked, shrink
from keras_sparse.structured.units.backward_elimination import backward_elimination
from keras_sparse.structured.units.channel_pursuit import gradient_importance, i_spasp_channels
from keras_sparse.structured.units.cut import Cut, cut
from keras_sparse.structured.units.distributed_selection import distributed_selection
from keras_sparse.structured.units.greedy_forward_selection import greedy_forward_selection
from keras_sparse.structured.units.greedy_selection import GreedySelection, fold_gains
from keras_sparse.structured.units.i_spasp import i_spasp
from keras_sparse.structured.units.layer_selection import select_channels
from keras_sparse.structured.units.local_imitation import local_imitation
from keras_sparse.structured.units.pursuit import Pursuit, i_spasp_units
from keras_sparse.structured.units.two_layer import neuron_outputs, smaller_model
from keras_sparse.structured.units.unit_selection import select_units, select_vertices

__all__ = [
    "Cut",
    "GreedyForwardSelection",
    "GreedySelection",
    "GroupLasso",
    "ISpaSP",
    "LayerwisePruning",
    "PretrainingProbe",
    "PretrainingReport",
    "Pursuit",
    "StructureReport",
    "backward_elimination",
    "cut",
    "distributed_selection",
    "fold_gains",
    "gradient_importance",
    "greedy_forward_selection",
    "i_spasp",
    "i_spasp_channels",
    "i_spasp_units",
    "local_imitation",
    "masked",
    "neuron_outputs",
    "pretraining_report",
    "prune",
    "prune_layerwise",
    "register_coupling",
    "report",
    "select_channels",
    "select_units",
    "select_vertices",
    "shrink",
    "smaller_model",
]
