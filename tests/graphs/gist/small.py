"""A small graph and networks on it that GIST's tests train."""

import keras
import numpy as np

from keras_sparse import graphs

NODES, CLASSES, WORDS = 150, 3, 60


def small_graph():
    return graphs.block_graph(NODES, CLASSES, WORDS, seed=0)


def network(hidden=(8, 12), builder=graphs.gcn, **kwargs):
    given = {"layer_norm": True, "sparse_features": True, "seed": 1, **kwargs}
    return builder(WORDS, CLASSES, hidden, **given)


def loss():
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def trained(training, loader, epochs, optimizer=None, **kwargs):
    """The weights after a training, and its history."""
    optimizer = keras.optimizers.Adam(0.02) if optimizer is None else optimizer
    training.compile(optimizer, loss(), weighted_metrics=["accuracy"])
    history = training.fit(loader, epochs, verbose=0, **kwargs).history
    return training.model.get_weights(), history


def assert_same(one, other, **tolerance):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, **{"rtol": 1e-5, "atol": 1e-6, **tolerance})
