"""Layerwise dynamical isometry: weights drawn so that each layer keeps the size of signals."""

from __future__ import annotations

import random
import warnings
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_sparse.backend.replicas import strategy_scope
from keras_sparse.messages.arguments import one_of, random_seed
from keras_sparse.messages.warning import SparsityWarning
from keras_sparse.probe.variables import check_built, owners
from keras_sparse.signal_propagation.initializers import ConvolutionOrthogonal, orthogonal_matrix
from keras_sparse.signal_propagation.mean_field import MeanField, mean_field_gain
from keras_sparse.signal_propagation.stages import Stage, stages
from keras_sparse.sparsity.selection import Target, survey

GAINS = ("unit", "critical")


def init_ldi(model: keras.Model, activation_gain: str = "unit", seed: int | None = None) -> None:
    """Draws a model's kernels anew, orthogonal, for each layer to keep the size of signals.

    Dense and recurrent kernels become orthogonal matrices, kernels of convolutions ones that keep
    norms (`ConvolutionOrthogonal`); biases become zero. A depthwise kernel, which is no matrix,
    stays as it is, with a warning, as do embeddings and normalization. Do this before pruning: what
    connection sensitivity says of a weight then depends on its own layer alone.

    ```python
    ks.init_ldi(model, seed=0)
    model.fit(x, y, callbacks=[ks.SNIP(0.9, (x, y), isometry=True)])
    ```

    Args:
        model: A built Keras model; its weights are replaced.
        activation_gain: `"unit"` (orthogonal matrices, whatever the activation) or `"critical"`:
            matrices are multiplied by the `sigma_w`, and biases drawn with the variance
            `sigma_b^2`, of `mean_field_gain(activation, q=1)`. For ReLU that is the square root of
            2.
        seed: Makes the weights reproducible. Defaults to Python's generator, which
            `keras.utils.set_random_seed` seeds.

    Raises:
        ValueError: For arguments out of range, a model that is not built, or with `"critical"` a
            layer whose activation has no known gain.

    Warns:
        SparsityWarning: Of depthwise kernels, and of convolutions that have no such kernel: of
            more inputs than outputs, or with a window that is not square.

    Source: Lee (2020), Definition 4.3.1; Xiao et al. (2018).
    """
    one_of("activation_gain", activation_gain, GAINS)
    random_seed("seed", seed)
    check_built(model)
    selection = survey(model)
    critical = _critical(model) if activation_gain == "critical" else {}
    draws: Any = random if seed is None else random.Random(seed)
    depthwise, owner = [], owners(model)
    with strategy_scope(model):
        for target, kernel in zip(selection.targets, selection.variables(model), strict=True):
            layer = owner[id(kernel)]
            gain = critical.get(id(layer), MeanField(1.0, 0.0))
            own = draws.randrange(2**31)
            if not target.layout.inputs:
                depthwise.append(target.path)
                continue
            kernel.assign(gain.weight_std * _drawn(target, own))
            bias = getattr(layer, "bias", None)
            if isinstance(bias, keras.Variable) and kernel.name == "kernel":
                values = np.random.default_rng(own + 1).normal(size=tuple(bias.shape))
                bias.assign(gain.bias_variance**0.5 * values)
    if depthwise:
        warnings.warn(
            f"Depthwise kernels are no matrices and stay as they are: {', '.join(depthwise)}.",
            SparsityWarning,
            stacklevel=2,
        )


def _drawn(target: Target, seed: int) -> Any:
    layout = target.layout
    positions, inputs, outputs = layout.matrix_shape
    if positions == 1:
        kernel = orthogonal_matrix(inputs, outputs, np.random.default_rng(seed))
    else:
        window = tuple(layout.shape[axis] for axis in layout.positions)
        kernel = ops.convert_to_numpy(ConvolutionOrthogonal(seed=seed)((*window, inputs, outputs)))
    return ops.convert_to_numpy(layout.from_matrix(kernel.reshape(positions, inputs, outputs)))


def _critical(model: keras.Model) -> dict[int, MeanField]:
    """The gains of the layers whose activations are known, by their `id`."""
    return {id(stage.layer): _gain(stage) for stage in stages(model)}


def _gain(stage: Stage) -> MeanField:
    activations = stage.activations
    if not activations:
        return MeanField(1.0, 0.0)
    try:
        return mean_field_gain(activations[0])
    except ValueError as error:
        name = getattr(activations[0], "__name__", activations[0])
        raise ValueError(
            f"Layer {stage.layer.name!r} is followed by {name!r}, of which no critical gain is "
            f"known: {error} Use activation_gain='unit'."
        ) from error
