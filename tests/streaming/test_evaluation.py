"""Orders, testing events and their numbers, by hand."""

import itertools

import numpy as np
import pytest

from keras_sparse.streaming import ExpectedCalibrationError, StreamHistory, omega_all, orderings
from keras_sparse.streaming.evaluation.events import event_of_predictions, event_positions

LABELS = np.repeat(np.arange(6), 10)
OBJECTS = np.tile(np.repeat([0, 1], 5), 6) + 2 * LABELS


@pytest.mark.parametrize("name", orderings.NAMES)
def test_every_example_comes_once_and_the_same_seed_gives_the_same(name):
    order = orderings.order_of(name, LABELS, OBJECTS, seed=3)
    assert sorted(order.indices.tolist()) == list(range(60))
    again = orderings.order_of(name, LABELS, OBJECTS, seed=3)
    np.testing.assert_array_equal(order.indices, again.indices)
    other = orderings.order_of(name, LABELS, OBJECTS, seed=4)
    assert not np.array_equal(order.indices, other.indices)
    assert order.ends[-1] == 60


def runs(values):
    return [int(values[0]), *(int(b) for a, b in itertools.pairwise(values) if a != b)]


def test_class_after_class_shuffled_inside():
    order = orderings.class_incremental(LABELS, per_batch=2)
    assert runs(LABELS[order.indices]) == [0, 1, 2, 3, 4, 5]
    assert order.ends == (20, 40, 60)
    assert order.by_class
    assert not np.array_equal(order.indices[:10], np.sort(order.indices[:10]))
    shuffled = orderings.class_incremental(LABELS, shuffle_classes=True, seed=1)
    assert sorted(runs(LABELS[shuffled.indices])) == [0, 1, 2, 3, 4, 5]


def test_batches_of_two_classes_mixed():
    order = orderings.class_iid(LABELS)
    parts = [LABELS[order.indices[i : i + 20]] for i in (0, 20, 40)]
    assert all(len(set(part)) == 2 for part in parts)
    assert all(len(runs(part)) > 3 for part in parts)


def test_objects_keep_the_order_of_their_frames():
    order = orderings.instance(LABELS, OBJECTS, batches=3)
    assert len(runs(OBJECTS[order.indices])) == 12
    assert (order.by_class, order.ends) == (False, (20, 40, 60))
    for each in range(12):
        frames = order.indices[OBJECTS[order.indices] == each]
        assert (np.diff(frames) > 0).all()
    both = orderings.class_instance(LABELS, OBJECTS)
    assert len(runs(OBJECTS[both.indices])) == 12
    assert all(len(set(LABELS[both.indices[i : i + 20]])) == 2 for i in (0, 20, 40))


def test_all_examples_mixed():
    order = orderings.iid(LABELS, batches=7)
    assert len(order.ends) == 7
    assert not order.by_class
    assert len(runs(LABELS[order.indices])) > 30


def test_when_there_are_tests():
    order = orderings.class_incremental(LABELS, per_batch=2)
    assert event_positions(order, LABELS, "batch") == (20, 40, 60)
    assert event_positions(order, LABELS, "class") == (10, 20, 30, 40, 50, 60)
    assert event_positions(order, LABELS, 25) == (25, 50, 60)
    with pytest.raises(ValueError, match="events must be 'batch', 'class' or an integer"):
        event_positions(order, LABELS, "epoch")


def test_wrong_orders_are_refused():
    with pytest.raises(ValueError, match="Did you mean 'class-iid'"):
        orderings.order_of("class_iid", LABELS)
    with pytest.raises(ValueError, match="instances must be object numbers"):
        orderings.order_of("instance", LABELS)
    with pytest.raises(ValueError, match="y must be class numbers"):
        orderings.iid(LABELS * 1.0)


