"""Pruning that makes a model smaller: channels, neurons and heads that belong together."""

from keras_sparse.structured.coupling import register_coupling
from keras_sparse.structured.group_lasso import GroupLasso
from keras_sparse.structured.prune import prune
from keras_sparse.structured.report import StructureReport, report
from keras_sparse.structured.shrink import masked, shrink

__all__ = [
    "GroupLasso",
    "StructureReport",
    "masked",
    "prune",
    "register_coupling",
    "report",
    "shrink",
]
