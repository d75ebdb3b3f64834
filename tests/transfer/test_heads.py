"""Heads: found or named, new ones in their place, everything else as it was."""

import math
import random

import keras
import numpy as np
import pytest
from keras import layers

from keras_sparse import transfer
from keras_sparse.probe.outputs import softmax_layer
from keras_sparse.transfer.heads import find_head
from tests.transfer.nets import Subclassed, all_same, upstream, values


def test_only_the_head_is_another():
    model = upstream()
    before = values(model.variables)
    copy = transfer.replace_head(model, 7)
    assert copy.output_shape == (None, 7)
    assert all_same(values(model.variables), before)
    # All but the head's kernel and bias, in any order.
    for layer in ("conv", "norm", "hidden"):
        assert all_same(*(values(m.get_layer(layer).variables) for m in (model, copy)))
        assert model.get_layer(layer) is not copy.get_layer(layer)
    head = copy.layers[-1]
    assert head.name == "top_7"
    assert head.kernel.shape == (16, 7)
    assert not values([head.bias])[0].any()


def test_kaiming_uniform_bound():
    """b = sqrt(6 / fan_in): 0.054127 of 2048 features; PyTorch's default would be 0.022097."""
    model = keras.Sequential([keras.Input((2048,)), layers.Dense(4)])
    kernel = values([transfer.replace_head(model, 50).layers[-1].kernel])[0]
    bound = math.sqrt(6 / 2048)
    assert bound == pytest.approx(0.054127, abs=1e-6)
    assert 0.99 * bound < np.abs(kernel).max() <= bound
    again, other = (
        transfer.replace_head(model, 50, seed=seed).layers[-1].kernel for seed in (0, 1)
    )
    assert np.array_equal(kernel, values([again])[0])
    assert not np.array_equal(kernel, values([other])[0])
    uniform = keras.initializers.RandomUniform(-0.022097, 0.022097, seed=0)
    torch = transfer.replace_head(model, 50, initializer=uniform).layers[-1].kernel
    assert np.abs(values([torch])[0]).max() <= 0.022097


def test_initializers_by_name_with_and_without_randomness():
    model = upstream()
    zeros, *uniform = (
        values([transfer.replace_head(model, 5, initializer=name, seed=seed).layers[-1].kernel])[0]
        for name, seed in (("zeros", 0), ("he_uniform", 1), ("he_uniform", 1), ("he_uniform", 2))
    )
    assert not zeros.any()
    assert np.array_equal(uniform[0], uniform[1])
    assert not np.array_equal(uniform[0], uniform[2])
    drawn = []
    for initializer in ("he_uniform", keras.initializers.HeUniform(seed=0)):
        random.seed(3)
        transfer.replace_head(model, 5, initializer=initializer)
        drawn.append(random.random())
    assert drawn[0] == drawn[1]


def test_quirks_of_the_head_stay():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(4, use_bias=False), layers.Softmax()])
    copy = transfer.replace_head(model, 2)
    assert not copy.layers[0].use_bias
    assert softmax_layer(copy)
    assert softmax_layer(upstream(activation="softmax"))
    assert softmax_layer(upstream()) is None


def test_a_head_inside_of_another_model():
    inputs = keras.Input((8, 8, 1))
    model = keras.Model(inputs, upstream()(inputs))
    assert find_head(model).name == "top"
    assert transfer.replace_head(model, 3).output_shape == (None, 3)


def test_a_convolution_as_head():
    inputs = keras.Input((8, 8, 1))
    x = layers.GlobalAveragePooling2D(keepdims=True)(layers.Conv2D(5, 3)(inputs))
    model = keras.Model(inputs, layers.Flatten()(layers.Conv2D(4, 1, name="logits")(x)))
    assert transfer.replace_head(model, 3).output_shape == (None, 3)


@pytest.mark.parametrize("frozen", [(), ("norm",)])
def test_frozen_layers_of_the_upstream_model_are_trained(frozen):
    model = upstream()
    for layer in [model.get_layer(name) for name in frozen] or [model]:
        layer.trainable = False
    before = len(model.trainable_variables)
    copy = transfer.replace_head(model, 3)
    assert len(copy.trainable_variables) == 8
    assert len(model.trainable_variables) == before == (6 if frozen else 0)


def test_heads_of_other_kinds_by_name():
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(4, 3, padding="same", name="body")(inputs)
    outputs = [layers.Conv2D(n, 1, name=name)(x) for name, n in (("mask", 2), ("box", 4))]
    model = keras.Model(inputs, outputs)
    new = {"mask": layers.Conv2D(3, 1, name="m"), "box": layers.Conv2D(8, 1, name="b")}
    copy = transfer.replace_head(model, head=new)
    assert [tuple(t.shape)[-1] for t in copy.outputs] == [3, 8]
    assert all_same(*(values(m.get_layer("body").variables) for m in (model, copy)))


def test_subclassed_models_with_a_named_head():
    model = Subclassed()
    x = np.ones((2, 4), "float32")
    model(x)
    copy = transfer.replace_head(model, 5, head="top")
    assert copy(x).shape == (2, 5)
    assert len(copy.variables) == 4
    assert all_same(values(copy.hidden.variables), values(model.hidden.variables))
    with pytest.raises(ValueError, match="Candidates, the last first: 'top', 'hidden'"):
        transfer.replace_head(model, 5)


def test_bad_input():
    body = keras.Sequential(
        [keras.Input((8, 8, 1)), layers.Conv2D(4, 3, name="c"), layers.BatchNormalization()]
    )
    with pytest.raises(ValueError, match=r"cannot be found.*Candidates.*'c'.*Name it by head="):
        transfer.replace_head(body, 3)
    model = upstream()
    with pytest.raises(ValueError, match=r"Unknown head of model 'upstream': 'tops'.*'top'"):
        transfer.replace_head(model, 3, head="tops")
    with pytest.raises(ValueError, match="classes must be an integer of at least 2"):
        transfer.replace_head(model, 1)
    with pytest.raises(ValueError, match="not built yet"):
        transfer.replace_head(model, head={"top": model.get_layer("top")})
    with pytest.raises(ValueError, match="leave classes out"):
        transfer.replace_head(model, 3, head={"top": layers.Dense(3)})
    with pytest.raises(ValueError, match="is not built"):
        transfer.replace_head(keras.Sequential([layers.Dense(3)]), 3)
