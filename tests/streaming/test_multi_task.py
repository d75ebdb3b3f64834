"""How many steps and replays each strategy takes, and what it leaves alone."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_sparse.probe.batch_norm import batch_normalizations
from keras_sparse.streaming import ImageCompression, MultiTaskStreaming
from keras_sparse.streaming.learner.batches import ReplayBatches
from keras_sparse.streaming.learner.classifier import softmax
from keras_sparse.streaming.learner.model_state import arrays_of
from keras_sparse.streaming.multi_task import STRATEGIES
from tests.streaming.streams import STANDARD, assert_same, patterns, weights


def learner_of(strategy="full_sep", replay_size=12, **arguments):
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
        trunk, heads, strategy=strategy, replay_size=replay_size, standardize=names, **arguments
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


def test_each_task_is_tested_with_statistics_of_its_own_buffer():
    learner = learner_of()
    (x, y), (other, labels) = streams().values()
    for task, images, classes in (("a", x, y), ("b", other, labels)):
        for i in range(12):
            learner.partial_fit(task, images[i], classes[i])
    before = weights(learner.models["a"])
    alone = learner.model_of("a")
    assert_same(before, weights(learner.models["a"]))
    (norm,) = batch_normalizations(alone)
    scale, (shift, spread) = alone.layers[2].kernel, STANDARD
    standard = (x[:12].reshape(12, -1).astype("float32") - shift) / spread
    products = standard @ np.asarray(scale)
    np.testing.assert_allclose(norm.moving_mean, products.mean(0), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(norm.moving_variance, products.var(0), rtol=1e-3, atol=1e-4)
    own, shared = learner.predict("a", x), learner.predict("a", x, shared_statistics=True)
    np.testing.assert_allclose(
        own, softmax(alone.predict_on_batch(learner._of("a").standardize(x)))
    )
    assert np.abs(own - shared).max() > 1e-3
    learner.partial_fit("b", other[12], labels[12])
    assert not np.array_equal(own, learner.predict("a", x))
    # Nothing to measure them on: the shared ones.
    np.testing.assert_array_equal(
        learner.predict("c", x), learner.predict("c", x, shared_statistics=True)
    )


@pytest.mark.slow
def test_two_data_sets_are_learned_one_after_the_other():
    learner = learner_of()
    learner.fit_streams(streams())
    test = patterns(10, seed=1)
    other, labels = patterns(10, classes=3, seed=4)
    assert learner.evaluate("a", *test).accuracy > 0.8
    assert learner.evaluate("b", 255 - other, labels).accuracy > 0.8


@pytest.mark.jax
def test_scaled_losses_are_unscaled_again():
    plain, scaled = (
        learner_of("full_sum", optimizer=optimizer, schedule=None)
        for optimizer in (
            keras.optimizers.SGD(0.05),
            keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.05), initial_scale=1024.0),
        )
    )
    given = {name: (x[:9], y[:9]) for name, (x, y) in streams().items()}
    plain.fit_streams(given)
    if keras.backend.backend() == "jax":
        with pytest.raises(ValueError, match="Give the optimizer in it"):
            scaled.fit_streams(given)
        return
    scaled.fit_streams(given)
    for name, model in plain.models.items():
        for one, other in zip(weights(model), weights(scaled.models[name]), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


class Killed(Exception):
    pass


@pytest.mark.jax
def test_killed_and_resumed_it_comes_to_the_same_end(tmp_path):
    (x, y), (other, labels) = streams().values()
    given = {"a": (x[::4], y[::4]), "b": (other[::3], labels[::3])}
    count = len(given["a"][1]) + len(given["b"][1])
    stop_at = len(given["a"][1]) + 5

    def kill(done):
        if done == stop_at:
            raise Killed

    def learner(name, seed=0):
        jpeg = ImageCompression(jpeg=90, directory=tmp_path / name)
        found = learner_of("full_sum", replay_size=3, capacity=6, compression=jpeg)
        for variable in found.optimizer.variables:
            variable.assign(variable + seed)  # What it goes on with is not what it was made with.
        return found

    whole, killed, resumed = learner("whole"), learner("killed"), learner("killed", seed=1)
    whole.fit_streams(given)
    settings = {"backup": tmp_path / "states", "backup_every": 4}
    with pytest.raises(Killed):
        killed.fit_streams(given, **settings, after=kill)
    with pytest.raises(ValueError, match="backup must be a folder with states of this stream"):
        learner("killed").fit_streams({"b": given["b"]}, **settings)
    met = []
    resumed.fit_streams(given, **settings, after=met.append)
    assert met == list(range(stop_at - stop_at % 4 + 1, count + 1))
    assert not (tmp_path / "states").exists()
    for name in given:
        assert_same(weights(whole.models[name]), weights(resumed.models[name]))
        assert_same(whole.batches[name].buffer.read(), resumed.batches[name].buffer.read())
    assert_same(*(arrays_of(each.optimizer.variables) for each in (whole, resumed)))


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
