"""One ranking shares a sparsity out over layers, for every method that prunes layer by layer."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_sparse as ks
from tests.posttrain.calibrated import small_net
from tests.training import kernels

METHODS = [ks.wanda, ks.sparsegpt, ks.obc, ks.adaprune, ks.global_adaprune]


def mlp(first=1.0, gain=1.0):
    """Rectified, so that a gain of one layer may be taken back in the next."""
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(8, activation="relu", use_bias=False, name="one"),
            layers.Dense(4, use_bias=False, name="two"),
        ]
    )
    one, two = (layer.get_weights()[0] for layer in model.layers)
    model.layers[0].set_weights([first * gain * one])
    model.layers[1].set_weights([two / gain])
    return model


X = np.random.default_rng(0).normal(size=(50, 6)).astype("float32") * [1, 1, 1, 1, 5, 0.1]


def counts(model):
    return [int(np.count_nonzero(kernel)) for kernel in kernels(model)]


def wanted_counts(model, keep):
    """Weight by weight, by the definition."""
    x, entries = X, []
    for place, layer in enumerate(model.layers):
        weight = np.asarray(layer.get_weights()[0], np.float64)
        added = {
            (i, j): weight[i, j] ** 2 * sum(float(v) ** 2 for v in x[:, i])
            for i in range(weight.shape[0])
            for j in range(weight.shape[1])
        }
        for own in added.values():
            entries.append((own / sum(a for a in added.values() if a >= own), place))
        x = np.maximum(x @ weight, 0)
    kept = [place for _, place in sorted(entries, reverse=True)[:keep]]
    return [kept.count(place) for place in range(len(model.layers))]


@pytest.mark.jax
@pytest.mark.parametrize("method", METHODS)
def test_counts_are_those_of_the_definition(method):
    wanted = wanted_counts(mlp(), 80 - 56)
    model = mlp()
    method(model, X, 0.7)
    assert counts(model) == wanted
    assert (
        len({count / kernel.size for count, kernel in zip(wanted, kernels(model), strict=True)})
        == 2
    )


@pytest.mark.parametrize("method", METHODS)
def test_the_scale_of_a_layer_plays_no_part(method):
    found = []
    for gain in (1, 1000):
        model = mlp(gain=gain)
        method(model, X, 0.7)
        found.append(counts(model))
    assert found[0] == found[1]


@pytest.mark.parametrize("method", METHODS)
def test_no_layer_loses_all(method):
    model = mlp(first=1e-6)
    method(model, X, 1 - 3 / 80)
    assert sum(counts(model)) == 3
    assert min(counts(model)) >= 1


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("allocation", ["uniform", {"hid*": 0.75, "logits": 0.5, "conv": 0.25}])
def test_other_allocations(images, method, allocation):
    model = small_net()
    method(model, images, 0.5, allocation=allocation)
    shares = [0.5] * 3 if allocation == "uniform" else [0.25, 0.75, 0.5]
    for kernel, share in zip(kernels(model), shares, strict=True):
        assert np.count_nonzero(kernel) == kernel.size - round(share * kernel.size)


@pytest.mark.parametrize("method", [ks.adaprune, ks.global_adaprune])
def test_blocks(method):
    model = mlp()
    method(model, X, 0.5, granularity="2x1")
    assert sum(counts(model)) == 40
    for kernel in kernels(model):
        pairs = np.count_nonzero(kernel.reshape(-1, 2, kernel.shape[1]), axis=1)
        assert set(pairs.ravel()) <= {0, 2}


def test_a_layer_whose_inputs_are_all_zero():
    model = mlp()
    model.layers[0].set_weights([-np.abs(model.layers[0].get_weights()[0])])
    ks.wanda(model, np.abs(X), 0.5)
    assert sum(counts(model)) == 40
    assert min(counts(model)) > 0
    for method in METHODS:
        with pytest.raises(ValueError, match="All scores are zero"):
            method(mlp(), 0 * X, 0.5)
