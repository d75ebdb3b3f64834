"""Two-layer Keras models: their units, and the smaller model that some of them make."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_sparse.messages.arguments import instance, integer, optional, text, wrong
from keras_sparse.probe.calibration import calibration_batches
from keras_sparse.probe.calls import run_recorded
from keras_sparse.probe.variables import check_built
from keras_sparse.structured.coupling.groups import channel_groups
from keras_sparse.structured.shrink import build
from keras_sparse.structured.units.contributions import Contributions, numbers
from keras_sparse.structured.units.greedy_selection import fold_gains

_CURE = (
    "The model needs two Dense layers in a row, with activations, dropout or batch normalization "
    "between them and nothing else."
)
_BETWEEN = (
    keras.layers.Activation,
    keras.layers.ActivityRegularization,
    keras.layers.BatchNormalization,
    keras.layers.Dropout,
    keras.layers.ELU,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
    keras.layers.LeakyReLU,
    keras.layers.PReLU,
    keras.layers.ReLU,
)
# What they make of a unit depends on the others.
_ACROSS_UNITS = ("softmax", "log_softmax", "sparsemax", "glu")


class TwoLayer(NamedTuple):
    """The parts of a two-layer network.

    Args:
        hidden: The layer whose units are selected.
        output: The layer that follows.
    """

    hidden: keras.layers.Dense
    output: keras.layers.Dense


class Recorded(NamedTuple):
    """What a two-layer network makes of some samples.

    Args:
        hidden: Activations that the output layer sees, shape `(m, N)`.
        targets: Of the samples, or `None`.
        inputs: What the hidden layer sees, shape `(m, d)`.
    """

    hidden: np.ndarray
    targets: np.ndarray | None
    inputs: np.ndarray


def two_layers(model: keras.Model) -> TwoLayer:
    """The two layers of a model.

    Args:
        model: A built Sequential or functional model with two `Dense` layers.

    Raises:
        ValueError: If it is another.
    """
    check_built(model)
    if not hasattr(model, "inputs") or not model.inputs:
        raise wrong("model", model, "a Sequential or functional model", _CURE)
    dense = [x for x in model._flatten_layers() if type(x) is keras.layers.Dense]
    if len(dense) != 2 or any(not any(x is y for y in model.layers) for x in dense):
        raise ValueError(
            f"Model {model.name!r} has {len(dense)} Dense layers, and two are selected from. "
            f"{_CURE}"
        )
    first, second = dense
    units = first.kernel.shape[1]
    if units != second.kernel.shape[0]:
        raise ValueError(
            f"{first.name!r} has {units} units and {second.name!r} takes "
            f"{second.kernel.shape[0]}. {_CURE}"
        )
    stack = model.layers[model.layers.index(first) : model.layers.index(second) + 1]
    for before, layer in itertools.pairwise(stack):
        function = getattr(getattr(before, "activation", None), "__name__", "")
        plain = before is first or isinstance(before, _BETWEEN)
        if not plain or function in _ACROSS_UNITS or layer.input is not before.output:
            raise ValueError(
                f"{before.name!r} ({type(before).__name__}) stands between the hidden layer "
                f"{first.name!r} and {second.name!r}, and is not one number for each unit by "
                f"itself, or not all that goes on. {_CURE}"
            )
    return TwoLayer(first, second)


def recorded(
    model: keras.Model, data: Any, batch_size: int = 512, targets: bool = True
) -> Recorded:
    """Runs a two-layer model on data, in inference mode, and keeps what its layers see.

    Args:
        model: A model that `two_layers` takes.
        data: Arrays `(x, y)`, or a finite iterable of batches.
        batch_size: Samples in a batch, for arrays.
        targets: Whether they are needed.

    Raises:
        ValueError: If the data does not suit the model.
    """
    layers = two_layers(model)
    hidden: list[np.ndarray] = []
    inputs: list[np.ndarray] = []
    labels: list[np.ndarray] = []

    def note(layer: keras.layers.Layer, seen: Any, _: Any) -> None:
        kept = inputs if layer is layers.hidden else hidden
        kept.append(ops.convert_to_numpy(seen))

    for x, y in calibration_batches(model, data, batch_size, targets=targets):
        run_recorded(model, list(layers), x, note)
        if y is not None:
            labels.append(numbers("data", y))
    if hidden[0].ndim != 2:
        raise ValueError(
            f"{layers.output.name!r} of model {model.name!r} is called on inputs of shape "
            f"{hidden[0].shape}. Received data that is more than (samples, features) there."
        )
    whole = np.concatenate(labels) if labels else None
    return Recorded(np.concatenate(hidden), whole, np.concatenate(inputs))


class Vertices(NamedTuple):
    """A network as the theory has it.

    Args:
        phi: The outputs of the neurons, whose mean is the network's, over `sqrt(m)`, shape
            `(N, m * outputs)`.
        y: The labels less the output layer's bias, over `sqrt(m)`, shape `(m * outputs,)`.
    """

    phi: np.ndarray
    y: np.ndarray


def neuron_outputs(model: keras.Model, data: Any) -> Vertices:
    """The vertices of the polytope that greedy forward selection works in, and the labels.

    What `select_vertices` and the bounds of `keras_sparse.analysis.bounds` take.

    ```python
    phi, labels = ks.structured.neuron_outputs(model, (x, keras.utils.to_categorical(y)))
    ```

    Args:
        model: A Sequential or functional model with two `Dense` layers; what its last activation
            is plays no part.
        data: Arrays `(x, y)`, or a finite iterable of batches, with one target for each output.

    Returns:
        `Vertices`.

    Raises:
        ValueError: If the model or the data do not suit.

    Source: Wolfe (2023), 3.2, equations 3 to 7.
    """
    layers = two_layers(model)
    seen = recorded(model, data)
    kernel = ops.convert_to_numpy(layers.output.kernel)
    units, outputs = kernel.shape
    rows = len(seen.hidden)
    labels = np.asarray(seen.targets).reshape(rows, -1)
    if labels.shape[1] != outputs:
        raise wrong("data", labels.shape, f"samples with {outputs} targets each")
    if layers.output.use_bias:
        labels = labels - ops.convert_to_numpy(layers.output.bias)
    each = Contributions(seen.hidden, units * kernel).of(np.arange(units))
    return Vertices(each.reshape(units, -1) / rows**0.5, labels.ravel() / rows**0.5)


def smaller_model(
    model: keras.Model, indices: Any, gains: Any = None, name: str | None = None
) -> keras.Model:
    """The two-layer model with some of its hidden units: a plain Keras model, not compiled.

    ```python
    selection = ks.structured.greedy_forward_selection(model, (x, y), size=50)
    small = ks.structured.smaller_model(model, selection.indices, selection.gains)
    ```

    Args:
        model: A Sequential or functional model with two `Dense` layers. It is not changed.
        indices: The hidden units that stay, each once.
        gains: What the output of each of these is multiplied with; they go into the output layer's
            kernel. Defaults to 1.
        name: Of the new model. Defaults to the model's own.

    Returns:
        The new model.

    Raises:
        ValueError: If the model is another, or `indices` or `gains` do not fit.

    Source: Wolfe (2023), 3.3 and Algorithm 4.
    """
    instance("model", model, keras.Model, "a built keras.Model")
    optional(text, "name", name)
    layers = two_layers(model)
    units = int(layers.hidden.kernel.shape[1])
    kept = numbers("indices", indices).astype(int).ravel()
    for index in kept.tolist():
        integer("indices", index, 0, units - 1)
    if len(np.unique(kept)) != len(kept):
        raise wrong("indices", indices, "different units")
    folded = fold_gains(ops.convert_to_numpy(layers.output.kernel), kept, gains)
    groups = channel_groups(model)
    group = next(group for group in groups.groups if group.makes(layers.hidden.kernel))
    small = build(groups, groups.checked({group.name: kept}), masked=False)
    small.get_layer(layers.output.name).kernel.assign(folded[np.argsort(kept)])
    if name is not None:
        small.name = name
    return small
