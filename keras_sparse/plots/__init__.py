"""Pictures of sparse training."""

from keras_sparse.plots.batch_size import (
    optimizer_comparison,
    scaling_curves,
    steps_ratio,
    trial_map,
)
from keras_sparse.plots.mask_image import mask_image
from keras_sparse.plots.pareto import pareto_plot
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
    "optimizer_comparison",
    "pareto_plot",
    "plot_acdc_schedule",
    "pretraining_curve",
    "read_history",
    "scaling_curves",
    "signal_propagation",
    "steps_ratio",
    "training_by_cost",
    "training_curve",
    "trial_map",
    "write_history",
]
