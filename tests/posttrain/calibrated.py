"""What the tests of several post-training methods share."""

import keras
import numpy as np
from keras import layers, ops

import keras_sparse as ks
from tests.training import compiled, kernels, values


def small_net():
    keras.utils.set_random_seed(0)
    return compiled(
        keras.Sequential(
            [
                keras.Input((8, 8, 1)),
                layers.Conv2D(4, 3, strides=2, activation="relu", name="conv"),
                layers.Flatten(),
                layers.Dense(12, activation="relu", name="hidden"),
                layers.Dense(4, name="logits"),
            ]
        )
    )


def check_common(function, images, **kwargs):
    """Exact count over all layers, biases and unselected layers as they were, 2:4 everywhere."""
    model = small_net()
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
    model = small_net()
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


def layer_error(function, **kwargs):
    """Squared change of the outputs of one fixed layer with correlated inputs."""
    generator = np.random.default_rng(0)
    x = (generator.normal(size=(96, 24)) + generator.normal(size=(96, 1))).astype("float32")
    weight = generator.normal(size=(24, 8))
    model = one_layer(weight)
    if function is not ks.prune:
        kwargs["data"] = (x, np.zeros(96))
    function(model, allocation="uniform", **kwargs)
    return np.sum((x @ (kernels(model)[0] - weight)) ** 2)
