"""How many steps and replays each strategy takes, and what it leaves alone."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_sparse.streaming import MultiTaskStreaming
from keras_sparse.streaming.learner.batches import ReplayBatches
from keras_sparse.streaming.multi_task import STRATEGIES
from tests.streaming.streams import STANDARD, assert_same, patterns, weights


def learner_of(strategy="full_sep", **arguments):
    keras.utils.set_random_seed(0)
    trunk = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Flatten(),
            layers.Dense(16),
            layers.BatchNormalization(),
            layers.ReLU(),
        ]
    )
    heads = {"a": layers.Dense(4), "b": layers.Dense(3), "c": layers.Dense(2)}
    names = dict.fromkeys(heads, STANDARD)
    return MultiTaskStreaming(
        trunk, heads, strategy=strategy, replay_size=12, standardize=names, **arguments
    )


def streams():
    x, y = patterns(10)
    other, labels = patterns(8, classes=3, seed=3)
    return {"a": (x, y), "b": (255 - other, labels)}


@pytest.fixture
def rows(monkeypatch):
    """The rows of each batch."""
    seen, prepared = [], ReplayBatches._prepared

    def record(self, examples, labels):
        seen.append(len(examples))
        return prepared(self, examples, labels)

    monkeypatch.setattr(ReplayBatches, "_prepared", record)
    return seen


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_steps_replays_and_heads_that_wait(strategy, rows):
    learner = learner_of(strategy)
    before = weights(learner.models["c"])[-2:]
    (x, y), (other, labels) = streams().values()
    for image, label in zip(x, y, strict=True):
        learner.partial_fit("a", image, label)
    assert int(learner.optimizer.iterations) == len(y)
    assert rows[-1] == 12
    rows.clear()
    shared = weights(learner.models["a"])[0]
    for number in range(20):
        learner.partial_fit("b", other[number], labels[number])
    steps = 2 if strategy.endswith("sep") else 1
    assert int(learner.optimizer.iterations) == len(y) + 20 * steps
    assert rows[-2:] == ([12, 12] if strategy.startswith("full") else [6, 6])
    assert learner.met == ["a", "b"]
    assert not np.array_equal(shared, weights(learner.models["a"])[0])
    assert_same(before, weights(learner.models["c"])[-2:])


@pytest.mark.slow
def test_two_data_sets_are_learned_one_after_the_other():
    learner = learner_of()
    learner.fit_streams(streams())
    test = patterns(10, seed=1)
    other, labels = patterns(10, classes=3, seed=4)
    assert learner.evaluate("a", *test).accuracy > 0.8
    assert learner.evaluate("b", 255 - other, labels).accuracy > 0.8


def test_wrong_tasks_and_classes_are_refused():
    learner = learner_of()
    x, y = patterns(1)
    with pytest.raises(ValueError, match="Unknown task: 'd'"):
        learner.partial_fit("d", x[0], y[0])
    with pytest.raises(ValueError, match="label must be an integer from 0 to 1"):
        learner.partial_fit("c", x[0], 3)
    with pytest.raises(ValueError, match="strategy must be one of"):
        learner_of("full")
    assert learner.met == []
