"""Signal propagation at initialization: orthogonal starts, and approximate isometry of masks."""

from keras_sparse.signal_propagation.enforcing import IsometryReport, enforce_isometry
from keras_sparse.signal_propagation.initializers import ConvolutionOrthogonal, DeltaOrthogonal
from keras_sparse.signal_propagation.layerwise import init_ldi
from keras_sparse.signal_propagation.mean_field import MeanField, mean_field_gain
from keras_sparse.signal_propagation.orthogonality import orthogonality_score

__all__ = [
    "ConvolutionOrthogonal",
    "DeltaOrthogonal",
    "IsometryReport",
    "MeanField",
    "enforce_isometry",
    "init_ldi",
    "mean_field_gain",
    "orthogonality_score",
]
