"""Any model: every kind of Keras model trains sparse, exactly and resumably."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_sparse as ks
from tests.training import Probe, compiled, kernels

SAMPLES, CLASSES = 48, 3


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.hidden = layers.Dense(16, activation="relu")
        self.stack = [layers.Dense(8, activation="relu") for _ in range(2)]
        self.head = layers.Dense(CLASSES)

    def call(self, inputs):
        x = self.hidden(inputs)
        for layer in self.stack:
            x = layer(x)
        return self.head(x)


class OwnLayer(layers.Layer):
    """A custom layer whose weight is not called a kernel."""

    def build(self, shape):
        self.w = self.add_weight(shape=(shape[-1], 8), name="mixing")

    def call(self, inputs):
        return keras.ops.matmul(inputs, self.w)


def nested():
    inner = keras.Sequential([keras.Input((8,)), layers.Dense(16, activation="relu")])
    inputs = keras.Input((8,))
    outputs = layers.Dense(CLASSES)(layers.Add()([inner(inputs), layers.Dense(16)(inputs)]))
    return keras.Model(inputs, outputs)


def attention():
    inputs = keras.Input((6, 8))
    x = layers.MultiHeadAttention(2, 4)(inputs, inputs)
    x = layers.LayerNormalization()(layers.Add()([x, inputs]))
    x = layers.EinsumDense("abc,cd->abd", (None, 8), bias_axes="d")(x)
    return keras.Model(inputs, layers.Dense(CLASSES)(layers.GlobalAveragePooling1D()(x)))


def recurrent(layer):
    return keras.Sequential([keras.Input((6, 8)), layer, layers.Dense(CLASSES)])


def separable():
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.SeparableConv2D(6, 3, activation="relu"),
            layers.DepthwiseConv2D(3),
            layers.Conv2DTranspose(4, 3),
            layers.Conv2D(4, 3, groups=2),
            layers.GlobalAveragePooling2D(),
            layers.Dense(CLASSES),
        ]
    )


def embedding():
    return keras.Sequential(
        [
            keras.Input((5,), dtype="int32"),
            layers.Embedding(20, 8),
            layers.Flatten(),
            layers.Dense(CLASSES),
        ]
    )


# name: (model, shape of a sample, its prunable tensors)
MODELS = {
    "subclassed": (Subclassed, (8,), 4),
    "nested": (nested, (8,), 3),
    "attention": (attention, (6, 8), 6),
    "lstm": (lambda: recurrent(layers.LSTM(8)), (6, 8), 3),
    "gru": (lambda: recurrent(layers.Bidirectional(layers.GRU(4))), (6, 8), 5),
    "convolutions": (separable, (8, 8, 3), 6),
    "embedding": (embedding, (5,), 1),
}


def data(shape):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(SAMPLES, *shape)).astype("float32")
    if shape == (5,):
        x = generator.integers(0, 20, (SAMPLES, 5)).astype("int32")
    return x, generator.integers(0, CLASSES, SAMPLES)


@pytest.mark.parametrize("name", MODELS)
def test_trains_sparse(name):
    make, shape, tensors = MODELS[name]
    model, (x, y) = compiled(make()), data(shape)
    model(x[:1])
    callback = ks.ACDC(0.5, schedule="DCDC")
    probe = Probe(callback)
    history = model.fit(x, y, batch_size=16, epochs=4, verbose=0, callbacks=[callback, probe])
    assert len(callback.selection.targets) == tensors
    assert all(probe.exact)
    size = callback.selection.size
    assert sum(probe.kept[-1]) == size - round(0.5 * size)
    assert history.history["sparsity"][-1] == pytest.approx(0.5, abs=0.01)
    report = ks.report(model)
    assert len(report.prunable) == tensors
    assert sum(row.nonzeros for row in report.prunable) <= size - round(0.5 * size)
    assert all(row.reason for row in report.rows if row not in report.prunable)


def test_mixed_precision_attention():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model, (x, y) = compiled(attention()), data((6, 8))
    finally:
        keras.config.set_dtype_policy("float32")
    callback = ks.GMP(0.5, ks.OneShot(1))
    probe = Probe(callback)
    model.fit(x, y, batch_size=16, epochs=3, verbose=0, callbacks=[callback, probe])
    assert all(probe.exact)
    assert sum(probe.kept[-1]) == callback.selection.size - round(0.5 * callback.selection.size)


def test_embeddings_and_unknown_weights_are_pruned_only_when_asked():
    model = compiled(embedding())
    x, y = data((5,))
    fit = {"batch_size": 16, "epochs": 2, "verbose": 0}
    callback = ks.StaticMask(0.5, include="embedding*")
    model.fit(x, y, callbacks=[callback], **fit)
    assert [target.layout.shape for target in callback.selection.targets] == [(20, 8), (40, 3)]
    assert np.count_nonzero(kernels(model)[0]) + np.count_nonzero(kernels(model)[1]) == 140

    own = keras.Sequential([keras.Input((8,)), OwnLayer(name="own"), layers.Dense(CLASSES)])
    reasons = {row.path: row.reason for row in ks.report(own).rows}
    assert "include" in reasons["own/mixing"]
    ks.prune(own, 0.5, include="own", allocation="uniform")
    assert np.count_nonzero(own.layers[0].w.numpy()) == 32


def test_a_shared_layer_is_pruned_once_and_counted_twice():
    shared = layers.Dense(8, use_bias=False, name="shared")
    inputs = keras.Input((8,))
    model = keras.Model(inputs, shared(keras.ops.relu(shared(inputs))))
    report = ks.prune(model, 0.5)
    (row,) = report.prunable
    assert (row.nonzeros, row.flops, row.dense_flops) == (32, 2 * 2 * 32, 2 * 2 * 64)
