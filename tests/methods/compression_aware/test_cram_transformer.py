"""An attention encoder trains with CrAM while embeddings, biases and head stay dense."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_sparse as ks

VOCABULARY, LENGTH, WIDTH = 12, 8, 16


class Positions(layers.Layer):
    """Adds a learned embedding of the place of each token."""

    def build(self, shape):
        self.places = layers.Embedding(LENGTH, WIDTH, name="places")
        self.places.build((None, LENGTH))

    def call(self, inputs):
        return inputs + self.places(ops.arange(LENGTH))


def encoder():
    keras.utils.set_random_seed(0)
    tokens = keras.Input((LENGTH,), dtype="int32")
    x = Positions(name="positions")(layers.Embedding(VOCABULARY, WIDTH, name="tokens")(tokens))
    y = layers.MultiHeadAttention(2, 8, dropout=0.1, name="attention")(x, x)
    x = layers.LayerNormalization(name="norm1")(x + y)
    y = layers.EinsumDense("btd,df->btf", (LENGTH, 32), "gelu", "f", name="feed")(x)
    y = layers.EinsumDense("btf,fd->btd", (LENGTH, WIDTH), bias_axes="d", name="forward")(y)
    x = layers.LayerNormalization(name="norm2")(x + y)
    model = keras.Model(tokens, layers.Dense(2, name="head")(x[:, 0]))
    model.compile(
        keras.optimizers.AdamW(3e-3, weight_decay=1e-3),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def tokens_with_a_three():
    """Sequences, and whether the token 3 is among them."""
    generator = np.random.default_rng(0)
    x = generator.integers(0, VOCABULARY, (256, LENGTH)).astype("int32")
    return x, (np.sum(x == 3, axis=1) > 0).astype("int32")


@pytest.mark.jax
def test_an_encoder_for_one_shot_pruning():
    x, y = tokens_with_a_three()
    model = encoder()
    first = [np.array(v) for v in model.trainable_variables]
    common = {"allocation": "uniform", "exclude": "head"}
    cram = ks.CrAM([0.5, 0.8], rho=0.005, **common)
    history = model.fit(x, y, batch_size=32, epochs=12, verbose=0, callbacks=[cram]).history
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    pruned = {target.path for target in cram.selection.targets}
    kernels = {f"attention/{part}/kernel" for part in ("query", "key", "value")}
    kernels |= {"attention/attention_output/kernel", "feed/kernel", "forward/kernel"}
    assert pruned == kernels
    for variable, before in zip(model.trainable_variables, first, strict=True):
        moved = np.array(variable) != before
        assert moved.any(), variable.path
    sweep = ks.one_shot_sweep(model, (x, y), sparsities=[0.5], verbose=False, **common)
    dense, half = sweep.rows
    assert half.before > 0.9 * dense.before
    report = ks.prune(model, 0.5, **common)
    for row in report.rows:
        if row.path in kernels:
            assert row.sparsity == 0.5
        elif "embedding" in row.path or row.path.startswith("head"):
            assert row.nonzeros == row.size


def test_bert_for_one_shot_pruning():
    """Where keras-hub is installed: its own classes, from random weights."""
    hub = pytest.importorskip("keras_hub", exc_type=ImportError)
    x, y = tokens_with_a_three()
    keras.utils.set_random_seed(0)
    backbone = hub.models.BertBackbone(VOCABULARY, 1, 2, WIDTH, 32, max_sequence_length=LENGTH)
    model = hub.models.BertTextClassifier(backbone, num_classes=2, preprocessor=None)
    model.compile(
        keras.optimizers.AdamW(3e-3, weight_decay=1e-3),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    inputs = {
        "token_ids": x,
        "segment_ids": np.zeros_like(x),
        "padding_mask": np.ones_like(x),
    }
    common = {"allocation": "uniform", "exclude": ["pooled_dense", "logits"]}
    cram = ks.CrAM([0.5, 0.8], rho=0.005, **common)
    history = model.fit(inputs, y, batch_size=32, epochs=12, verbose=0, callbacks=[cram]).history
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    report = ks.prune(model, 0.5, **common)
    pruned = {row.path for row in report.prunable}
    kernels = {v.path for v in backbone.trainable_variables if v.path.endswith("kernel")}
    assert pruned == {path for path in kernels if "pooled" not in path}
    assert model.evaluate(inputs, y, verbose=0)[1] > 0.9 * history["accuracy"][-1]
