"""Each method on the same weights and data as a plain writing of its definition."""

import numpy as np
import pytest

import keras_sparse as ks
from tests.posttrain import plain
from tests.posttrain.calibrated import one_layer
from tests.training import kernels


@pytest.fixture(params=[0, 1, 2])
def layer(request):
    """Weights of 12 inputs and 5 outputs, and 40 samples of correlated inputs."""
    generator = np.random.default_rng(request.param)
    mix = generator.normal(size=(12, 12))
    x = (generator.normal(size=(40, 12)) @ mix).astype("float32")
    return generator.normal(size=(12, 5)).astype("float32").astype(float), x


def pruned(method, weight, x, *args, **kwargs):
    model = one_layer(weight)
    method(model, x, *args, **kwargs)
    return kernels(model)[0]


def assert_equal(found, wanted):
    np.testing.assert_array_equal(found != 0, wanted != 0)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_wanda(layer):
    weight, x = layer
    assert_equal(pruned(ks.wanda, weight, x, 0.5), plain.wanda(weight, x, 6))
    assert_equal(
        pruned(ks.wanda, weight, x, granularity="2:4"), plain.wanda_groups(weight, x, 2, 4)
    )


@pytest.mark.parametrize("damping", [1e-4, 0.1])
def test_adaprune(layer, damping):
    weight, x = layer
    for method in (ks.adaprune, ks.global_adaprune):
        found = pruned(method, weight, x, 0.6, damping=damping)
        assert_equal(found, plain.adaprune(weight, x, 24, damping))


@pytest.mark.parametrize("sparsity", [0.3, 0.7])
def test_obc(layer, sparsity):
    weight, x = layer
    keep = 60 - round(60 * sparsity)
    assert_equal(pruned(ks.obc, weight, x, sparsity), plain.obc(weight, x, keep, 1e-4))


@pytest.mark.parametrize("block_size", [4, 5, 12])
def test_sparsegpt(layer, block_size):
    weight, x = layer
    found = pruned(ks.sparsegpt, weight, x, 0.5, block_size=block_size)
    assert_equal(found, plain.sparsegpt(weight, x, 0.01, block_size, remove=30))


@pytest.mark.parametrize("pattern", [(2, 4), (1, 3), (4, 6)])
def test_sparsegpt_in_groups(layer, pattern):
    weight, x = layer
    found = pruned(ks.sparsegpt, weight, x, granularity=ks.NM(*pattern))
    assert_equal(found, plain.sparsegpt(weight, x, 0.01, 12, group=pattern))
