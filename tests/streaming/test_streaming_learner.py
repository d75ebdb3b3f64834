"""One step for each example, of all weights, in the order of the algorithm, resumed exactly."""

import functools
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_sparse as ks
from keras_sparse.streaming import (
    ImageCompression,
    PerClassLinearDecay,
    PerClassRate,
    ReplayBuffer,
    StreamingAugment,
    StreamingBackup,
    StreamingDataset,
    StreamingLearner,
    TestingEvents,
    orderings,
)
from keras_sparse.streaming.learner.batches import ReplayBatches
from tests.streaming.streams import STANDARD, assert_same, dense_net, norm_net, patterns, weights

CROP = StreamingAugment(crop=1, policy=None)


def learner_of(model=None, **arguments):
    settings = {"capacity": 20, "replay_size": 6, "standardize": STANDARD, **arguments}
    return StreamingLearner(norm_net() if model is None else model, **settings)


def sgd_net(net=dense_net, rate=0.05, **arguments):
    model = net()
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(rate, **arguments), loss)
    return model


@pytest.fixture
def batches(monkeypatch):
    """What each step trains on."""
    seen, made = [], ReplayBatches.batch

    def record(self, x, y):
        seen.append(made(self, x, y))
        return seen[-1]

    monkeypatch.setattr(ReplayBatches, "batch", record)
    return seen


def test_a_step_sees_the_new_example_once_and_distinct_old_ones(batches):
    y = [0, 1] * 15
    x = np.arange(30, dtype=np.uint8)[:, None, None, None].repeat(8, 1).repeat(8, 2)
    learner = learner_of(sgd_net(), standardize=None)
    stored = []
    for t, (image, label) in enumerate(zip(x, y, strict=True)):
        learner.partial_fit(image, label)
        numbers = batches[-1][0][:, 0, 0, 0].astype(int).tolist()
        assert numbers[0] == t
        assert len(set(numbers)) == len(numbers) == min(6, min(t, 20)) + 1
        assert set(numbers[1:]) <= set(stored)
        assert batches[-1][1].argmax(1).tolist() == [y[n] for n in numbers]
        stored = learner.buffer.read()[0][:, 0, 0, 0].tolist()
    assert int(learner.model.optimizer.iterations) == learner.buffer.seen == 30


def test_every_variable_learns_from_the_first_example_on():
    learner = learner_of()
    before = [np.array(v) for v in learner.model.trainable_variables]
    statistics = [np.array(v) for v in learner.model.non_trainable_variables]
    x, y = patterns()
    for index in (0, 12, 24):
        learner.partial_fit(x[index], y[index])
    for old, new in zip(before, learner.model.trainable_variables, strict=True):
        assert not np.array_equal(old, np.array(new)), new.path
    for old, new in zip(statistics, learner.model.non_trainable_variables, strict=True):
        assert not np.array_equal(old, np.array(new)), new.path


def test_without_replay_it_is_plain_sgd_on_single_examples():
    model, plain = sgd_net(), sgd_net()
    x, y = patterns(5)
    learner = learner_of(model, replay_size=0)

    @tf.function(input_signature=[tf.TensorSpec((None, 8, 8, 1)), tf.TensorSpec((None, 4))])
    def step(scaled, soft):
        with tf.GradientTape() as tape:
            loss = plain.loss(soft, plain(scaled, training=True))
        gradients = tape.gradient(loss, plain.trainable_variables)
        plain.optimizer.apply_gradients(zip(gradients, plain.trainable_variables, strict=True))
        return loss

    for image, label in zip(x, y, strict=True):
        learner.partial_fit(image, label)
        step(((image.astype("float32") - 128) / 64)[None], np.eye(4, dtype="float32")[[label]])
    assert_same(weights(model), weights(plain))
    assert len(learner.buffer) == 0


def test_statistics_that_lag_behind_sorted_classes_are_told():
    x, y = patterns(10)
    said = r"After the 10 examples of a class, .* momentum 0.99, still tests with 90% .* before"
    with pytest.warns(UserWarning, match=said) as told:
        StreamingLearner(norm_net(), standardize=STANDARD).fit_stream(x, y)
    assert Path(__file__).name in {Path(each.filename).name for each in told}
    quick = norm_net()
    ks.models.set_batch_norm_momentum(quick, 0.8)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        StreamingLearner(quick, standardize=STANDARD).fit_stream(x, y)
        StreamingLearner(norm_net(), standardize=STANDARD).fit_stream(x, y, order="iid")


