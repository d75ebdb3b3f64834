"""Models that TensorFlow's Model Optimization Toolkit pruned, on Keras 3."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from keras_sparse.messages.arguments import file_path
from keras_sparse.migrate.legacy_config import Converted, converted
from keras_sparse.migrate.legacy_files import read_legacy
from keras_sparse.probe.variables import places

_OF_THE_WRAPPER = re.compile(r"(mask|threshold|pruning_step)(_\d+)?")
# What tfmot prunes of the layers that it knows, by the ends of the variables' paths.
_PRUNED = ("kernel", "recurrent_kernel", "pointwise_kernel", "embeddings")
_STRIP = (
    "In the Keras that wrote the file call tfmot.sparsity.keras.strip_pruning, and save the model "
    "again."
)
_NEVER_PRUNED = ("DepthwiseConv1D", "DepthwiseConv2D")

Weights = list[tuple[str, np.ndarray]]


class Migrated(NamedTuple):
    """A model that tfmot pruned.

    Args:
        model: A plain Keras model, not compiled.
        masks: Which weights are kept, by the paths of the variables, as `ks.StaticMask` takes it.
    """

    model: keras.Model
    masks: dict[str, np.ndarray]


def from_tfmot(path: str | os.PathLike[str]) -> Migrated:
    """A plain Keras model, and its masks, of a model pruned by tensorflow-model-optimization.

    The file is one that Keras 2 (`tf.keras` before TensorFlow 2.16, `tf_keras` since) has written
    of a whole functional or sequential model. Layers may still be in `prune_low_magnitude`'s
    wrappers, whose masks are taken; if none is, what is zero in the weights that tfmot prunes is
    the mask. Neither tensorflow-model-optimization nor tf_keras needs to be installed.

    ```python
    import keras_sparse as ks

    model, masks = ks.migrate.from_tfmot("pruned.h5")
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(x, y, callbacks=[ks.StaticMask(mask=masks)])  # training goes on, as sparse
    ```

    Args:
        path: A `.h5` file, or the folder of a SavedModel, which needs TensorFlow to be read.

    Returns:
        The model, in which all that the masks leave out is 0, and the masks.

    Raises:
        FileNotFoundError: If there is nothing at `path`.
        ValueError: If the file is damaged or of another kind; if it holds a subclassed model, or
            a layer or an operation that Keras 3 does not have; or if weights or masks do not fit
            their layers.

    Source: `PruneLowMagnitude` and `PruneRegistry` of tensorflow-model-optimization 0.8.
    """
    stored = read_legacy(Path(file_path("path", path)).expanduser())
    plan = converted(stored.config)
    model = plan.build()
    for old, weights in stored.layers.items():
        if weights:  # Operations are no layers.
            _assign(model.get_layer(plan.names[old]), weights)
    pruned = _wrapped_masks(model, plan, stored.layers) if plan.wrapped else _zeros(model)
    place = places(model)
    for variable, mask in pruned:
        # A mask times a negative weight is -0.0.
        variable.assign(np.where(mask, ops.convert_to_numpy(variable), 0))
    return Migrated(model, {place[id(variable)].path: mask for variable, mask in pruned})


def _assign(layer: keras.layers.Layer, stored: Weights) -> None:
    """Gives a layer the weights that Keras 2 stored for it, in the same order."""
    values = [(name, x) for name, x in stored if not _OF_THE_WRAPPER.fullmatch(_last(name))]
    variables = layer.trainable_weights + layer.non_trainable_weights
    old = [(_plain(name), value.shape) for name, value in values]
    new = [(_plain(v.path), tuple(v.shape)) for v in variables]
    # What Keras 2 names "depthwise_kernel" is "kernel" in some layers now.
    same = len(old) == len(new) and all(
        was.endswith(now) and shape == shape_now
        for (was, shape), (now, shape_now) in zip(old, new, strict=True)
    )
    if not same:
        raise ValueError(
            f"Layer {layer.name!r} has other weights in Keras 3 than in the file, {new} and not "
            f"{old}. In the Keras that wrote the file, replace it by a layer that both have, and "
            "save the model again, as .h5."
        )
    for variable, (_, value) in zip(variables, values, strict=True):
        variable.assign(value)
    for inner in layer._flatten_layers():
        if hasattr(inner, "finalize_state"):
            inner.finalize_state()


def _wrapped_masks(
    model: keras.Model, plan: Converted, stored: Mapping[str, Weights]
) -> list[tuple[keras.Variable, np.ndarray]]:
    """The masks that the wrappers held, each with its variable."""
    masks = {
        top: [(name.rpartition("/")[0], x != 0) for name, x in weights if _plain(name) == "mask"]
        for top, weights in stored.items()
    }
    found = list[tuple[keras.Variable, np.ndarray]]()
    for top, wrapper, names in plan.wrapped:
        own = [x for scope, x in masks[top] if f"/{scope}".endswith(f"/{wrapper}")]
        layer = model
        for name in names:
            layer = layer.get_layer(name)
        variables = _prunable(layer) if own else []
        if [mask.shape for mask in own] != [tuple(v.shape) for v in variables]:
            raise ValueError(
                f"Layer {layer.name!r} has masks of shapes {[mask.shape for mask in own]}, but "
                f"weights to prune of shapes {[tuple(v.shape) for v in variables]}. {_STRIP}"
            )
        found += zip(variables, own, strict=True)
    held = sum(map(len, masks.values()))
    if len(found) != held:
        raise ValueError(
            f"The file holds {held} masks, and {len(found)} of them belong to a layer by their "
            f"names. {_STRIP}"
        )
    return found


def _zeros(model: keras.Model) -> list[tuple[keras.Variable, np.ndarray]]:
    """Where the weights that tfmot prunes have zeros."""
    layers = [x for x in model._flatten_layers() if not list(x._flatten_layers(include_self=False))]
    values = [(v, ops.convert_to_numpy(v)) for layer in layers for v in _prunable(layer)]
    return [(variable, value != 0) for variable, value in values if not value.all()]


def _prunable(layer: keras.layers.Layer) -> list[keras.Variable]:
    if type(layer).__name__ in _NEVER_PRUNED:
        return []
    return [v for v in layer.weights if _last(v.path) in _PRUNED]


def _last(name: str) -> str:
    return name.rpartition("/")[2].partition(":")[0]


def _plain(name: str) -> str:
    """What a variable is called, without the number that tells it from others."""
    return re.sub(r"_\d+$", "", _last(name))
