"""Sparse training, pruning and edge export for Keras 3."""

from keras_sparse import data, deploy, models, plots
from keras_sparse.analysis.agreement import sample_agreement, sparse_dense_cross_entropy
from keras_sparse.engine.callback import SparseCallback
from keras_sparse.engine.rule import Rule, Tensors, Update
from keras_sparse.engine.scheduled_masks import ScheduledMasks
from keras_sparse.engine.sparse_optimizer import SparseOptimizer
from keras_sparse.methods.acdc import ACDC, finetune_dense
from keras_sparse.methods.acdc_schedule import acdc_schedule
from keras_sparse.methods.gmp import GMP
from keras_sparse.methods.static_mask import StaticMask
from keras_sparse.posttrain.batch_norm import batch_norm_tuning
from keras_sparse.posttrain.one_shot import prune
from keras_sparse.sparsity.duration import Duration
from keras_sparse.sparsity.granularity import NM, Block, Channel, Unstructured
from keras_sparse.sparsity.masks import mask_change
from keras_sparse.sparsity.report import SparsityReport, report
from keras_sparse.sparsity.schedules import Constant, OneShot, Polynomial
from keras_sparse.sparsity.warning import SparsityWarning

__all__ = [
    "ACDC",
    "GMP",
    "NM",
    "Block",
    "Channel",
    "Constant",
    "Duration",
    "OneShot",
    "Polynomial",
    "Rule",
    "ScheduledMasks",
    "SparseCallback",
    "SparseOptimizer",
    "SparsityReport",
    "SparsityWarning",
    "StaticMask",
    "Tensors",
    "Unstructured",
    "Update",
    "acdc_schedule",
    "batch_norm_tuning",
    "data",
    "deploy",
    "finetune_dense",
    "mask_change",
    "models",
    "plots",
    "prune",
    "report",
    "sample_agreement",
    "sparse_dense_cross_entropy",
]
