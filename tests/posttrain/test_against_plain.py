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


@pytest.mark.parametrize("width", [2, 3, 4])
def test_blocks(layer, width):
    """Blocks that divide the 12 inputs, half of them gone."""
    weight, x = layer
    settings = {"sparsity": 0.6, "granularity": ks.Block(width, 1)}
    keep = 24
    assert_equal(
        pruned(ks.obc, weight, x, **settings), plain.obc_blocks(weight, x, keep, 1e-4, width)
    )
    assert_equal(
        pruned(ks.sparsegpt, weight, x, block_size=12, **settings),
        plain.sparsegpt_blocks(weight, x, 0.01, 12, 36, width),
    )
    each = 12 // width // 2
    wanted = plain.wanda_blocks(weight, x, each, width)
    found = pruned(
        ks.wanda, weight, x, 1 - 5 * each * width / 60, granularity=settings["granularity"]
    )
    assert_equal(found, wanted)


@pytest.mark.parametrize("method", [ks.obc, ks.sparsegpt, ks.wanda])
def test_blocks_at_the_edge_are_smaller(method):
    """Ten inputs in blocks of 4, 4 and 2, of which the layer and its outputs keep whole ones."""
    draw = np.random.default_rng(0)
    x = draw.normal(size=(40, 10)).astype("float32")
    kept = pruned(method, draw.normal(size=(10, 5)), x, 0.5, granularity="4x1") != 0
    for block in np.split(kept, [4, 8]):
        assert set(block.mean(0)) <= {0.0, 1.0}
    assert 17 < kept.sum() <= 25


@pytest.mark.parametrize("block_size", [4, 8])
def test_sparsegpt_blocks_within_some_columns(layer, block_size):
    """Columns that compete hold whole blocks, and the share of each is one of whole blocks."""
    weight, x = layer
    found = pruned(ks.sparsegpt, weight, x, 0.4, block_size=block_size, granularity="2x1")
    assert_equal(found, plain.sparsegpt_blocks(weight, x, 0.01, block_size, 24, 2))


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
