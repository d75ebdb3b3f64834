"""One round on the path 0-1-2: two sub-networks, a step of SGD each, put together again."""

import keras
import numpy as np
import pytest

from keras_sparse import graphs
from tests.graphs.paths import BIAS_1, KERNEL_0, KERNEL_1, path_graph

pytestmark = pytest.mark.jax
BLOCKS = [np.array([0, 3]), np.array([1, 2])]
WEIGHTS = [KERNEL_0, np.zeros(4, "float32"), KERNEL_1, BIAS_1]


def test_one_round_of_one_step():
    losses, trained = [], []
    places = [[(None, block), (block,), (block, None), (None,)] for block in BLOCKS]
    for place in places:
        model = graphs.gcn(2, 2, (2,), sparse_features=False)
        model.set_weights(
            [graphs.cut_weight(weight, at) for weight, at in zip(WEIGHTS, place, strict=True)]
        )
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(0.1), loss)
        history = model.fit(graphs.FullGraph(path_graph(), "gcn"), verbose=0)
        losses += history.history["loss"]
        trained.append(model.get_weights())
    np.testing.assert_allclose(losses, [0.723012, 0.796476], atol=1e-6)
    merged = [
        graphs.merge_weight(weight, parts, at)
        for weight, parts, at in zip(
            WEIGHTS, zip(*trained, strict=True), zip(*places, strict=True), strict=True
        )
    ]
    kernel_0 = [
        [1.014696, -0.995399, 1.970045, -0.044087],
        [0.016137, 1.008357, -1.034603, 0.951589],
    ]
    kernel_1 = [
        [1.014696, -0.014696],
        [-0.003757, 1.003757],
        [0.987346, -0.987346],
        [-0.983863, 1.983863],
    ]
    np.testing.assert_allclose(merged[0], kernel_0, atol=1e-6)
    np.testing.assert_allclose(merged[2], kernel_1, atol=1e-6)
    np.testing.assert_allclose(merged[3], [0.503134, -0.503134], atol=1e-6)
