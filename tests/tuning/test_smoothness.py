"""The Lipschitz constant of the gradient along a step."""

import keras
import numpy as np
import pytest

import keras_sparse as ks


class Parameter(keras.layers.Layer):
    """Gives its weights, whatever it is given."""

    def __init__(self, start):
        super().__init__()
        self.start = np.asarray(start, "float32")

    def build(self, shape):
        self.w = self.add_weight(shape=self.start.shape, initializer="zeros", name="kernel")
        self.w.assign(self.start)

    def call(self, x):
        return 0.0 * x[:, :1] + self.w[None, :]


def of(function, start, move):
    """A model whose loss is a function of its weights, and an optimizer that moves them so."""

    class Moves(keras.optimizers.SGD):
        def update_step(self, gradient, variable, learning_rate):
            self.assign_add(variable, keras.ops.convert_to_tensor(move, "float32"))

    model = keras.Sequential([keras.Input((1,)), Parameter(start)])
    model.compile(Moves(), lambda y, w: function(w), run_eagerly=True)
    return model


X, Y = np.ones((4, 1), "float32"), np.ones((4, 1), "float32")


def estimate(model, **settings):
    found = ks.tuning.LipschitzSmoothness((X, Y), every=1, **settings)
    model.fit(X, Y, batch_size=4, epochs=1, verbose=0, callbacks=[found])
    return found


def test_a_quadratic_has_the_same_estimate_for_every_gamma():
    curvature = np.array([1.0, 4.0], "float32")
    for delta in (0.1, 1.0):
        model = of(lambda w: 0.5 * keras.ops.sum(curvature * w**2, -1), [2, 3], [1, 1])
        found = estimate(model, delta=delta)
        assert found.values == [(1, pytest.approx(2.9154759, rel=1e-5))]
        assert found.mean <= 4


def test_the_whole_step_is_looked_at():
    model = of(lambda w: keras.ops.sum(w**3, -1) / 6, [1.0], [1.0])
    assert estimate(model).mean == pytest.approx(1.5, rel=1e-5)


def test_a_step_that_moves_nothing_gives_no_estimate():
    model = of(lambda w: keras.ops.sum(w**2, -1), [1.0], [0.0])
    found = estimate(model)
    assert found.values == []
    assert np.isnan(found.mean)
    assert np.isnan(model.history.history["lipschitz"][0])


@pytest.mark.jax
def test_a_training_is_the_same_to_the_last_bit(images):
    ended = []
    for callbacks in ([], [ks.tuning.LipschitzSmoothness(images, every=3, chunk=50)]):
        keras.utils.set_random_seed(0)
        layers = [keras.layers.Flatten(), keras.layers.Dense(8), keras.layers.BatchNormalization()]
        layers += [keras.layers.ReLU(), keras.layers.Dropout(0.2), keras.layers.Dense(4)]
        model = keras.Sequential([keras.Input((8, 8, 1)), *layers])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss, jit_compile=False)
        history = model.fit(
            *images,
            batch_size=16,
            epochs=1,
            verbose=0,
            shuffle=False,
            callbacks=[ks.StaticMask(0.5, seed=0), *callbacks],
        ).history
        ended.append([keras.ops.convert_to_numpy(v) for v in model.variables])
        ended[-1] += [keras.ops.convert_to_numpy(v) for v in model.optimizer.variables]
    assert [step for step, _ in callbacks[0].values] == [3, 6]
    assert history["lipschitz"] == [pytest.approx(callbacks[0].mean)]
    assert callbacks[0].mean > 0
    for one, two in zip(*ended, strict=True):
        np.testing.assert_array_equal(one, two)


def test_pruned_weights_are_left_out():
    """The gradient of a pruned weight changes too, and is not looked at."""
    curvature = np.array([[1.0], [9.0]], "float32")
    x = np.array([[1.0, 0.0], [0.0, 3.0]], "float32")  # half of the squares: 1/2 and 9/2
    found = []
    for mask in ([[True], [False]], [[True], [True]]):
        layer = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")
        model = keras.Sequential([keras.Input((2,)), layer])
        model.compile(keras.optimizers.SGD(0.01), "mse", run_eagerly=True)
        smoothness = ks.tuning.LipschitzSmoothness((x, np.zeros((2, 1))), every=1)
        pruning = [] if np.all(mask) else [ks.StaticMask(mask=[np.array(mask)])]
        callbacks = [*pruning, smoothness]
        model.fit(x, np.zeros((2, 1)), batch_size=2, verbose=0, callbacks=callbacks)
        found.append(smoothness.mean)
    assert found[0] == pytest.approx(curvature[0, 0], rel=1e-4)
    step = np.array([1.0, 9.0])
    wanted = np.linalg.norm(curvature[:, 0] * step) / np.linalg.norm(step)
    assert found[1] == pytest.approx(wanted, rel=1e-4)


def test_several_steps_at_once_and_wrong_arguments_are_refused():
    model = of(lambda w: keras.ops.sum(w**2, -1), [1.0], [1.0])
    model.compile("sgd", "mse", steps_per_execution=4)
    with pytest.raises(ValueError, match="steps_per_execution=4"):
        estimate(model)
    for settings, name in (
        ({"every": 0}, "every"),
        ({"delta": 0}, "delta"),
        ({"chunk": 0}, "chunk"),
    ):
        with pytest.raises(ValueError, match=f"{name} must be"):
            ks.tuning.LipschitzSmoothness((X, Y), **settings)
    with pytest.raises(ValueError, match="data must be"):
        ks.tuning.LipschitzSmoothness(None)
