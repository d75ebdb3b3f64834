"""Selection by several workers: the picks of one, and what they tell each other."""

import keras
import numpy as np
import pytest

import keras_sparse as ks
from keras_sparse.analysis.bounds.pruning_rate import selection_floats
from keras_sparse.distribute.communicator import alone, in_threads
from keras_sparse.structured import distributed_selection, select_units


def problem(seed=0, units=12, features=5, rows=30):
    generator = np.random.default_rng(seed)
    x, kernel = generator.normal(size=(rows, features)), generator.normal(size=(features, units))
    return x, kernel, generator.normal(size=units), generator.normal(size=rows)


def central(given, size, **kwargs):
    x, kernel, weights, y = given
    return select_units(np.maximum(x @ kernel, 0), weights, y, size, **kwargs)


@pytest.mark.parametrize("send", ["weights", "outputs"])
@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_picks_are_those_of_one_worker(send, count):
    for seed in range(3):
        given = problem(seed)
        for kwargs in ({}, {"batch_size": 10, "seed": 4}, {"num_candidates": 3, "seed": 5}):
            one = central(given, 9, **kwargs)
            all_ = in_threads(
                lambda w, g=given, k=kwargs: distributed_selection(w, *g, 9, send=send, **k), count
            )
            for each in all_:
                np.testing.assert_array_equal(each.picks, one.picks)
                np.testing.assert_allclose(each.losses, one.losses)


def test_every_share_of_the_units_gives_the_same_picks():
    given = problem(units=7)
    one = central(given, 12)
    generator = np.random.default_rng(1)
    x, kernel, weights, y = given
    for _ in range(5):
        order = generator.permutation(7)
        found = in_threads(
            lambda w, o=order: distributed_selection(w, x, kernel[:, o], weights[o], y, 12), 3
        )
        np.testing.assert_array_equal(order[found[0].picks], one.picks)


def test_the_loss_that_is_compared_is_that_of_the_average():
    x, kernel, weights, y = np.ones((1, 1)), np.array([[0.5, 0.0]]), np.ones(2), np.ones(1)
    found = in_threads(lambda workers: distributed_selection(workers, x, kernel, weights, y, 4), 2)
    assert found[1].picks.tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(("rows", "units"), [(30, 12), (60, 12), (30, 40)])
def test_what_is_told(rows, units):
    given = problem(rows=rows, units=units)

    def traffic(workers, send):
        found = distributed_selection(workers, *given, 6, send=send)
        return found.floats, workers.traffic

    (floats, heard), *_ = in_threads(lambda w: traffic(w, "weights"), 4)
    assert floats == selection_floats(6, 4, 5 + 1)
    floats, more = in_threads(lambda w: traffic(w, "outputs"), 4)[0]
    assert floats == selection_floats(6, 4, rows)
    assert heard < more
    # Beside the identity of the training, 24 bytes a worker, 8 more from each, and a neuron.
    assert heard - 3 * 6 * (4 * 32 + 6 * 8) < 3 * 4 * 600


def test_a_keras_model_by_two_workers(images):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(10, activation="tanh", bias_initializer="uniform"),
            keras.layers.Dense(4, activation="softmax"),
        ]
    )
    model.compile(loss="sparse_categorical_crossentropy")
    one = ks.structured.greedy_forward_selection(model, images, 7)
    copies = [keras.models.clone_model(model) for _ in range(2)]
    for copied in copies:
        copied.set_weights(model.get_weights())

    def select(workers):
        return ks.structured.greedy_forward_selection(
            copies[workers.rank], images, 7, loss=model.loss, workers=workers
        )

    two = in_threads(select, 2)
    np.testing.assert_array_equal(one.picks, two[0].picks)
    np.testing.assert_array_equal(one.picks, two[1].picks)
    assert two[0].floats == 7 * (2 + 64 + 1 + 4)


def test_workers_with_other_data_are_refused():
    x, kernel, weights, y = problem()

    def select(workers):
        return distributed_selection(workers, x + workers.rank, kernel, weights, y, 3)

    with pytest.raises(ks.distribute.WorkersDifferError, match="data is"):
        in_threads(select, 2)
    with pytest.raises(ValueError, match="seed must be an integer"):
        distributed_selection(alone(), x, kernel, weights, y, 3, seed=None)


def test_workers_take_nothing_between_the_layers():
    model = keras.Sequential(
        [keras.Input((5,)), keras.layers.Dense(6), keras.layers.ReLU(), keras.layers.Dense(1)]
    )
    with pytest.raises(ValueError, match="nothing between"):
        ks.structured.greedy_forward_selection(
            model, (np.ones((4, 5)), np.ones(4)), 2, loss="mse", workers=alone()
        )
