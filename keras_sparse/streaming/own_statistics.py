"""Batch-norm statistics of one data set, for a model whose layers learn others besides."""

from __future__ import annotations

import keras
import numpy as np

from keras_sparse.probe.batch_norm import StatisticsTuner, batch_normalizations, tuning_batches
from keras_sparse.streaming.learner.model_state import uncompiled_copy

_BATCH = 128


class OwnStatistics:
    """A copy of a model, the same but for the moving statistics of batch normalization.

    Args:
        model: A built model, which may go on to learn.
    """

    def __init__(self, model: keras.Model) -> None:
        self.original, self.model = model, uncompiled_copy(model)
        self.tuner = StatisticsTuner(self.model, None) if batch_normalizations(model) else None

    def renew(self, inputs: np.ndarray) -> None:
        """Takes the weights over, and the statistics of inputs, of which there are two at least."""
        self.model.set_weights(self.original.get_weights())
        if self.tuner is not None:
            self.tuner.tune(tuning_batches(self.model, inputs, _BATCH, None, 0))
