"""Small models, one for each way in which channels can belong together."""

import keras
import numpy as np
from keras import layers, ops

from keras_sparse.structured.coupling.groups import channel_groups
from keras_sparse.structured.shrink import build


def randomized(model, seed=0):
    """The model with random weights everywhere, also in biases and normalization."""
    random = np.random.default_rng(seed)
    for variable in model.variables:
        shape = variable.shape
        if not str(variable.dtype).startswith("float"):
            continue
        if variable.name in ("gamma", "moving_variance", "scale"):
            variable.assign(random.uniform(0.5, 1.5, shape))
        else:
            variable.assign(random.normal(0, 0.3, shape))
    return model


def batch(model, seed=1):
    """Random inputs."""
    random = np.random.default_rng(seed)
    found = []
    for tensor in model.inputs:
        shape = (3, *(8 if size is None else size for size in tensor.shape[1:]))
        if "int" in str(tensor.dtype):
            found.append(random.integers(0, 10, shape))
        else:
            found.append(random.normal(size=shape).astype("float32"))
    return keras.tree.pack_sequence_as(model._inputs_struct, found) if len(found) > 1 else found[0]


def half(groups, seed=0, fraction=0.5):
    """Random units to keep of every group."""
    random = np.random.default_rng(seed)
    keep = {}
    for group in groups.groups:
        free = np.flatnonzero(group.free)
        kept = np.ones(group.size, bool)
        kept[random.permutation(free)[: int(len(free) * fraction)]] = False
        if all(kept[limit].any() for limit in group.limits):
            keep[group.name] = kept
    return keep


def outputs(model, x):
    return [ops.convert_to_numpy(y) for y in keras.tree.flatten(model(x, training=False))]


def check(model, tolerance=2e-5, seeds=(0, 1)):
    """Shrinks a model to half, and compares it with the masked one; returns its groups by name."""
    randomized(model)
    groups = channel_groups(model)
    x = batch(model)
    for seed in seeds:
        keep = half(groups, seed)
        smaller, masked = build(groups, keep, False), build(groups, keep, True)
        for ours, theirs in zip(outputs(smaller, x), outputs(masked, x), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)
        assert [layer.name for layer in smaller.layers] == [layer.name for layer in model.layers]
        removed = any(not kept.all() for kept in keep.values())
        assert (smaller.count_params() < model.count_params()) == removed
        everything = {group.name: np.ones(group.size, bool) for group in groups.groups}
    same = build(groups, everything, False)
    for ours, theirs in zip(outputs(same, x), outputs(model, x), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)
    return {group.name: group for group in groups.groups}


def image(*shape):
    return keras.Input(shape or (8, 8, 3), name="image")


def head(x, inputs, name="net"):
    """A classifier behind channels on the last axis."""
    if len(x.shape) == 4:
        x = layers.GlobalAveragePooling2D(name="pool")(x)
    elif len(x.shape) == 3:
        x = layers.GlobalAveragePooling1D(name="pool")(x)
    return keras.Model(inputs, layers.Dense(3, name="logits")(x), name=name)


def conv(filters, name, **options):
    return layers.Conv2D(filters, 3, padding="same", name=name, **options)
