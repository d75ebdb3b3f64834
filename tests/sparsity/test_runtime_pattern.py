"""What `granularity="xnnpack"` prunes, with methods of every kind."""

import warnings

import keras
import numpy as np
import pytest
from keras import layers

import keras_sparse as ks


def net():
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, 2, name="stem")(layers.ZeroPadding2D(1)(inputs))
    x = layers.ReLU()(layers.Conv2D(16, 1, name="one")(x))
    x = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    x = layers.ReLU()(layers.Conv2D(32, 1, name="two")(x))
    x = layers.Dense(32, name="hidden")(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, layers.Dense(4, name="logits")(x))
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def zeros(model, layer):
    return model.get_layer(layer).kernel.numpy() == 0


def check(model, block=4):
    """Blocks of Dense kernels are whole, 1x1 kernels lose weights, and nothing else does."""
    for layer in ("hidden", "logits"):
        tiles = zeros(model, layer).reshape(-1, block, model.get_layer(layer).units)
        assert set(tiles.mean(1).ravel()) <= {0.0, 1.0}
    assert not zeros(model, "stem").any()
    assert not zeros(model, "depthwise").any()
    found = [zeros(model, layer) for layer in ("one", "two", "hidden", "logits")]
    whole = sum(each.size for each in found)
    # Each tensor may fall short by less than a block.
    assert sum(each.sum() for each in found) == pytest.approx(0.7 * whole, abs=4 * block)


METHODS = {
    "gmp": lambda **k: ks.GMP(0.7, **k),
    "acdc": lambda **k: ks.ACDC(0.7, **k),
    "rigl": lambda **k: ks.RigL(0.7, **k),
    "set": lambda **k: ks.SET(0.7, **k),
    "dpf": lambda **k: ks.DPF(0.7, **k),
    "topkast": lambda **k: ks.TopKAST(0.7, **k),
}


@pytest.mark.parametrize(
    "method",
    [
        pytest.param(m, marks=[pytest.mark.thorough] * (m in ("acdc", "set", "dpf")))
        for m in METHODS
    ],
)
def test_methods_prune_what_the_runtime_can_use(method):
    model = net()
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=(32, 16, 16, 3)).astype("float32"), draw.integers(0, 4, 32)
    callback = METHODS[method](granularity="xnnpack")
    model.fit(x, y, epochs=10, batch_size=8, verbose=0, callbacks=[callback])
    check(model)


@pytest.mark.parametrize(
    ("method", "allocation"),
    [
        (ks.obc, "uniform"),
        (ks.sparsegpt, "global"),
        (ks.wanda, "uniform"),
        pytest.param(ks.obs, "global", marks=pytest.mark.thorough),
    ],
)
def test_methods_that_solve_layers_prune_what_the_runtime_can_use(method, allocation):
    model = net()
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=(16, 16, 16, 3)).astype("float32"), draw.integers(0, 4, 16)
    settings = {"granularity": "xnnpack", "allocation": allocation}
    with warnings.catch_warnings():
        # Fewer samples than inputs of the layers behind the pooling.
        warnings.simplefilter("ignore", ks.SparsityWarning)
        method(model, (x, y), 0.7, **settings)
    check(model)
    if allocation == "uniform":
        assert ks.deploy.eligibility(model).all_fast()


def test_pruning_after_training_and_the_verdict_agree():
    model = net()
    ks.prune(model, 0.7, granularity="xnnpack", allocation="uniform")
    check(model)
    assert ks.deploy.eligibility(model).all_fast()


def test_blocks_of_sixteen_for_eight_bits_and_only_dense_on_x86():
    model = net()
    ks.prune(model, 0.5, granularity=ks.RuntimePattern("litert-builtin", int8=True))
    tiles = zeros(model, "hidden").reshape(2, 16, 32)
    assert set(tiles.mean(1).ravel()) == {0.0, 1.0}
    assert not zeros(model, "one").any()


def test_what_gains_nothing_stays_dense_with_the_rule():
    selection = ks.GMP(0.7, granularity="xnnpack").recipe.select(net())
    reasons = {row.path: row.reason for row in selection.skipped}
    assert "XNNPACK has no sparse kernel" in reasons["stem/kernel"]
    assert [target.layer for target in selection.targets] == ["one", "two", "hidden", "logits"]
    with pytest.raises(ValueError, match="is padded by") as error:
        ks.prune(
            keras.applications.MobileNetV2((32, 32, 3), 0.35, False, None),
            0.7,
            granularity="xnnpack",
        )
    assert "make_eligible" in str(error.value)


def test_it_is_serialized_and_compared():
    pattern = ks.RuntimePattern("xnnpack-x86", int8=True)
    config = keras.saving.serialize_keras_object(pattern)
    assert keras.saving.deserialize_keras_object(config) == pattern
    assert pattern != ks.RuntimePattern()
    with pytest.raises(ValueError, match="runtime"):
        ks.RuntimePattern("phone")
