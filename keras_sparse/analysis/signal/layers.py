"""Singular values of the Jacobian of each layer by what it takes in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_sparse.analysis.signal.singular_values import SingularValues, singular_values
from keras_sparse.backend.gradients import gradient
from keras_sparse.probe.calibration import calibration_batches
from keras_sparse.probe.calls import run_recorded
from keras_sparse.probe.layout import kernel_layout
from keras_sparse.probe.variables import check_built
from keras_sparse.signal_propagation.matrices import LARGEST_GRAM, as_matrix
from keras_sparse.signal_propagation.stages import Stage, stages, without_activation

# Samples whose Jacobians are looked at layer by layer.
SAMPLES = 32


def layer_singular_values(model: keras.Model, x: Any) -> dict[str, SingularValues]:
    """Singular values of `D W` of each dense and convolutional layer, for up to 32 samples.

    `W` is the layer's kernel, outputs by inputs, and `D` the slopes of what follows it unit by
    unit up to the next layer: its activation, batch normalization by its moving statistics, and
    layers of activations. Of a convolution (and a layer that is dense along a sequence) it is the
    Jacobian at one position, drawn at random for each sample, by the window it looks at: no larger
    than the kernel.

    Args:
        model: A built Keras model.
        x: Samples, of which the first batch is looked at.

    Returns:
        `SingularValues` by the names of layers, in the order of calls. Layers whose Gram matrix
        would be larger than 2048x2048 are left out.

    Raises:
        ValueError: For unsuitable data, a model without such layers, or Jacobians that are not
            finite.

    Source: Lee (2020), Eq. 4.7.
    """
    check_built(model)
    found = [stage for stage in stages(model) if _side(stage) <= LARGEST_GRAM]
    if not found:
        raise ValueError(
            f"Model {model.name!r} has no dense or convolutional layer whose Jacobian can be told."
        )
    batch, _ = next(calibration_batches(model, x, SAMPLES, targets=False))
    batch = keras.tree.map_structure(lambda part: part[:SAMPLES], batch)
    taken: dict[int, Any] = {}

    def note(layer: keras.layers.Layer, inputs: Any, _: Any) -> None:
        taken.setdefault(id(layer), inputs)

    run_recorded(model, [stage.layer for stage in found], batch, note)
    generator = np.random.default_rng(0)
    return {
        stage.layer.name: SingularValues(_of_stage(stage, taken[id(stage.layer)], generator))
        for stage in found
        if id(stage.layer) in taken
    }


def ldi_defect(found: SingularValues) -> float:
    """How far a layer is from keeping the size of every signal: `max_j |1 - sigma_j|`.

    Args:
        found: Of the layer; each value is averaged over samples first.

    Source: Lee (2020), Definition 4.3.1.
    """
    return float(np.abs(1 - found.values.mean(0)).max())


def _side(stage: Stage) -> int:
    shape = tuple(stage.layer.kernel.shape)
    return min(int(np.prod(shape[:-1])), shape[-1])


def _of_stage(stage: Stage, inputs: Any, generator: np.random.Generator) -> np.ndarray:
    """Singular values at a position of each sample, of shape `(samples, values)`."""
    kernel = stage.layer.kernel
    layout = kernel_layout(stage.layer, kernel.name, tuple(kernel.shape))
    values = np.asarray(ops.convert_to_numpy(ops.cast(kernel, "float32")))
    weights = as_matrix(values, layout).T
    slopes = _slopes(stage, inputs, generator)
    # Samples in which the same units pass have the same singular values.
    distinct, which = np.unique(slopes, axis=0, return_inverse=True)
    each = [singular_values(slope[:, None] * weights) for slope in distinct]
    return np.stack(each)[which.ravel()]


def _slopes(stage: Stage, inputs: Any, generator: np.random.Generator) -> np.ndarray:
    """The derivative of each unit's output by its pre-activation, `(samples, units)`."""
    with without_activation(stage.layer), keras.StatelessScope():
        before = stage.layer(inputs)

    def passed(values: Sequence[Any]) -> Any:
        with keras.StatelessScope():
            return ops.sum(ops.cast(stage.after_kernel(values[0]), "float32"))

    (slopes,) = gradient(passed, [before])
    array = np.asarray(ops.convert_to_numpy(ops.cast(slopes, "float32")))
    channels = getattr(stage.layer, "data_format", "channels_last")
    array = np.moveaxis(array, 1, -1) if channels == "channels_first" else array
    array = array.reshape(len(array), -1, array.shape[-1])
    return array[np.arange(len(array)), generator.integers(0, array.shape[1], len(array))]
