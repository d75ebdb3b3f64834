"""The learner and Keras's own loop come to the same weights, on JAX as on TensorFlow."""

import keras
import pytest

from keras_sparse.streaming import (
    PerClassLinearDecay,
    PerClassRate,
    ReplayBuffer,
    StreamingDataset,
    StreamingLearner,
    orderings,
)
from tests.streaming.streams import STANDARD, assert_same, dense_net, patterns, weights


def compiled():
    model = dense_net()
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9, weight_decay=1e-5)
    model.compile(optimizer, keras.losses.CategoricalCrossentropy(from_logits=True))
    return model


@pytest.mark.jax
def test_both_ways_come_to_the_same_weights():
    x, y = patterns()
    learner = StreamingLearner(
        compiled(),
        capacity=20,
        replay_size=3,
        standardize=STANDARD,
        schedule=PerClassLinearDecay(),
    )
    history = learner.fit_stream(x, y, test=patterns(6, seed=1))
    assert history.accuracies[-1] > 0.75
    model, order = compiled(), orderings.class_incremental(y)
    stream = StreamingDataset(
        (x, y, order), ReplayBuffer(20), classes=4, replay_size=3, standardize=STANDARD
    )
    model.fit(stream, epochs=1, shuffle=False, verbose=0, callbacks=[PerClassRate(stream)])
    assert_same(weights(model), weights(learner.model))
