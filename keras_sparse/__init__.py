"""Sparse training, pruning and edge export for Keras 3."""

from keras_sparse import data, deploy, distribute, models, plots
from keras_sparse.analysis.agreement import sample_agreement, sparse_dense_cross_entropy
from keras_sparse.engine.callback import SparseCallback
from keras_sparse.engine.rule import Moment, Rule, Tensors, Update
from keras_sparse.engine.scheduled_masks import ScheduledMasks
from keras_sparse.engine.sparse_optimizer import SparseOptimizer
from keras_sparse.methods.acdc import ACDC, finetune_dense
from keras_sparse.methods.acdc_schedule import acdc_schedule
from keras_sparse.methods.admm import ADMM
from keras_sparse.methods.cram import CrAM
from keras_sparse.methods.csam import CSAM
from keras_sparse.methods.deep_r import DeepR
from keras_sparse.methods.dpf import DPF
from keras_sparse.methods.dsd import DSD, SkinnyIHT
from keras_sparse.methods.dsr import DSR
from keras_sparse.methods.edge_popup import EdgePopup
from keras_sparse.methods.gap import CyclicGaP
from keras_sparse.methods.gap_schedule import gap_density, gap_schedule
from keras_sparse.methods.gmp import GMP
from keras_sparse.methods.grasp import GraSP
from keras_sparse.methods.iht import IHT
from keras_sparse.methods.l0 import L0
from keras_sparse.methods.lottery_ticket import LotteryTicket, iterative_magnitude_pruning
from keras_sparse.methods.movement import MovementPruning
from keras_sparse.methods.parallel_gap import ParallelGaP
from keras_sparse.methods.rigl import RigL
from keras_sparse.methods.sam import SAM
from keras_sparse.methods.set import SET
from keras_sparse.methods.snfs import SNFS
from keras_sparse.methods.snip import SNIP, connection_sensitivity_masks
from keras_sparse.methods.sparse_variational_dropout import SparseVariationalDropout
from keras_sparse.methods.sr_ste import SRSTE
from keras_sparse.methods.static_mask import StaticMask
from keras_sparse.methods.ste import STE
from keras_sparse.methods.str import STR
from keras_sparse.methods.synflow import SynFlow
from keras_sparse.methods.top_kast import TopKAST
from keras_sparse.methods.topk_plus import TopKPlus
from keras_sparse.posttrain.adaprune import adaprune, global_adaprune
from keras_sparse.posttrain.batch_norm import batch_norm_tuning
from keras_sparse.posttrain.compression import compress
from keras_sparse.posttrain.mfac import mfac
from keras_sparse.posttrain.obc import obc
from keras_sparse.posttrain.obd import obd
from keras_sparse.posttrain.obs import obs
from keras_sparse.posttrain.one_shot import prune
from keras_sparse.posttrain.sparsegpt import sparsegpt
from keras_sparse.posttrain.sweep import OneShotSweep, one_shot_sweep
from keras_sparse.posttrain.woodfisher import woodfisher
from keras_sparse.prune_wrapper import PruneWrapper
from keras_sparse.prune_wrapping import prune_wrap, prune_wrappers, strip_pruning
from keras_sparse.sparsity.duration import Duration
from keras_sparse.sparsity.granularity import NM, Block, Channel, Unstructured
from keras_sparse.sparsity.masks import mask_change
from keras_sparse.sparsity.operators import Quantize, TopK
from keras_sparse.sparsity.partition import GrowPrunePartition
from keras_sparse.sparsity.report import SparsityReport, report
from keras_sparse.sparsity.schedules import Constant, OneShot, Polynomial
from keras_sparse.sparsity.warning import SparsityWarning

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
    "Polynomial",
    "PruneWrapper",
    "Quantize",
    "RigL",
    "Rule",
    "ScheduledMasks",
    "SkinnyIHT",
    "SparseCallback",
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
    "sparsegpt",
    "strip_pruning",
    "woodfisher",
]
