"""What preprocessing layers adapted to is in every copy that the package makes of a model."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_sparse as ks
from keras_sparse import deploy, structured, transfer
from keras_sparse.probe.copies import copy_of
from keras_sparse.streaming.learner.model_state import uncompiled_copy

NUMBERS = np.random.default_rng(0).random((60, 3), "float32") * 50 + 9
WHOLE = np.arange(60)[:, None] % 7
TEXTS = np.array(["a b c", "d e a", "c c z"])


def adapted(layer, samples):
    layer.adapt(samples)
    return layer


def normalized():
    inputs = keras.Input((3,))
    x = layers.Dense(6, activation="relu")(adapted(layers.Normalization(), NUMBERS)(inputs))
    return keras.Model(inputs, layers.Dense(4)(x)), NUMBERS


def embedded(layer, samples, dtype):
    inputs = keras.Input(samples.shape[1:], dtype=dtype)
    x = layers.Flatten()(layers.Embedding(12, 4)(adapted(layer, samples)(inputs)))
    return keras.Model(inputs, layers.Dense(4)(layers.Dense(6)(x))), samples


MODELS = {
    "normalization": normalized,
    "discretization": lambda: embedded(layers.Discretization(num_bins=4), NUMBERS, "float32"),
    "integer_lookup": lambda: embedded(layers.IntegerLookup(max_tokens=12), WHOLE, "int64"),
}


def new_head(model):
    """A new head with the weights of the old one."""
    copy = transfer.replace_head(model, 4)
    copy.set_weights(model.get_weights())
    return copy


COPIES = {
    "copy_of": copy_of,
    "replace_head": new_head,
    "lth_transfer": lambda model: transfer.lth_transfer(model, {}),
    "shrink": lambda model: structured.shrink(model, {}),
    "uncompiled_copy": uncompiled_copy,
    "prune_wrap": ks.prune_wrap,
    "make_eligible": deploy.make_eligible,
}


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("copied", COPIES)
def test_a_copy_has_what_layers_adapted_to(kind, copied):
    keras.utils.set_random_seed(0)
    model, x = MODELS[kind]()
    copy = COPIES[copied](model)
    np.testing.assert_allclose(copy(x), model(x), rtol=1e-5, atol=1e-6)


def test_texts():
    inputs = keras.Input((), dtype="string")
    layer = adapted(layers.TextVectorization(output_sequence_length=3), TEXTS)
    x = layers.Flatten()(layers.Embedding(12, 4)(layer(inputs)))
    model = keras.Model(inputs, layers.Dense(3)(x))
    texts = keras.ops.convert_to_tensor(["a b", "z unknown c"])
    np.testing.assert_allclose(copy_of(model)(texts), model(texts), rtol=1e-5)


def test_a_transfer_gives_the_same_from_its_file(tmp_path):
    model, x = normalized()
    ks.prune(model, 0.5)
    found = transfer.linear(model, x, np.arange(60) % 2, classes=2, solver="lbfgs").model
    found.save(tmp_path / "new.keras")
    loaded = keras.saving.load_model(tmp_path / "new.keras")
    np.testing.assert_allclose(loaded(x), found(x), rtol=1e-5, atol=1e-6)
