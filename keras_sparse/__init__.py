"""Sparse training, pruning and edge export for Keras 3."""

from keras_sparse import (
    data,
    deploy,
    distribute,
    graphs,
    methods,
    migrate,
    models,
    plots,
    posttrain,
    precision,
    signal_propagation,
    streaming,
    structured,
    transfer,
    tuning,
)
from keras_sparse.analysis import scaling
from keras_sparse.analysis.agreement import sample_agreement, sparse_dense_cross_entropy
from keras_sparse.analysis.agreement_report import AgreementReport, agreement_report
from keras_sparse.analysis.memorization import (
    MemorizationMonitor,
    RandomLabels,
    inject_random_labels,
)
from keras_sparse.analysis.pruned_filters import pruned_filters
from keras_sparse.analysis.signal.callback import SignalPropagation
from keras_sparse.analysis.signal.jacobians import jacobian_singular_values
from keras_sparse.analysis.signal.report import SignalReport, signal_report
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
from keras_sparse.methods import *
from keras_sparse.posttrain import *
from keras_sparse.precision.low_precision import LowPrecision, strip_precision
from keras_sparse.precision.range_test import precision_range_test
from keras_sparse.precision.scheduler import PrecisionScheduler
from keras_sparse.probe.batch_norm import batch_norm_tuning
from keras_sparse.signal_propagation import *
from keras_sparse.sparsity.duration import Duration
from keras_sparse.sparsity.given_masks import transfer_masks
from keras_sparse.sparsity.granularity import NM, Block, Channel, Unstructured
from keras_sparse.sparsity.masks import mask_change
from keras_sparse.sparsity.operators import Quantize, TopK
from keras_sparse.sparsity.partition import GrowPrunePartition
from keras_sparse.sparsity.report import SparsityReport, report
from keras_sparse.sparsity.runtime_pattern import RuntimePattern
from keras_sparse.sparsity.schedules import Constant, OneShot, Polynomial
from keras_sparse.structured.pretraining.pretraining_probe import PretrainingProbe
from keras_sparse.transfer.distillation import Distillation

# The name that rules of users know it by.
Moment = Clock

__all__ = [
    *methods.__all__,
    *posttrain.__all__,
    *signal_propagation.__all__,
    "NM",
    "AgreementReport",
    "Block",
    "Channel",
    "Clock",
    "Constant",
    "Distillation",
    "Duration",
    "GrowPrunePartition",
    "LowPrecision",
    "MemorizationMonitor",
    "Moment",
    "OneShot",
    "PlainCheckpoint",
    "Polynomial",
    "PrecisionScheduler",
    "PretrainingProbe",
    "PruneWrapper",
    "Quantize",
    "RandomLabels",
    "Rule",
    "RuntimePattern",
    "ScheduledMasks",
    "SignalPropagation",
    "SignalReport",
    "SparseCallback",
    "SparseEarlyStopping",
    "SparseOptimizer",
    "SparsityReport",
    "SparsityWarning",
    "Tensors",
    "TopK",
    "Unstructured",
    "Update",
    "agreement_report",
    "batch_norm_tuning",
    "data",
    "deploy",
    "distribute",
    "graphs",
    "inject_random_labels",
    "jacobian_singular_values",
    "mask_change",
    "migrate",
    "models",
    "plots",
    "precision",
    "precision_range_test",
    "prune_wrap",
    "prune_wrappers",
    "pruned_filters",
    "report",
    "sample_agreement",
    "scaling",
    "signal_propagation",
    "signal_report",
    "sparse_dense_cross_entropy",
    "sparse_optimizer",
    "streaming",
    "strip_precision",
    "strip_pruning",
    "structured",
    "transfer",
    "transfer_masks",
    "tuning",
]
