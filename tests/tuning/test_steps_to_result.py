"""Steps to a result, counted; and SGD's forms."""

import keras
import numpy as np
import pytest

import keras_sparse as ks
from tests.tuning.networks import samples

X, Y = np.ones((64, 2), "float32"), np.zeros(64, "int32")


class Scripted:
    """Errors in the order of the checks."""

    def __init__(self, *errors):
        self.errors = list(errors)

    def __call__(self, y, outputs):
        return np.full(len(y), self.errors.pop(0) if self.errors else 1.0)


def linear(optimizer="sgd", steps_per_execution=1, **settings):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, kernel_initializer="zeros")])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    settings = {"jit_compile": False, "steps_per_execution": steps_per_execution, **settings}
    model.compile(optimizer, loss, metrics=["accuracy"], **settings)
    return model


def run(goal, model=None, steps=160, x=X, epochs=1, verbose=0):
    batches = ks.data.endless(x, Y, 8, seed=1)
    model = model or linear()
    model.fit(
        batches,
        steps_per_epoch=steps,
        epochs=epochs,
        callbacks=[goal],
        verbose=verbose,
        shuffle=False,
    )
    return goal


@pytest.mark.jax
@pytest.mark.parametrize(("executed", "verbose"), [(1, 0), (16, 0), (1, 2)])
def test_the_first_check_at_or_below_the_goal_counts(executed, verbose):
    goal = ks.tuning.StepsToResult((X, Y), 0.02, 16, error=Scripted(0.5, 0.3, 0.02, 0.01))
    run(goal, linear(steps_per_execution=executed), verbose=verbose)
    assert (goal.status, goal.steps_to_result, goal.steps) == ("complete", 48, 48)
    assert goal.errors == [(16, 0.5), (32, 0.3), (48, pytest.approx(0.02))]


def test_a_goal_that_is_never_met():
    goal = run(ks.tuning.StepsToResult((X, Y), 0.02, 16, error=Scripted()), steps=20, epochs=2)
    assert (goal.status, goal.steps_to_result, goal.steps) == ("incomplete", None, 40)
    goal = run(ks.tuning.StepsToResult((X, Y), 0.02, 16, max_steps=24, error=Scripted()))
    assert (goal.status, goal.steps) == ("incomplete", 24)
    assert goal.final_error == 1


def test_a_loss_that_is_no_number_stops():
    class Breaks(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 3:
                self.model.layers[-1].bias.assign([np.nan, 0])

    goal = ks.tuning.StepsToResult((X, Y), 0.02, 16)
    batches = ks.data.endless(X, Y, 8)
    linear().fit(batches, steps_per_epoch=160, callbacks=[Breaks(), goal], verbose=0, shuffle=False)
    assert (goal.status, goal.steps, goal.errors) == ("infeasible", 5, [])


def test_checks_leave_the_metrics_of_fit_alone():
    seen = []
    for callbacks in ([], [ks.tuning.StepsToResult((X, Y), 0.0, 2, error=Scripted())]):
        keras.utils.set_random_seed(1)
        batches = ks.data.endless(*samples(), 16, seed=1)
        model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("sgd", loss, metrics=["accuracy"], jit_compile=False)
        if callbacks:
            callbacks[0].validation_data = samples(32)
        history = model.fit(
            batches, steps_per_epoch=8, callbacks=callbacks, verbose=0, shuffle=False
        ).history
        seen.append(history)
    assert seen[0] == seen[1]


def test_micro_batches_are_no_updates():
    optimizer = ks.tuning.MomentumSGD(0.1, gradient_accumulation_steps=4)
    goal = ks.tuning.StepsToResult((X, Y), 0.0, 2, max_steps=4, error=Scripted())
    run(goal, linear(optimizer))
    assert (goal.steps, [step for step, _ in goal.errors]) == (4, [2, 4])
    assert int(optimizer.iterations) == 4


def test_the_default_error_is_that_of_the_largest_output():
    goal = ks.tuning.StepsToResult((X, 1 - Y), 1.0, 8)
    run(goal)
    assert goal.errors == [(8, 1.0)]
    one_hot = ks.tuning.StepsToResult((X, np.eye(2)[Y]), 1.0, 8, batch_size=10)
    run(one_hot)
    assert one_hot.errors == [(8, 0.0)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"validation_data": X}, "a tuple"),
        ({"validation_data": (X, Y[:5])}, "one entry per sample"),
        ({"goal_error": -1}, "goal_error must be"),
        ({"check_every": 0}, "check_every must be"),
        ({"error": 1}, "error must be"),
    ],
)
def test_what_cannot_be_counted_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        ks.tuning.StepsToResult(**{"validation_data": (X, Y), "goal_error": 0.1, **settings})


