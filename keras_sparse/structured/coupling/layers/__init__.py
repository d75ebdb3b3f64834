"""What is known of Keras's layers and operations; importing it registers all of it."""

from keras_sparse.structured.coupling.layers import (
    attention,
    contraction,
    convolution,
    dense,
    elementwise,
    movement,
    normalization,
    recurrent,
    reduction,
    scale,
    wrappers,
)

__all__ = [
    "attention",
    "contraction",
    "convolution",
    "dense",
    "elementwise",
    "movement",
    "normalization",
    "recurrent",
    "reduction",
    "scale",
    "wrappers",
]
