"""Pictures of sparse training."""

from keras_sparse.plots.mask_image import mask_image
from keras_sparse.plots.pretraining import pretraining_curve
from keras_sparse.plots.rounds import training_by_cost
from keras_sparse.plots.runs import (
    layer_sparsity,
    plot_acdc_schedule,
    read_history,
    training_curve,
    write_history,
)
from keras_sparse.plots.signal_propagation import signal_propagation

__all__ = [
    "layer_sparsity",
    "mask_image",
    "plot_acdc_schedule",
    "pretraining_curve",
    "read_history",
    "signal_propagation",
    "training_by_cost",
    "training_curve",
    "write_history",
]
