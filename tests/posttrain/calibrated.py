"""What the tests of several post-training methods share."""

import keras
import numpy as np
from keras import layers, ops

from tests.training import compiled, conv_net, kernels, values


def check_common(function, images, **kwargs):
    """Exact count over all layers, biases and unselected layers as they were, 2:4 everywhere."""
    model = compiled(conv_net())
    before = values(model)
    report = function(model, images, 0.7, exclude="conv", **kwargs)
    after = values(model)
    names = [variable.path for variable in model.trainable_variables]
    size = 0
    for name, old, new in zip(names, before, after, strict=True):
        if old.ndim == 2:
            size += old.size
        else:
            np.testing.assert_array_equal(new, old, err_msg=name)
    kept = sum(int(np.count_nonzero(new)) for new in after if new.ndim == 2)
    assert kept == size - round(0.7 * size)
    assert sum(row.nonzeros for row in report.prunable) == kept
    model = compiled(conv_net())
    function(model, images, granularity="2:4", exclude="conv", **kwargs)
    for kernel in kernels(model)[1:]:
        groups = kernel.reshape(kernel.shape[0] // 4, 4, kernel.shape[1])
        assert (np.count_nonzero(groups, axis=1) == 2).all()


def one_layer(weight):
    """`y = x @ weight`."""
    weight = np.asarray(weight, "float32")
    model = keras.Sequential(
        [keras.Input((len(weight),)), layers.Dense(weight.shape[1], use_bias=False, name="only")]
    )
    model.layers[0].set_weights([weight])
    return model


def outputs_as_loss(y, outputs):
    """With one output, the gradient by the weights of `one_layer` is the sample itself."""
    return ops.sum(outputs, axis=-1)


def output_error(model, change, x, layer="hidden"):
    """Squared change of a layer's outputs for the inputs that it had before."""
    inner = keras.Model(model.inputs, model.get_layer(layer).input)
    inputs = ops.convert_to_numpy(inner(x)).astype(float)
    before = np.array(model.get_layer(layer).get_weights()[0], float)
    change()
    return np.sum((inputs @ (model.get_layer(layer).get_weights()[0] - before)) ** 2)
