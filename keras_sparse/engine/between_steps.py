"""Masks that hold between steps, whatever others have written into a model's weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras import ops

from keras_sparse.engine.buffers import average_of
from keras_sparse.engine.sparse_optimizer import SparseOptimizer
from keras_sparse.sparsity.masks import apply_mask


def hold_masks(optimizer: SparseOptimizer) -> None:
    """Puts zeros where the masks say so, in whatever stands in the model's weights.

    Weights that are drawn for each batch are left alone: the masks are of the evaluated ones.
    """
    if not optimizer.rule.sampled:
        _mask(optimizer.weights_to_prune, optimizer.masks)


def mask_averages(optimizer: SparseOptimizer) -> None:
    """Puts zeros where the masks say so in moving averages of the weights, if there are any."""
    pairs = zip(optimizer.trainers, optimizer.weights_to_prune, strict=True)
    _mask([average_of(trainer, weight) for trainer, weight in pairs], optimizer.masks)


def _mask(variables: Sequence[Any], masks: Sequence[Any]) -> None:
    for variable, mask in zip(variables, masks, strict=True):
        if variable is not None:
            value, kept = ops.convert_to_tensor(variable), ops.convert_to_tensor(mask)
            variable.assign(apply_mask(value, kept))
