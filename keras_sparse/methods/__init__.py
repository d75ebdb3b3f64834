"""Methods that prune while a model trains.

A name here is public: `keras_sparse` takes them over, and the documentation has a page of each.
"""

from keras_sparse.methods.at_start.grasp import GraSP
from keras_sparse.methods.at_start.lottery_ticket import LotteryTicket, iterative_magnitude_pruning
from keras_sparse.methods.at_start.sculpting import Sculpture, sculpt, sparsity_for_budget
from keras_sparse.methods.at_start.snip import SNIP, connection_sensitivity_masks
from keras_sparse.methods.at_start.static_mask import StaticMask
from keras_sparse.methods.at_start.synflow import SynFlow
from keras_sparse.methods.compression_aware.cram import CrAM
from keras_sparse.methods.compression_aware.csam import CSAM
from keras_sparse.methods.compression_aware.sam import SAM
from keras_sparse.methods.compression_aware.topk_plus import TopKPlus
from keras_sparse.methods.exploration.deep_r import DeepR
from keras_sparse.methods.exploration.dsr import DSR
from keras_sparse.methods.exploration.granet import GraNet
from keras_sparse.methods.exploration.rigl import RigL
from keras_sparse.methods.exploration.set import SET
from keras_sparse.methods.exploration.snfs import SNFS
from keras_sparse.methods.gradual.acdc import ACDC, finetune_dense
from keras_sparse.methods.gradual.acdc_schedule import acdc_schedule
from keras_sparse.methods.gradual.admm import ADMM
from keras_sparse.methods.gradual.dpf import DPF
from keras_sparse.methods.gradual.dsd import DSD, SkinnyIHT
from keras_sparse.methods.gradual.gmp import GMP
from keras_sparse.methods.gradual.movement import MovementPruning
from keras_sparse.methods.grow_and_prune.cyclic import CyclicGaP
from keras_sparse.methods.grow_and_prune.parallel import ParallelGaP
from keras_sparse.methods.grow_and_prune.schedule import gap_density, gap_schedule
from keras_sparse.methods.sampled.l0 import L0
from keras_sparse.methods.sampled.sparse_variational_dropout import SparseVariationalDropout
from keras_sparse.methods.straight_through.edge_popup import EdgePopup
from keras_sparse.methods.straight_through.iht import IHT
from keras_sparse.methods.straight_through.sr_ste import SRSTE
from keras_sparse.methods.straight_through.ste import STE
from keras_sparse.methods.straight_through.str import STR
from keras_sparse.methods.straight_through.top_kast import TopKAST

__all__ = [
    "ACDC",
    "ADMM",
    "CSAM",
    "DPF",
    "DSD",
    "DSR",
    "GMP",
    "IHT",
    "L0",
    "SAM",
    "SET",
    "SNFS",
    "SNIP",
    "SRSTE",
    "STE",
    "STR",
    "CrAM",
    "CyclicGaP",
    "DeepR",
    "EdgePopup",
    "GraNet",
    "GraSP",
    "LotteryTicket",
    "MovementPruning",
    "ParallelGaP",
    "RigL",
    "Sculpture",
    "SkinnyIHT",
    "SparseVariationalDropout",
    "StaticMask",
    "SynFlow",
    "TopKAST",
    "TopKPlus",
    "acdc_schedule",
    "connection_sensitivity_masks",
    "finetune_dense",
    "gap_density",
    "gap_schedule",
    "iterative_magnitude_pruning",
    "sculpt",
    "sparsity_for_budget",
]