def test_growing_batches_are_not_traced_each():
    traces = []

    class Counting(keras.layers.Layer):
        def call(self, x):
            traces.append(x.shape)
            return x

    model = keras.Sequential([*dense_net().layers[:2], Counting(), keras.layers.Dense(4)])
    model.build((None, 8, 8, 1))
    learner = learner_of(model, replay_size=20)
    traces.clear()
    learner.fit_stream(*patterns())
    assert len(traces) <= 2


def test_the_rate_falls_within_each_class():
    schedule = PerClassLinearDecay(0.1, 0.001, {3: 5, 1: 1})
    assert [schedule.next(3) for _ in range(3)] == pytest.approx([0.1, 0.07525, 0.0505])
    assert schedule.next(1) == 0.1
    assert [schedule.next(3) for _ in range(3)] == pytest.approx([0.02575, 0.001, 0.001])
    with pytest.raises(ValueError, match=r"label must be one of those announced, \[1, 3\]"):
        schedule.next(0)


def test_the_learner_follows_the_schedule_in_any_order():
    rates = []
    x, y = patterns(5)
    order = orderings.Order(np.arange(20).reshape(4, 5).T.ravel(), (20,), False)
    learner = learner_of()
    learner.fit_stream(
        x, y, order, after=lambda done: rates.append(float(learner.model.optimizer.learning_rate))
    )
    expected = np.repeat([0.1, 0.07525, 0.0505, 0.02575, 0.001], 4)
    np.testing.assert_allclose(rates, expected, rtol=1e-6)


def streams():
    x, y = patterns()
    return x, y, orderings.class_incremental(y)


def by_fit(model, callbacks=(), buffer=None, folder=None, augment=CROP):
    x, y, order = streams()
    buffer = ReplayBuffer(20) if buffer is None else buffer
    stream = StreamingDataset(
        (x, y, order), buffer, classes=4, replay_size=6, augment=augment, standardize=STANDARD
    )
    made = [make(stream) for make in callbacks]
    model.fit(stream, epochs=1, shuffle=False, verbose=0, callbacks=made)
    return made


@pytest.mark.parametrize("augment", [None, CROP])
def test_fit_comes_to_the_learner_s_weights(augment):
    x, y, order = streams()
    test = patterns(6, seed=1)
    learner = learner_of(
        sgd_net(norm_net, 0.1, momentum=0.9), augment=augment, schedule=PerClassLinearDecay()
    )
    history = learner.fit_stream(x, y, order, test=test)
    model = sgd_net(norm_net, 0.1, momentum=0.9)
    _, events = by_fit(
        model, (PerClassRate, lambda stream: TestingEvents(stream, *test)), augment=augment
    )
    assert_same(weights(model), weights(learner.model))
    assert events.history.accuracies == history.accuracies
    assert [event.classes for event in history.events] == [[0, 1], [0, 1, 2, 3]]


class Killed(Exception):
    pass


