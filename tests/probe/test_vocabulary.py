"""Tokens that an embedding does not know are named before any work is done."""

import keras
import numpy as np
import pytest

import keras_sparse as ks
from keras_sparse.probe.vocabulary import embeddings


def language_model():
    inner = keras.Sequential([keras.Input((6,)), keras.layers.Embedding(20, 4, name="words")])
    tokens, segments = keras.Input((6,), name="tokens"), keras.Input((6,), name="segments")
    parts = keras.layers.Embedding(2, 4, name="parts")(segments)
    return keras.Model([segments, tokens], keras.layers.Dense(3)(inner(tokens) + parts))


def test_embeddings_are_found_with_the_input_they_read():
    found = [(reader.place, reader.layer.name) for reader in embeddings(language_model())]
    assert sorted(found) == [(0, "parts"), (1, "words")]


@pytest.mark.jax
@pytest.mark.parametrize("token", [-1, 20])
def test_other_tokens_are_refused(token):
    model = language_model()
    segments, tokens = np.zeros((3, 6), "int32"), np.full((3, 6), 19)
    before = model.get_weights()
    tokens[2, 1] = token
    with pytest.raises(
        ValueError, match=f"has {token} for the input 'tokens', and 'words'.* 0 to 19"
    ):
        ks.wanda(model, [segments, tokens], 0.5)
    for old, now in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, now)
    tokens[2, 1] = 19
    assert ks.wanda(model, [segments, tokens], 0.5).sparsity > 0.4
