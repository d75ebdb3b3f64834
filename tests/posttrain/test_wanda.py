"""Wanda's scores worked by hand, and against plain loops over every weight."""

import itertools

import keras
import numpy as np
import pytest
from keras import layers

import keras_sparse as ks
from keras_sparse.posttrain.layer_inputs import PRODUCTS, squared_inputs, summed_layers
from keras_sparse.posttrain.pruned_weights import PrunedWeights
from keras_sparse.posttrain.recording import recorded
from keras_sparse.posttrain.wanda import largest_of_rows
from tests.posttrain.calibrated import check_common, one_layer, small_net
from tests.training import kernels

# Norms of the inputs: 5, 1 and 2.
X = np.array([[3.0, 1.0, 0.0], [4.0, 0.0, 2.0]], "float32")
W = np.array([[1.0, -0.5], [4.0, 3.0], [-3.0, 1.0]])


@pytest.mark.jax
def test_by_hand():
    # |W| ||X||: 5 and 2.5; 4 and 3; 6 and 2. Two go of the first output, two of the second.
    model = one_layer(W)
    ks.wanda(model, X, 1 / 3)
    np.testing.assert_array_equal(kernels(model)[0], [[1, -0.5], [0, 3], [-3, 0]])
    model = one_layer(W)
    ks.wanda(model, X, 2 / 3)
    np.testing.assert_array_equal(kernels(model)[0], [[0, 0], [0, 3], [-3, 0]])


def test_all_weights_of_a_layer_together():
    model = one_layer(W)
    ks.wanda(model, X, 0.5, per_output=False)
    np.testing.assert_array_equal(kernels(model)[0], [[1, 0], [4, 0], [-3, 0]])


def test_two_of_four_by_the_inputs():
    x = np.diag([1.0, 10.0, 3.0, 0.0]).astype("float32")
    model = one_layer(np.array([[5.0], [1.0], [1.0], [100.0]]))
    ks.wanda(model, x, granularity="2:4")
    np.testing.assert_array_equal(kernels(model)[0][:, 0], [5, 1, 0, 0])


def test_what_does_not_divide_goes_to_the_outputs_that_miss_it_most():
    scores = np.array([[3.0, 2.0, 1.0], [9.0, 8.0, 7.0], [2.0, 2.0, 2.0]])
    kept = largest_of_rows(scores, 5)
    np.testing.assert_array_equal(kept, [[1, 1, 0], [1, 1, 0], [1, 0, 0]])
    assert largest_of_rows(scores, 9).all()
    blocks = np.array([[3.0, 2.0], [9.0, 8.0]])
    np.testing.assert_array_equal(largest_of_rows(blocks, 11, np.array([4, 2])), [[1, 0], [1, 1]])
    np.testing.assert_array_equal(largest_of_rows(scores, 1), scores == 9)


def multiplied_with(layer, shape, x):
    """`||X_j||^2` of each weight: the sum of the squared derivatives of the outputs by it."""
    model = keras.Sequential([keras.Input(shape), layer])
    variable = next(v for v in layer.trainable_variables if len(v.shape) > 1)
    for other in layer.trainable_variables:
        other.assign(np.ones(other.shape))
    base = np.asarray(model(x), np.float64)
    result = np.zeros(variable.shape)
    start = np.ones(variable.shape)
    for index in itertools.product(*map(range, variable.shape)):
        moved = start.copy()
        moved[index] += 1
        variable.assign(moved)
        result[index] = np.sum((np.asarray(model(x), np.float64) - base) ** 2)
    variable.assign(start)
    return model, variable, result


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: layers.Dense(3), (2, 4)),
        (lambda: layers.EinsumDense("abc,cde->abde", (None, 2, 3)), (2, 4)),
        (lambda: layers.EinsumDense("abc,edc->abde", (None, 2, 3)), (2, 4)),
        (lambda: layers.EinsumDense("abcd,dec->abe", (None, 3)), (2, 2, 3)),
        (lambda: layers.EinsumDense("abc,bcd->abd", (2, 3)), (2, 4)),
        (lambda: layers.EinsumDense("abc,dbc->abd", (2, 3)), (2, 4)),
        (lambda: layers.EinsumDense("abc,cd->ad", 3), (2, 4)),
        (lambda: layers.EinsumDense("...x,yx->...y", 3), (2, 4)),
        (lambda: layers.Conv1D(4, 3, padding="causal", dilation_rate=2), (6, 2)),
        (lambda: layers.Conv2D(3, (3, 2), padding="same", strides=2), (6, 5, 2)),
        (lambda: layers.Conv2D(6, 3, groups=2), (5, 5, 4)),
        (lambda: layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same"), (5, 4, 3)),
        (lambda: layers.DepthwiseConv1D(3, strides=2), (7, 3)),
    ],
)
def test_norms_of_what_each_weight_is_multiplied_with(make, shape):
    x = np.random.default_rng(0).normal(size=(3, *shape)).astype("float32")
    layer = make()
    model, variable, wanted = multiplied_with(layer, shape, x)
    chosen = PrunedWeights(model, 0.5, {})
    ((inputs,),) = recorded(model, summed_layers(chosen), x)
    found = np.broadcast_to(squared_inputs(layer, variable, inputs), variable.shape)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)
    if PRODUCTS.layers(chosen) != [None]:
        products = PRODUCTS.of(layer, variable, inputs)
        again = PRODUCTS.squares(chosen.layouts[0], products)
        np.testing.assert_allclose(again, found, rtol=1e-4)


def test_the_depthwise_kernel_of_a_separable_convolution():
    x = np.random.default_rng(0).normal(size=(8, 6, 6, 3)).astype("float32")
    both = keras.Sequential([keras.Input((6, 6, 3)), layers.SeparableConv2D(4, 3, name="both")])
    with pytest.warns(ks.SparsityWarning, match="magnitude instead: both/pointwise_kernel"):
        ks.wanda(both, x, 0.5, per_output=False)


@pytest.mark.parametrize("per_output", [True, False])
def test_brute_force(per_output):
    generator = np.random.default_rng(0)
    weight, x = generator.normal(size=(12, 7)), generator.normal(size=(40, 12)).astype("float32")
    model = one_layer(weight)
    weight = kernels(model)[0]
    ks.wanda(model, x, 0.5, per_output=per_output, batch_size=16)
    scores = np.zeros(weight.shape)
    for i, j in itertools.product(range(12), range(7)):
        scores[i, j] = abs(weight[i, j]) * np.sqrt(sum(float(v) ** 2 for v in x[:, i]))
    compared = [scores[:, j] for j in range(7)] if per_output else [scores]
    limits = [np.sort(some.ravel())[some.size // 2] for some in compared]
    np.testing.assert_array_equal(kernels(model)[0], np.where(scores >= limits, weight, 0))


def test_counts_pattern_and_what_stays(images):
    check_common(ks.wanda, images)


def test_targets_play_no_part(images):
    one, two = small_net(), small_net()
    ks.wanda(one, images, 0.7)
    ks.wanda(two, images[0], 0.7)
    for a, b in zip(kernels(one), kernels(two), strict=True):
        np.testing.assert_array_equal(a, b)


def test_bad_input(images):
    model = small_net()
    with pytest.raises(ValueError, match="not finite"):
        ks.wanda(model, np.full((4, 8, 8, 1), np.nan, "float32"), 0.5)
    with pytest.raises(ValueError, match="All scores are zero"):
        ks.wanda(model, np.zeros((4, 8, 8, 1), "float32"), 0.5, exclude=["hidden", "logits"])
