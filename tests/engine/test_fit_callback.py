"""What a callback leaves behind, whatever happens in `fit`."""

import copy
import pickle
import warnings

import keras
import numpy as np
import pytest

import keras_sparse as ks
from tests.training import Interrupt, assert_same, compiled, dense_net, fit, values

CROSS_ENTROPY = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def unbuilt(seed=0):
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [keras.layers.Flatten(), keras.layers.Dense(8, activation="relu"), keras.layers.Dense(4)]
    )


class Own(keras.Model):
    """A subclassed model, whose layers are built when it is called."""

    def __init__(self):
        super().__init__()
        self.flatten = keras.layers.Flatten()
        self.hidden, self.head = keras.layers.Dense(8), keras.layers.Dense(4)

    def call(self, inputs):
        return self.head(self.hidden(self.flatten(inputs)))


def own(seed=0):
    keras.utils.set_random_seed(seed)
    return Own()


@pytest.mark.jax
@pytest.mark.parametrize("build", [unbuilt, own])
@pytest.mark.parametrize("steps", [1, 3])
def test_a_model_is_built_from_its_first_batch(images, build, steps):
    plain, neutral = (compiled(build(), steps_per_execution=steps) for _ in range(2))
    fit(plain, images, epochs=2)
    with pytest.warns(ks.SparsityWarning, match="sparsity of 0"):
        fit(neutral, images, ks.GMP(0.0), epochs=2)
    assert_same(plain, neutral)
    sparse = compiled(build(), steps_per_execution=steps)
    history = fit(sparse, images, ks.GMP(0.8)).history
    assert ks.report(sparse).sparsity == pytest.approx(0.8, abs=2e-3)
    assert history["sparsity"][-1] == pytest.approx(0.8, abs=2e-3)


def two_outputs():
    inputs = keras.Input((8, 8, 1))
    flat = keras.layers.Flatten()(inputs)
    outputs = {name: keras.layers.Dense(4, name=name)(flat) for name in ("one", "two")}
    model = keras.Model(inputs, outputs)
    model.compile("sgd", dict.fromkeys(outputs, CROSS_ENTROPY), metrics={"one": ["accuracy"]})
    return model


def test_the_first_step_is_traced_once_with_metrics_too(images):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("where variables come to be matters to TensorFlow")
    traced = []
    for callbacks in ((), (ks.GMP(0.5),)):
        traced.append(0)

        def counted(targets, predictions):
            traced[-1] += 1
            return CROSS_ENTROPY(targets, predictions)

        model = dense_net()
        model.compile("sgd", counted, metrics=["accuracy"])
        fit(model, images, *callbacks, epochs=1)
    assert traced == [2, 1]


def test_metrics_are_those_of_plain_training(images):
    x, y = images
    plain, neutral = (two_outputs() for _ in range(2))
    neutral.set_weights(plain.get_weights())
    both = {"one": y, "two": y}
    settings = {"epochs": 2, "shuffle": False, "verbose": 0}
    wanted = plain.fit(x, both, **settings).history
    with pytest.warns(ks.SparsityWarning, match="sparsity of 0"):
        found = neutral.fit(x, both, **settings, callbacks=[ks.GMP(0.0)]).history
    assert "one_accuracy" in wanted
    for name in wanted:
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-5)


class OneHot(keras.Model):
    """Makes other targets of those that it is given, which call for another kind of accuracy."""

    def train_step(self, data):
        x, y = data
        return super().train_step((x, keras.ops.one_hot(y, 4)))


def test_a_model_that_trains_in_a_way_of_its_own_builds_its_metrics_itself(images):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("train_step is TensorFlow's here")
    found = []
    for callbacks in ([], [ks.GMP(0.0)]):
        layers = dense_net()
        model = OneHot(layers.inputs, layers.outputs[0])
        loss = keras.losses.CategoricalCrossentropy(from_logits=True)
        model.compile("sgd", loss, metrics=["accuracy"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ks.SparsityWarning)
            found.append(fit(model, images, *callbacks, epochs=3).history["accuracy"])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)


def test_a_model_that_cannot_be_built_says_so(images):
    class Broken(keras.Model):
        def call(self, inputs):
            raise ValueError("no such layer")

    model = compiled(Broken())
    with pytest.raises(ValueError, match=r"(?s)call model\.build.*no such layer"):
        fit(model, images, ks.GMP(0.8))


class Fails(ks.GMP):
    """Fails in one of its hooks."""

    def __init__(self, where):
        super().__init__(0.8)
        self.where = where

    def _fail(self, where):
        if self.where == where:
            raise ArithmeticError(where)

    def begin_epoch(self, epoch):
        super().begin_epoch(epoch)
        self._fail("begin_epoch")

    def end_batches(self, epoch):
        super().end_batches(epoch)
        self._fail("end_batches")

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch, logs)
        self._fail("on_train_batch_end")

    def begin_evaluation(self):
        super().begin_evaluation()
        self._fail("begin_evaluation")

    def epoch_logs(self, epoch, logs):
        self._fail("epoch_logs")
        return {}

    def end_fit(self):
        super().end_fit()
        self._fail("end_fit")