def test_omega_is_the_mean_ratio():
    assert omega_all([0.6, 0.5], [0.8, 0.7]) == pytest.approx(0.732143, abs=1e-6)
    assert omega_all([0.9, 0.66], [0.9, 0.6]) == pytest.approx(1.05)
    assert omega_all([0.3, 0.4], [0.3, 0.4]) == 1
    with pytest.raises(ValueError, match="offline must be one accuracy for each of 2 events"):
        omega_all([0.3, 0.4], [0.3])
    with pytest.raises(ValueError, match="offline must be accuracies above 0"):
        omega_all([0.3], [0])


CONFIDENCES, RIGHT = np.array([0.95, 0.85, 0.75, 0.65, 0.55, 0.35]), np.array([1, 1, 0, 1, 0, 0])


def predictions():
    rest = (1 - CONFIDENCES)[:, None] / 3
    return np.concatenate([CONFIDENCES[:, None], np.repeat(rest, 3, 1)], 1)


@pytest.mark.parametrize(("bins", "error"), [(2, 0.183333), (5, 0.25), (15, 0.366667)])
def test_calibration_error_by_hand_and_over_batches(bins, error):
    metric, whole = ExpectedCalibrationError(bins), ExpectedCalibrationError(bins)
    y = 1 - RIGHT  # Class 0 has the highest score.
    whole.update_state(y, predictions())
    for rows in ([0, 1], [2], [3, 4, 5]):
        metric.update_state(y[rows], predictions()[rows])
    assert float(whole.result()) == pytest.approx(error, abs=1e-6)
    assert float(metric.result()) == pytest.approx(error, abs=1e-6)
    soft, logits = ExpectedCalibrationError(bins), ExpectedCalibrationError(bins, from_logits=True)
    soft.update_state(np.eye(4)[y], predictions())
    logits.update_state(y, np.log(predictions()))
    assert float(soft.result()) == pytest.approx(error, abs=1e-6)
    assert float(logits.result()) == pytest.approx(error, abs=1e-5)


def test_calibration_of_the_sure_and_right_is_perfect():
    metric = ExpectedCalibrationError()
    metric.update_state([0, 1, 2], np.eye(3))
    assert float(metric.result()) == 0
    metric.reset_state()
    assert float(metric.result()) == 0
    assert ExpectedCalibrationError.from_config(metric.get_config()).bins == 15


def test_a_confidence_at_an_edge_is_in_the_bin_that_begins_there():
    metric = ExpectedCalibrationError(5)
    metric.update_state([0], [[0.6, 0.4]])
    assert np.asarray(metric.counts).tolist() == [0, 0, 0, 1, 0]


def test_an_event_says_which_classes_were_taken_for_which():
    event = event_of_predictions(7, [0, 0, 1, 2], np.eye(4)[[0, 1, 1, 0]] * 0.9 + 0.025, k=2)
    assert (event.position, event.accuracy, event.classes) == (7, 0.5, [0, 1, 2])
    assert event.confusion[0] == [1, 1, 0, 0]
    assert event.per_class == {0: 0.5, 1: 1.0, 2: 0.0}
    assert event.top_k_accuracy[2] == 0.75
    history = StreamHistory([event])
    assert StreamHistory.from_json(history.to_json()) == history


def test_forgetting_is_the_fall_from_the_best():
    def event(position, accuracies):
        labels = np.repeat(list(accuracies), 10)
        taken = [c if i < 10 * a else 5 for c, a in accuracies.items() for i in range(10)]
        return event_of_predictions(position, labels, np.eye(6)[taken])

    history = StreamHistory(
        [event(1, {0: 0.8}), event(2, {0: 0.9, 1: 0.7}), event(3, {0: 0.4, 1: 0.6, 2: 1.0})]
    )
    assert history.forgetting == pytest.approx((0.5 + 0.1) / 2)
    assert StreamHistory([event(1, {0: 0.5})]).forgetting == 0
    assert history.accuracies == pytest.approx([0.8, 0.8, 2 / 3])
