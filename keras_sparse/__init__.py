"""Sparse training, pruning and edge export for Keras 3."""

from keras_sparse import data, deploy, distribute, models, plots
from keras_sparse.analysis.agreement import sample_agreement, sparse_dense_cross_entropy
from keras_sparse.engine.callback import SparseCallback
from keras_sparse.engine.early_stopping import SparseEarlyStopping
from keras_sparse.engine.own_loop import sparse_optimizer
from keras_sparse.engine.plain_checkpoint import PlainCheckpoint
from keras_sparse.engine.rule import Clock, Rule, Tensors, Update
from keras_sparse.engine.rules.scheduled_masks import ScheduledMasks
from keras_sparse.engine.sparse_optimizer import SparseOptimizer
from keras_sparse.layers.prune_wrapper import PruneWrapper
from keras_sparse.layers.wrapping import prune_wrap, prune_wrappers, strip_pruning
from keras_sparse.messages.warning import SparsityWarning
from keras_sparse.methods.at_start.grasp import GraSP
from keras_sparse.methods.at_start.lottery_ticket import LotteryTicket, iterative_magnitude_pruning
from keras_sparse.methods.at_start.snip import SNIP, connection_sensitivity_masks
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
from keras_sparse.posttrain.adaprune import adaprune, global_adaprune
from keras_sparse.posttrain.compress import compress
from keras_sparse.posttrain.mfac import mfac
from keras_sparse.posttrain.obc import obc
from keras_sparse.posttrain.obd import obd
from keras_sparse.posttrain.obs import obs
from keras_sparse.posttrain.prune import prune
from keras_sparse.posttrain.sparsegpt import sparsegpt
from keras_sparse.posttrain.sweep import OneShotSweep, one_shot_sweep
from keras_sparse.posttrain.wanda import wanda
from keras_sparse.posttrain.woodfisher import woodfisher
from keras_sparse.probe.batch_norm import batch_norm_tuning
from keras_sparse.sparsity.duration import Duration
from keras_sparse.sparsity.granularity import NM, Block, Channel, Unstructured
from keras_sparse.sparsity.masks import mask_change
from keras_sparse.sparsity.operators import Quantize, TopK
from keras_sparse.sparsity.partition import GrowPrunePartition
from keras_sparse.sparsity.report import SparsityReport, report
from keras_sparse.sparsity.schedules import Constant, OneShot, Polynomial

# The name that rules of users know it by.
Moment = Clock

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
    "NM",
    "SAM",
    "SET",
    "SNFS",
    "SNIP",
    "SRSTE",
    "STE",
    "STR",
    "Block",
    "Channel",
    "Clock",
    "Constant",
    "CrAM",
    "CyclicGaP",
    "DeepR",
    "Duration",
    "EdgePopup",
    "GraSP",
    "GrowPrunePartition",
    "LotteryTicket",
    "Moment",
    "MovementPruning",
    "OneShot",
    "OneShotSweep",
    "ParallelGaP",
    "PlainCheckpoint",
    "Polynomial",
    "PruneWrapper",
    "Quantize",
    "RigL",
    "Rule",
    "ScheduledMasks",
    "SkinnyIHT",
    "SparseCallback",
    "SparseEarlyStopping",
    "SparseOptimizer",
    "SparseVariationalDropout",
    "SparsityReport",
    "SparsityWarning",
    "StaticMask",
    "SynFlow",
    "Tensors",
    "TopK",
    "TopKAST",
    "TopKPlus",
    "Unstructured",
    "Update",
    "acdc_schedule",
    "adaprune",
    "batch_norm_tuning",
    "compress",
    "connection_sensitivity_masks",
    "data",
    "deploy",
    "distribute",
    "finetune_dense",
    "gap_density",
    "gap_schedule",
    "global_adaprune",
    "iterative_magnitude_pruning",
    "mask_change",
    "mfac",
    "models",
    "obc",
    "obd",
    "obs",
    "one_shot_sweep",
    "plots",
    "prune",
    "prune_wrap",
    "prune_wrappers",
    "report",
    "sample_agreement",
    "sparse_dense_cross_entropy",
    "sparse_optimizer",
    "sparsegpt",
    "strip_pruning",
    "wanda",
    "woodfisher",
]
