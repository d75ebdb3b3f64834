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
from keras_sparse.plots.transfer import (
    agreement_points,
    error_increase_by_difficulty,
    error_increase_by_sparsity,
    memorization_curve,
)

__all__ = [
    "agreement_points",
    "error_increase_by_difficulty",
    "error_increase_by_sparsity",
    "layer_sparsity",
    "mask_image",
    "memorization_curve",
    "plot_acdc_schedule",
    "pretraining_curve",
    "read_history",
    "training_by_cost",
    "training_curve",
    "write_history",
]
