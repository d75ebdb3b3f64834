"""The weights of a quantized layer, counted by what it multiplies its inputs with."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_sparse.probe.quantized import count_nonzeros, logical_shape

pytestmark = pytest.mark.skipif(
    not hasattr(keras.quantizers, "AWQConfig"), reason="older versions of Keras lack these modes"
)
INPUTS, UNITS = 10, 7


def effective(layer):
    """What a layer without bias makes of each input by itself."""
    return np.asarray(layer(np.eye(INPUTS, dtype="float32")), np.float64)


def kernel_of(layer):
    (found,) = [v for v in layer.variables if v.name == "kernel"]
    return found


@pytest.mark.parametrize("block_size", [-1, 4, 5])
def test_int4(block_size):
    layer = layers.Dense(UNITS, use_bias=False)
    layer.build((None, INPUTS))
    weights = np.random.default_rng(0).choice([-1.0, 0.0, 0.0, 0.5, 1.0], (INPUTS, UNITS))
    layer.kernel.assign(weights)
    config = keras.quantizers.Int4QuantizationConfig(block_size=block_size)
    layer.quantize("int4", config=config)
    assert logical_shape(layer, kernel_of(layer)) == (INPUTS, UNITS)
    assert count_nonzeros(layer, kernel_of(layer)) == np.count_nonzero(effective(layer))
    assert count_nonzeros(layer, kernel_of(layer)) == np.count_nonzero(weights)


@pytest.mark.parametrize("policy", ["gptq/4/-1", "gptq/4/5", "gptq/8/5", "awq/4/5"])
@pytest.mark.parametrize("einsum", [False, True])
def test_gptq_and_awq(policy, einsum):
    dtype = f"{policy}_from_float32"
    if einsum:
        layer = layers.EinsumDense("ab,bc->ac", UNITS, dtype=dtype)
    else:
        layer = layers.Dense(UNITS, use_bias=False, dtype=dtype)
    layer.build((None, INPUTS))
    layer.is_gptq_calibrated = layer.is_awq_calibrated = True
    generator = np.random.default_rng(0)
    kernel = kernel_of(layer)
    kernel.assign(generator.integers(0, 256, kernel.shape))
    layer.kernel_zero.assign(generator.integers(0, 8, layer.kernel_zero.shape))
    groups = layer.kernel_zero.shape[1]
    layer.g_idx.assign(np.arange(INPUTS) * groups // INPUTS)
    assert logical_shape(layer, kernel) == (INPUTS, UNITS)
    assert count_nonzeros(layer, kernel) == np.count_nonzero(effective(layer))


def test_a_kernel_of_several_output_axes():
    layer = layers.EinsumDense("ab,bcd->acd", (3, 5))
    layer.build((None, INPUTS))
    weights = np.random.default_rng(0).choice([-1.0, 0.0, 1.0], (INPUTS, 3, 5))
    layer.kernel.assign(weights)
    layer.quantize("int4")
    assert logical_shape(layer, kernel_of(layer)) == (INPUTS, 3, 5)
    assert count_nonzeros(layer, kernel_of(layer)) == np.count_nonzero(weights)
