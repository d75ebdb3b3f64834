"""Filters that are zero as a whole."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_sparse as ks


def model_of(*stack, shape=(5, 5, 2)):
    return keras.Sequential([keras.Input(shape), *stack])


def test_what_is_exactly_zero_counts():
    """Nonzeros in filters 0 and 2, and 1e-9 in 3: one of four is gone."""
    model = model_of(layers.Conv2D(4, 3))
    kernel = np.zeros((3, 3, 2, 4), "float32")
    kernel[0, 0, 0, 0] = kernel[2, 1, 1, 2] = 1
    kernel[1, 1, 0, 3] = 1e-9
    model.layers[0].kernel.assign(kernel)
    assert ks.pruned_filters(model) == 0.25


def test_of_depthwise_convolutions_each_channel_and_multiplier_is_a_filter():
    model = model_of(layers.DepthwiseConv2D(3, depth_multiplier=2), layers.Conv2D(4, 1))
    kernel = np.ones((3, 3, 2, 2), "float32")
    kernel[:, :, 1, 0] = 0
    model.layers[0].kernel.assign(kernel)
    assert ks.pruned_filters(model) == 1 / 8


def test_a_model_without_filters():
    with pytest.raises(ValueError, match="no convolution"):
        ks.pruned_filters(model_of(layers.Dense(3), shape=(4,)))
