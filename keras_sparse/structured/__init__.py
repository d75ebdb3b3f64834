"""Pruning that makes a model smaller: channels, neurons and heads that belong together."""

from keras_sparse.structured.coupling import register_coupling
from keras_sparse.structured.shrink import masked, shrink

__all__ = ["masked", "register_coupling", "shrink"]
