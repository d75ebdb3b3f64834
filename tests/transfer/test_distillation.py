"""Distillation: the loss it adds, beside which callbacks it stands, and what it leaves alone."""

import contextlib
import copy
import pickle

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_sparse as ks
from tests.training import compiled
from tests.transfer.nets import all_same, upstream, values

STUDENT, TEACHER = [[2.0, 1.0, 0.0]], [[1.0, 2.0, 0.0]]


def fixed(logits, name, regularizer=None):
    """A model that gives the same logits whatever it sees."""
    model = keras.Sequential(
        [
            keras.Input((1,)),
            layers.Dense(3, kernel_initializer="zeros", kernel_regularizer=regularizer),
        ],
        name=name,
    )
    model.layers[0].bias.assign(logits[0])
    return model


def first_loss(model, callback, y=0):
    x, labels = np.ones((1, 1), "float32"), np.array([y])
    compiled(model, keras.optimizers.SGD(0.0), run_eagerly=True)
    return model.fit(x, labels, verbose=0, callbacks=[callback]).history["loss"][0]


def test_worked_numbers():
    """CE 0.407606, T^2 KL(teacher || model) 0.370932."""
    for alpha in (0, 0.25, 0.5, 1):
        model, teacher = fixed(STUDENT, "student"), fixed(TEACHER, "teacher")
        loss = first_loss(model, ks.Distillation(teacher, alpha=alpha, temperature=4))
        assert loss == pytest.approx((1 - alpha) * 0.407606 + alpha * 0.370932, abs=1e-5)
    same = ks.Distillation(fixed(STUDENT, "teacher"), alpha=1)
    assert first_loss(fixed(STUDENT, "student"), same) == pytest.approx(0, abs=1e-6)


def test_regularizers_are_added_whole():
    model = fixed(STUDENT, "student", keras.regularizers.L2(0.1))
    model.layers[0].kernel.assign([[0.0, 0.0, 2.0]])
    model.layers[0].bias.assign([2.0, 1.0, -2.0])
    loss = first_loss(model, ks.Distillation(fixed(TEACHER, "teacher"), alpha=0.25))
    assert loss == pytest.approx(0.75 * 0.407606 + 0.25 * 0.370932 + 0.1 * 4, abs=1e-5)


def test_probabilities_are_read_as_such():
    model = keras.Sequential([fixed(STUDENT, "body"), layers.Softmax()], name="student")
    model.compile(keras.optimizers.SGD(0.0), "sparse_categorical_crossentropy", run_eagerly=True)
    callback = ks.Distillation(fixed(TEACHER, "teacher"), alpha=1)
    x = np.ones((1, 1), "float32")
    history = model.fit(x, np.array([0]), verbose=0, callbacks=[callback])
    assert history.history["loss"][0] == pytest.approx(0.370932, abs=1e-5)


def test_a_loss_of_keras_in_place_of_the_divergence():
    loss = keras.distillation.LogitsDistillation(1.0, loss=keras.losses.MeanSquaredError())
    callback = ks.Distillation(fixed(TEACHER, "teacher"), alpha=1, loss=loss)
    assert first_loss(fixed(STUDENT, "student"), callback) == pytest.approx(2 / 3, abs=1e-5)


def low_precision():
    schedule = ks.precision.ConstantPrecision(4)
    return ks.PrecisionScheduler(schedule, quantizer="symmetric", seed=0)


@pytest.mark.parametrize(
    "method",
    [
        lambda: [ks.StaticMask(0.8), low_precision()],
        pytest.param(lambda: [ks.CrAM([0.5])], marks=pytest.mark.thorough),
        pytest.param(lambda: [ks.ACDC(0.8, schedule="DC")], marks=pytest.mark.thorough),
        pytest.param(lambda: [ks.TopKAST(0.8)], marks=pytest.mark.thorough),
    ],
    ids=["static masks in low precision", "CrAM", "AC/DC", "Top-KAST"],
)
def test_beside_other_callbacks_in_any_order(images, method):
    teacher = upstream(1)
    before = values(teacher.variables)
    found = []
    for last in (False, True):
        model = compiled(upstream(), run_eagerly=True)
        callbacks = [*method(), ks.Distillation(teacher)]
        model.fit(
            images[0],
            images[1],
            batch_size=48,
            epochs=2,
            shuffle=False,
            verbose=0,
            callbacks=callbacks[::-1] if last else callbacks,
        )
        found.append(values(model.variables))
        assert not {"compute_loss", "train_step"} & set(vars(model))
    assert all_same(*found)
    assert all_same(values(teacher.variables), before)