def test_checks_between_two_executions_are_refused():
    goal = ks.tuning.StepsToResult((X, Y), 0.1, check_every=8)
    with pytest.raises(ValueError, match="multiple of the model's steps_per_execution=16"):
        run(goal, linear(steps_per_execution=16))


def test_batches_straddle_epochs():
    x = np.arange(10)
    batches = [b for _, (b, _) in zip(range(5), ks.data.endless(x, x, 4, seed=3), strict=False)]
    assert [len(batch) for batch in batches] == [4] * 5
    taken = np.concatenate(batches)
    assert sorted(taken) == sorted([*x, *x])
    assert sorted(taken[:10]) == list(x)
    with pytest.raises(ValueError, match="would hold samples twice"):
        ks.data.endless(x, x, 11)


@pytest.mark.jax
@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
def test_momentum_sgd_is_tensorflow_s_first_form(momentum, nesterov):
    variable = keras.Variable([1.0, -2.0])
    optimizer = ks.tuning.MomentumSGD(0.1, momentum, nesterov, 4, 0.5, warmup_steps=2)
    w, v = np.array([1.0, -2.0]), np.zeros(2)
    for step in range(6):
        rate = 0.1 * (1 - 0.5 * min(step / 4, 1)) * min((step + 1) / 2, 1)
        v = momentum * v + w
        w = w - rate * (w + momentum * v if nesterov else v)
        optimizer.apply([variable.value], [variable])
    np.testing.assert_allclose(variable.numpy(), w, rtol=1e-5)
    again = ks.tuning.MomentumSGD.from_config(optimizer.get_config())
    assert again.get_config() == optimizer.get_config()


def test_at_a_constant_rate_it_is_keras_s():
    found = []
    for make in (ks.tuning.MomentumSGD, keras.optimizers.SGD):
        variable = keras.Variable([1.0, -2.0])
        optimizer = make(0.05, momentum=0.9, nesterov=True)
        for _ in range(5):
            optimizer.apply([variable.value], [variable])
        found.append(variable.numpy())
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)


def test_settings_change_in_place():
    optimizer, variable = ks.tuning.MomentumSGD(0.1), keras.Variable([1.0])
    optimizer.apply([variable.value], [variable])
    optimizer.set(learning_rate=0.5, momentum=0.9)
    optimizer.apply([variable.value], [variable])
    assert float(variable[0]) == pytest.approx(0.9 - 0.5 * (0.9 * 1 + 0.9))
    with pytest.raises(ValueError, match="no setting 'beta'"):
        optimizer.set(beta=1)


def steps_on_the_valley(rate, momentum=0.0, nesterov=False, most=400):
    """Steps to 1e-4 of the first loss on an ill-conditioned quadratic without noise."""
    curvature, w, v = np.array([1.0, 0.01]), np.ones(2), np.zeros(2)
    first = np.sum(curvature * w**2)
    for step in range(1, most):
        gradient = curvature * w
        v = momentum * v + gradient
        w = w - rate * (gradient + momentum * v if nesterov else v)
        if np.sum(curvature * w**2) <= 1e-4 * first:
            return step
    return most


def test_momentum_is_faster_in_a_narrow_valley():
    rates = np.round(np.arange(0.05, 1.96, 0.05), 2)
    plain = min(steps_on_the_valley(rate) for rate in rates)
    assert plain == 119
    assert steps_on_the_valley(2.7, 0.84) <= 0.25 * plain
    assert steps_on_the_valley(1.1, 0.98, nesterov=True) <= 0.25 * plain