@pytest.mark.jax
@pytest.mark.parametrize(
    "where",
    [
        "begin_epoch",
        "end_batches",
        "on_train_batch_end",
        "begin_evaluation",
        "epoch_logs",
        "end_fit",
    ],
)
def test_an_exception_gives_the_model_its_own_optimizer_back(images, where):
    model = compiled(dense_net())
    mine = model.optimizer
    with pytest.raises(ArithmeticError, match=where):
        fit(model, images, Fails(where), validation_data=images, epochs=2)
    assert model.optimizer is mine


@pytest.mark.jax
def test_an_interrupted_training_goes_on(images):
    whole, halves = compiled(dense_net()), compiled(dense_net())
    fit(whole, images, ks.GMP(0.8))
    method = ks.GMP(0.8)
    with pytest.raises(KeyboardInterrupt):
        fit(halves, images, method, Interrupt(3))
    fit(halves, images, method, initial_epoch=3)
    assert_same(whole, halves)


@pytest.mark.jax
def test_the_same_callback_twice_and_two_callbacks_are_refused(images):
    model = compiled(dense_net())
    mine, method = model.optimizer, ks.GMP(0.8)
    with pytest.raises(ValueError, match="twice"):
        fit(model, images, method, method)
    assert model.optimizer is mine
    with pytest.raises(ValueError, match="one sparse-training callback"):
        fit(model, images, ks.GMP(0.5), ks.GMP(0.9))
    assert model.optimizer is mine
    fit(model, images, method)
    assert ks.report(model).sparsity == pytest.approx(0.8, abs=2e-3)


def pickled(callback):
    return pickle.loads(pickle.dumps(callback))


@pytest.mark.parametrize(
    ("method", "copied"),
    [
        (ks.ACDC(0.8), copy.deepcopy),
        (ks.RigL(0.8, seed=1), pickled),
        (ks.CrAM([0.5], seed=0), pickled),
        (ks.L0(seed=0), copy.deepcopy),
    ],
)
@pytest.mark.filterwarnings("ignore::keras_sparse.SparsityWarning")
def test_a_used_callback_can_be_copied(images, method, copied):
    one, two = compiled(dense_net()), compiled(dense_net())
    fit(one, images, method)
    again = copied(method)
    assert again.model is None
    fit(two, images, again)
    assert_same(one, two)


def test_an_optimizer_in_training_can_be_copied(images):
    model = compiled(dense_net())
    with pytest.raises(KeyboardInterrupt):
        fit(model, images, ks.RigL(0.8, seed=1), Interrupt(3))
    for again in (
        copy.deepcopy(model.optimizer),
        pickle.loads(pickle.dumps(model.optimizer)),
    ):
        again.build(model.trainable_variables)
        pairs = zip(again.variables, model.optimizer.variables, strict=True)
        assert all(a.shape == b.shape for a, b in pairs)
        assert again.rule.get_config() == model.optimizer.rule.get_config()


class NaNOnce(keras.callbacks.Callback):
    """Puts a NaN into a bias after an epoch's first batch."""

    def __init__(self, index):
        super().__init__()
        self.index = index

    def on_train_batch_end(self, batch, logs=None):
        if batch == 0:
            variable = self.model.trainable_variables[self.index]
            value = np.array(keras.ops.convert_to_numpy(variable))
            value.flat[0] = np.nan
            variable.assign(value)


@pytest.mark.parametrize("index", [1, 3], ids=["hidden bias", "last bias"])
def test_weights_that_are_not_numbers_stop_training_before_a_checkpoint(images, index, tmp_path):
    model = compiled(dense_net())
    path = tmp_path / "last.weights.h5"
    checkpoint = keras.callbacks.ModelCheckpoint(path, save_weights_only=True)
    with pytest.raises(FloatingPointError, match="not finite"):
        fit(model, images, ks.GMP(0.8), checkpoint, NaNOnce(index))
    assert not path.exists()


@pytest.mark.jax
def test_logs_are_resumed_with_the_masks(images, tmp_path):
    def run(folder, *more):
        model = compiled(dense_net())
        backup = keras.callbacks.BackupAndRestore(folder)
        acdc = ks.ACDC(0.8, schedule="DCDCDC")
        return model, fit(model, images, backup, acdc, *more, validation_data=images)

    _, whole = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "halves", Interrupt(4))
    _, resumed = run(tmp_path / "halves")
    assert np.isfinite(whole.history["acdc_mask_change"][-1])
    for name, column in whole.history.items():
        np.testing.assert_allclose(resumed.history[name], column[-2:], rtol=1e-5, err_msg=name)


def test_data_that_end_early_are_measured_too(images):
    model = compiled(dense_net())
    x, y = images

    def batches():
        for i in range(0, len(x) - 32, 16):
            yield x[i : i + 16], y[i : i + 16]

    with pytest.warns(UserWarning, match="ran out of data"):
        history = model.fit(
            batches(), steps_per_epoch=6, epochs=1, verbose=0, callbacks=[ks.StaticMask(0.8)]
        )
    assert history.history["sparsity"] == [pytest.approx(0.8, abs=2e-3)]
    assert all(np.isfinite(value).all() for value in values(model))