@pytest.mark.jax
def test_in_a_compiled_step_with_zeros_in_place(images):
    """As when run eagerly; the student comes nearer to its teacher, validation is plain."""
    teacher = upstream(1)
    x, y = images
    plain, distilled = (compiled(upstream(activation=None)) for _ in range(2))
    for model, more in ((plain, []), (distilled, [ks.Distillation(teacher, alpha=0.9)])):
        history = model.fit(
            x,
            y,
            batch_size=48,
            epochs=4,
            shuffle=False,
            verbose=0,
            validation_data=(x, y),
            callbacks=[ks.StaticMask(0.5, exclude="top"), *more],
        )
        evaluated = model.evaluate(x, y, verbose=0)[0]
        assert history.history["val_loss"][-1] == pytest.approx(evaluated, rel=1e-4)
        assert ks.report(model).prunable[0].sparsity > 0.4
    wanted = ops.softmax(teacher(x) / 4)
    apart = [
        float(ops.mean(keras.losses.kl_divergence(wanted, ops.softmax(model(x) / 4))))
        for model in (plain, distilled)
    ]
    assert apart[1] < 0.8 * apart[0]


@pytest.mark.parametrize("scope", ["inside", pytest.param("outside", marks=pytest.mark.thorough)])
def test_replicas_learn_from_one_teacher(mirrored, scope):
    """One step of two replicas is that of the whole batch, wherever the teacher was built."""
    x = np.array([[1.0], [2.0], [-1.0], [0.5]], "float32")
    y, found = np.array([0, 1, 2, 0]), []
    for replicas in (False, True):
        teacher = fixed(TEACHER, "teacher")
        with mirrored.scope() if replicas else contextlib.nullcontext():
            if scope == "inside":
                teacher = fixed(TEACHER, "teacher")
            model = compiled(fixed(STUDENT, "student"), keras.optimizers.SGD(0.1))
        callback = ks.Distillation(teacher, alpha=0.5)
        history = model.fit(x, y, batch_size=4, verbose=0, callbacks=[callback])
        found.append((history.history["loss"][0], *values(model.variables)))
    for one, two in zip(*found, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6)


def test_a_copy_holds_nothing_of_a_training():
    callback = ks.Distillation(fixed(TEACHER, "teacher"), alpha=0.3)
    first_loss(fixed(STUDENT, "student"), callback)
    for other in (copy.copy(callback), pickle.loads(pickle.dumps(callback))):
        assert other.alpha == 0.3
        assert other.model is None or not other.in_training()


def test_bad_input(images):
    def fit(model, *callbacks):
        compiled(model, run_eagerly=True)
        model.fit(*images, verbose=0, callbacks=list(callbacks))

    with pytest.raises(ValueError, match=r"has outputs of shape.*ks\.transfer\.linear"):
        fit(upstream(), ks.Distillation(upstream(classes=3)))
    wide = keras.Sequential(
        [keras.Input((16, 16, 1)), layers.Flatten(), layers.Dense(4, name="top")], name="wide"
    )
    with pytest.raises(ValueError, match=r"'wide' has inputs of shape.*16.*Resizing"):
        fit(upstream(), ks.Distillation(wide))
    model = upstream()
    with pytest.raises(ValueError, match="shares variables"):
        fit(model, ks.Distillation(model))
    assert "compute_loss" not in vars(model)
    with pytest.raises(ValueError, match="two Distillations"):
        fit(model, ks.Distillation(upstream(1)), ks.Distillation(upstream(2)))
    assert "compute_loss" not in vars(model)
    with pytest.raises(ValueError, match="not built"):
        ks.Distillation(keras.Sequential([layers.Dense(3)]))
    for wrong in ({"alpha": 1.5}, {"temperature": 0}, {"loss": "mse"}, {"from_logits": 1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            ks.Distillation(upstream(), **wrong)


def test_a_train_step_that_keeps_its_inputs_to_itself(images):
    class Closed(keras.Sequential):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None):
            return super().compute_loss(None, y, y_pred, sample_weight)

        def train_step(self, data):
            x, y = data
            return {"loss": self.compute_loss(y=y, y_pred=self(x))}

    model = compiled(Closed([keras.Input((8, 8, 1)), *upstream().layers]), run_eagerly=True)
    with pytest.raises(ValueError, match="does not hand on its inputs"):
        model.fit(*images, verbose=0, callbacks=[ks.Distillation(upstream(1))])