def killing(step):
    class Kill(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch + 1 == step:
                raise Killed

    return lambda stream: Kill()


def test_fit_goes_on_where_it_was_killed(tmp_path):
    def backup(stream):
        return StreamingBackup(stream, tmp_path / "states", every=7)

    whole = sgd_net(norm_net, 0.1, momentum=0.9)
    by_fit(whole, (PerClassRate,))
    with pytest.raises(Killed):
        by_fit(sgd_net(norm_net, 0.1, momentum=0.9), (backup, PerClassRate, killing(31)))
    assert sorted(path.name for path in (tmp_path / "states").iterdir())[-1] == "step-00028.npz"
    resumed = sgd_net(norm_net, 0.1, momentum=0.9)
    by_fit(resumed, (backup, PerClassRate))
    assert_same(weights(resumed), weights(whole))
    assert not (tmp_path / "states").exists()


@pytest.mark.parametrize("step", [5, 23])
def test_the_learner_goes_on_where_it_was_killed(tmp_path, step):
    def made():
        return learner_of(augment=CROP, compression=ImageCompression(bits=6), eviction="reservoir")

    def kill(done):
        if done == step:
            raise Killed

    x, y, order = streams()
    test, whole = patterns(6, seed=1), made()
    history = whole.fit_stream(x, y, order, test=test, events="class")
    settings = {"test": test, "events": "class", "backup": tmp_path / "b", "backup_every": 4}
    with pytest.raises(Killed):
        made().fit_stream(x, y, order, after=kill, **settings)
    resumed, met = made(), []
    again = resumed.fit_stream(x, y, order, after=met.append, **settings)
    assert met[0] == step // 4 * 4 + 1
    assert again == history
    assert_same(weights(resumed.model), weights(whole.model))
    assert_same(resumed.buffer.read(), whole.buffer.read())


def test_states_of_another_stream_are_not_taken(tmp_path):
    x, y, order = streams()

    def kill(done):
        if done == 9:
            raise Killed

    with pytest.raises(Killed):
        learner_of().fit_stream(x, y, order, backup=tmp_path, backup_every=4, after=kill)
    with pytest.raises(ValueError, match="backup must be a folder with states of this stream"):
        learner_of().fit_stream(x, y, "iid", backup=tmp_path)


def test_the_same_seed_gives_the_same():
    x, y, order = streams()
    one, other = (learner_of(augment=CROP) for _ in range(2))
    for learner in (one, other):
        learner.fit_stream(x, y, order)
    assert_same(weights(one.model), weights(other.model))


def test_replay_keeps_what_single_examples_forget():
    x, y = patterns(30)
    test = patterns(20, seed=1)
    kept = learner_of(dense_net(), capacity=40, replay_size=20).fit_stream(x, y, test=test)
    lost = learner_of(dense_net(), replay_size=0).fit_stream(x, y, test=test)
    assert kept.accuracies[-1] > 0.9
    assert lost.accuracies[-1] < 0.5
    assert lost.forgetting > kept.forgetting + 0.4


@pytest.mark.parametrize("method", [functools.partial(ks.SET, every=ks.Duration(steps=10)), ks.GMP])
def test_a_sparse_model_learns_and_stays_sparse(method):
    x, y = patterns(30)
    test = patterns(20, seed=1)
    model = dense_net()
    learner = learner_of(
        model, capacity=40, replay_size=20, sparse=method(0.8, keep_dense=()), steps=len(y)
    )
    history = learner.fit_stream(x, y, test=test)
    zeros = np.mean(np.concatenate([w.ravel() for w in weights(model) if w.ndim > 1]) == 0)
    assert zeros == pytest.approx(0.8, abs=0.01)
    assert history.accuracies[-1] > 0.85


def test_prediction_before_and_between_examples():
    learner = learner_of()
    x, _ = patterns(2)
    found = learner.predict(x)
    assert found.shape == (8, 4)
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-5)


def test_a_dataset_passes_once_and_in_order():
    x, y, order = streams()
    stream = StreamingDataset((x, y, order), ReplayBuffer(20), classes=4)
    first = stream[0]
    assert stream[0] is first
    with pytest.raises(ValueError, match=r"Batch 5 .* and the next one is 1.*shuffle=False"):
        stream[5]


@pytest.mark.parametrize(
    ("image", "label", "message"),
    [
        (np.zeros((8, 8, 1), np.uint8), 4, "label must be an integer from 0 to 3"),
        (np.zeros((8, 8, 1), np.uint8), -1, "label must be an integer from 0 to 3"),
        (np.zeros((9, 8, 1), np.uint8), 0, "example must be like those stored"),
        (np.full((8, 8, 1), np.nan), 0, "array of finite numbers"),
    ],
)
def test_a_wrong_example_changes_nothing(image, label, message):
    learner = learner_of()
    x, y = patterns(2)
    learner.partial_fit(x[0], y[0])
    before = weights(learner.model)
    with pytest.raises(ValueError, match=message):
        learner.partial_fit(image, label)
    assert_same(before, weights(learner.model))
    assert learner.buffer.seen == 1


def test_wrong_models_and_arguments_are_refused():
    sparse = dense_net()
    sparse.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match="loss must be one of soft labels"):
        StreamingLearner(sparse)
    with pytest.raises(ValueError, match="model must be a built Sequential or functional"):
        StreamingLearner(keras.Sequential([keras.layers.Dense(3)]))
    with pytest.raises(ValueError, match="capacity must be None beside a buffer"):
        StreamingLearner(dense_net(), buffer=ReplayBuffer(3), capacity=5)
    with pytest.raises(ValueError, match="standardize must be a mean and a standard deviation"):
        StreamingLearner(dense_net(), standardize=(0, 0))
    with pytest.raises(ValueError, match="y must be one class for each of 48 examples"):
        learner_of().fit_stream(patterns()[0], [0])
