"""What is given to a learner is checked before anything is learned, and what it gives out is meant
as its model means it."""

import functools

import keras
import numpy as np
import pytest
from keras import layers

import keras_sparse as ks
from keras_sparse.streaming import (
    E2EIL,
    DeepSLDA,
    ImageCompression,
    MultiTaskStreaming,
    PerClassRate,
    ReplayBuffer,
    StreamingBackup,
    StreamingDataset,
    StreamingLearner,
    TestingEvents,
    orderings,
)
from tests.streaming.streams import STANDARD, assert_same, dense_net, patterns, weights

LOGITS = keras.losses.CategoricalCrossentropy(from_logits=True)
PROBABILITIES = keras.losses.CategoricalCrossentropy()


def learner_of(model=None, **arguments):
    return StreamingLearner(model or dense_net(), capacity=20, standardize=STANDARD, **arguments)


def net_of(activation=None, loss=None):
    model = keras.Sequential([*dense_net().layers[:-1], layers.Dense(4, activation=activation)])
    model.build((None, 8, 8, 1))
    if loss is not None:
        model.compile(keras.optimizers.SGD(0.05), loss)
    return model


def test_labels_as_data_sets_of_keras_have_them():
    x, y = patterns(6)
    column = y[:, None]
    one, other = learner_of(), learner_of()
    one.fit_stream(x, y, test=(x, y))
    history = other.fit_stream(x, column, test=(x, column))
    assert_same(weights(one.model), weights(other.model))
    assert history.accuracies[-1] == one.evaluate(x, y).accuracy == one.evaluate(x, column).accuracy
    stream = StreamingDataset((x, column), ReplayBuffer(20), classes=4)
    assert stream.labels().tolist() == y.tolist()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (lambda y: y[:1], "y must be one class for each of 24 examples"),
        (lambda y: y - 1, "y must be class numbers from 0 to 3"),
        (lambda y: y + 1, "y must be class numbers from 0 to 3"),
        (lambda y: y + 0.5, "y must be class numbers, one for each example"),
        (lambda y: np.eye(4)[y], r"y must be class numbers.*argmax\(1\)"),
    ],
)
def test_wrong_labels_are_refused_before_the_first_step(labels, message):
    x, y = patterns(6)
    learner, wrong = learner_of(), labels(y)
    before = weights(learner.model)
    tasks = MultiTaskStreaming(dense_net(), {"a": layers.Dense(4)})
    stream = StreamingDataset((x, y), ReplayBuffer(20), classes=4)
    for call in (
        functools.partial(learner.fit_stream, x, wrong),
        functools.partial(learner.fit_stream, x, y, test=(x, wrong)),
        functools.partial(learner.evaluate, x, wrong),
        functools.partial(learner.base_initialize, x, wrong),
        functools.partial(DeepSLDA(dense_net(), "hidden").base_initialize, x, wrong),
        functools.partial(E2EIL(dense_net(), "hidden").base_initialize, x, wrong),
        functools.partial(StreamingDataset, (x, wrong), ReplayBuffer(20), classes=4),
        functools.partial(TestingEvents, stream, x, wrong),
        functools.partial(tasks.fit_streams, {"a": (x, wrong)}),
        functools.partial(tasks.evaluate, "a", x, wrong),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    assert_same(before, weights(learner.model))
    assert learner.buffer.seen == 0


def test_a_test_without_the_first_classes_is_refused():
    x, y = patterns(6)
    later = y > 1
    order = orderings.class_incremental(y, per_batch=1)
    message = r"test must be examples of classes \[0\]"
    with pytest.raises(ValueError, match=message):
        learner_of().fit_stream(x, y, order, test=(x[later], y[later]))
    with pytest.raises(ValueError, match=message):
        TestingEvents(
            StreamingDataset((x, y, order), ReplayBuffer(9), classes=4), x[later], y[later]
        )
    with pytest.raises(ValueError, match=r"classes must be some of those in y, \[2, 3\]"):
        learner_of().evaluate(x[later], y[later], classes=[0])


@pytest.mark.parametrize("compiled", [None, "categorical_crossentropy", PROBABILITIES])
def test_a_model_of_probabilities_is_taken_as_one(compiled):
    x, y = patterns(12)
    model = net_of("softmax", compiled)
    learner = learner_of(model)
    learner.fit_stream(x, y, "iid")
    own = model.predict((x.astype("float32") - STANDARD[0]) / STANDARD[1], verbose=0)
    np.testing.assert_allclose(learner.predict(x), own, rtol=1e-5, atol=1e-6)
    assert learner.evaluate(x, y).accuracy > 0.8
    tested = TestingEvents(StreamingDataset((x, y), ReplayBuffer(9), classes=4), x, y)
    if compiled is not None:
        tested.set_model(model)
        tested.on_train_begin()
        assert tested.from_logits is False


@pytest.mark.parametrize(
    ("activation", "loss", "given", "message"),
    [
        ("softmax", None, True, "from_logits must be False or left out.*is a softmax"),
        ("softmax", LOGITS, None, "takes logits, and the model's layer .* makes probabilities"),
        (None, LOGITS, False, "from_logits must be True or left out.*its loss says so"),
        (None, PROBABILITIES, True, "from_logits must be False or left out.*its loss says so"),
        (None, None, "yes", "from_logits must be True or False"),
    ],
)
def test_loss_model_and_argument_agree(activation, loss, given, message):
    with pytest.raises((ValueError, TypeError), match=message):
        learner_of(net_of(activation, loss), from_logits=given)


def test_rivals_and_tasks_take_models_of_logits():
    model = net_of("softmax")
    name = model.layers[-1].name
    for made in (DeepSLDA, E2EIL):
        with pytest.raises(ValueError, match=f"must be a classifier of logits.*'{name}'"):
            made(model, "hidden")
    with pytest.raises(ValueError, match="model must be a classifier of logits"):
        MultiTaskStreaming(dense_net(), {"a": layers.Dense(3, activation="softmax")})


def test_a_class_that_was_not_announced_changes_nothing_until_it_is():
    x, y = patterns(6)
    known = y < 3
    learner = learner_of()
    learner.fit_stream(x[known], y[known])
    before, turn = weights(learner.model), learner.batches.turn
    with pytest.raises(ValueError, match=r"one of those announced, \[0, 1, 2\].*announce\("):
        learner.partial_fit(x[-1], 3)
    assert_same(before, weights(learner.model))
    assert learner.batches.turn == turn
    learner.announce(np.array([3] * 6))
    learner.partial_fit(x[-1], 3)
    assert learner.buffer.class_counts[3] == 1


def test_no_room_and_a_folder_in_use_are_found_before_the_step(tmp_path):
    x, y = patterns(2)
    (tmp_path / "replay-00000000.jpg").touch()
    jpeg = ImageCompression(jpeg=90, directory=tmp_path)
    for settings, message in (
        ({"capacity_bytes": 10}, "capacity_bytes must be room for an example of 64"),
        ({"capacity": 9, "compression": jpeg}, "directory must be an empty folder"),
    ):
        learner = StreamingLearner(dense_net(), standardize=STANDARD, **settings)
        before = weights(learner.model)
        with pytest.raises(ValueError, match=message):
            learner.partial_fit(x[0], y[0])
        assert_same(before, weights(learner.model))


def test_a_learner_that_keeps_its_model_sparse_is_not_trained_without_it():
    x, y = patterns(6)
    model = dense_net()
    learner = learner_of(model, sparse=ks.GMP(0.8, keep_dense=()), steps=len(y))
    before = weights(model)
    with pytest.raises(ValueError, match="would not keep the model sparse, as GMP does"):
        learner.base_initialize(x, y)
    assert_same(before, weights(model))


def test_a_subclassed_model_inside_of_a_functional_one():
    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.flatten, self.top = layers.Flatten(), layers.Dense(4)

        def call(self, x):
            return self.top(self.flatten(x))

    model = Subclassed()
    model(np.zeros((1, 8, 8, 1), "float32"))
    with pytest.raises(ValueError, match=r"of one input and one output.*between an Input and an"):
        learner_of(model)
    inputs = keras.Input((8, 8, 1))
    x, y = patterns(6)
    learner = learner_of(keras.Model(inputs, model(inputs)))
    learner.fit_stream(x, y)
    assert learner.evaluate(x, y).accuracy > 0.5
    both = keras.Model([inputs, keras.Input((4,))], layers.Dense(4)(layers.Flatten()(inputs)))
    with pytest.raises(ValueError, match="of one input and one output"):
        learner_of(both)


def test_a_buffer_has_an_eviction_of_its_own():
    assert learner_of().buffer.eviction == "class_balanced"
    with pytest.raises(ValueError, match="eviction must be None beside a buffer"):
        StreamingLearner(dense_net(), buffer=ReplayBuffer(3), eviction="reservoir")


def test_names_that_are_of_no_task_are_told():
    with pytest.raises(ValueError, match=r"lwo.*low"):
        MultiTaskStreaming(dense_net(), {"low": layers.Dense(3)}, standardize={"lwo": STANDARD})


@pytest.mark.parametrize("callback", [PerClassRate, TestingEvents, StreamingBackup])
def test_several_steps_in_one_execution_are_refused(callback, tmp_path):
    x, y = patterns(6)
    model = net_of(loss=LOGITS)
    model.steps_per_execution = 4
    stream = StreamingDataset((x, y), ReplayBuffer(20), classes=4, standardize=STANDARD)
    more = {PerClassRate: (), TestingEvents: (x, y), StreamingBackup: (tmp_path / "states",)}
    with pytest.raises(ValueError, match="Compile it with steps_per_execution=1"):
        model.fit(stream, shuffle=False, verbose=0, callbacks=[callback(stream, *more[callback])])


class Killed(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if batch == 16:
            raise KeyboardInterrupt


def test_tests_of_a_stream_are_resumed_with_it_and_other_streams_are_told(tmp_path):
    x, y = patterns(6)
    order = orderings.class_incremental(y, per_batch=1)

    def fit(*more, labels=y, folder="states"):
        stream = StreamingDataset(
            (x, labels, order), ReplayBuffer(9), classes=4, standardize=STANDARD
        )
        tests = TestingEvents(stream, x, y)
        backup = StreamingBackup(stream, tmp_path / folder, every=6)
        model = net_of(loss=LOGITS)
        model.fit(stream, shuffle=False, verbose=0, callbacks=[backup, tests, *more])
        return tests.history

    whole = fit(folder="whole")
    with pytest.raises(KeyboardInterrupt):
        fit(Killed())
    with pytest.raises(ValueError, match="folder must be a folder with states of this stream"):
        fit(labels=(y + 1) % 4)
    resumed = fit()
    assert [event.position for event in resumed.events] == [6, 12, 18, 24]
    assert resumed.to_json() == whole.to_json()
