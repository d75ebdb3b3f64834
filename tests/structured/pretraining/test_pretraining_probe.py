"""Pruning copies in training: the training does not notice, and what is found."""

import copy
import random

import keras
import numpy as np
import pytest
from keras import layers

import keras_sparse as ks
from tests.training import Interrupt


def network(steps_per_execution=1):
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Flatten(),
            layers.Dense(16, name="hidden"),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Dropout(0.3),
            layers.Dense(4, activation="softmax"),
        ]
    )
    model.compile(
        keras.optimizers.Adam(0.01),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        steps_per_execution=steps_per_execution,
    )
    return model


def everything(model):
    variables = [*model.variables, *model.optimizer.variables]
    return [keras.ops.convert_to_numpy(v) for v in variables]


def drawn():
    layer = layers.Dropout(0.5)
    return random.random(), np.random.random(), np.array(layer.seed_generator.state).tolist()  # noqa: NPY002


def destructive(model, data, size):
    """A pruner that does what none should do."""
    for variable in model.variables:
        variable.assign(0 * keras.ops.convert_to_numpy(variable))
    random.random()
    np.random.random()  # noqa: NPY002
    clone = keras.models.clone_model(model)
    keras.random.uniform((2,))
    return clone


@pytest.mark.jax
@pytest.mark.parametrize(
    ("pruner", "steps_per_execution"),
    [
        ("greedy_forward_selection", 1),
        pytest.param("greedy_forward_selection", 3, marks=pytest.mark.thorough),
        ("i_spasp", 1),
        pytest.param("random", 1, marks=pytest.mark.thorough),
        pytest.param(destructive, 1, marks=pytest.mark.thorough),
    ],
)
def test_training_is_as_without_it(images, pruner, steps_per_execution):
    plain, probed = (network(steps_per_execution) for _ in range(2))
    keras.utils.set_random_seed(5)
    one = plain.fit(*images, batch_size=16, epochs=3, verbose=0).history
    next_drawn = drawn()
    keras.utils.set_random_seed(5)
    probe = ks.PretrainingProbe(images, 4, every="4st", pruner=pruner)
    two = probed.fit(*images, batch_size=16, epochs=3, verbose=0, callbacks=[probe]).history
    assert drawn() == next_drawn
    for a, b in zip(everything(plain), everything(probed), strict=True):
        np.testing.assert_array_equal(a, b)
    assert one["loss"] == two["loss"]
    steps = [each.step for each in probe.history]
    expected = [0, 4, 8, 12, 16, 18] if steps_per_execution == 1 else [0, 6, 9, 12, 18]
    assert steps == expected
    assert len(two["probe_pruned_metric"]) == 3


def test_what_is_measured(images, tmp_path):
    model = network()
    probe = ks.PretrainingProbe(images, 8)
    model.fit(*images, batch_size=16, epochs=6, verbose=0, callbacks=[probe])
    loss, accuracy = model.evaluate(*images, verbose=0)
    last = probe.history[-1]
    assert last.dense_loss == pytest.approx(loss, rel=1e-4)
    assert last.dense_metric == pytest.approx(accuracy)
    selection = ks.structured.greedy_forward_selection(model, images, 8)
    assert last.pruned_loss == pytest.approx(selection.losses[-1], rel=1e-3)
    assert [each.step for each in probe.history] == [0, 6, 12, 18, 24, 30, 36]
    assert last.pruned_loss < probe.history[0].pruned_loss
    report = probe.report(target=0.5)
    assert report.first_hit <= report.plateau
    assert "of the training" in report.text()
    probe.plot(tmp_path / "probe.png", title="A probe")
    assert (tmp_path / "probe.png").exists()


def test_an_interrupted_training_is_probed_on(images):
    model, probe = network(), ks.PretrainingProbe(images, 4)
    with pytest.raises(KeyboardInterrupt):
        model.fit(*images, batch_size=16, epochs=4, verbose=0, callbacks=[probe, Interrupt(2)])
    model.fit(*images, batch_size=16, epochs=4, initial_epoch=2, verbose=0, callbacks=[probe])
    assert [each.step for each in probe.history] == [0, 6, 12, 18, 24]
    assert copy.deepcopy(probe).history == []
    model.fit(*images, batch_size=16, epochs=1, verbose=0, callbacks=[probe])
    assert [each.step for each in probe.history] == [0, 6]


def test_own_metric_and_two_classes(images):
    x, y = images
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Flatten(),
            layers.Dense(12, activation="relu"),
            layers.Dense(1),
        ]
    )
    model.compile("adam", keras.losses.BinaryCrossentropy(from_logits=True))
    probe = ks.PretrainingProbe((x, y > 1), 4)
    own = ks.PretrainingProbe((x, y > 1), 4, metric=lambda t, p: np.mean((p[:, 0] > 0) == t))
    model.fit(x, y > 1, epochs=2, verbose=0, callbacks=[probe, own])
    assert probe.history == own.history


def test_what_does_not_suit(images):
    deep = keras.Sequential(
        [keras.Input((8, 8, 1)), layers.Flatten()] + [layers.Dense(4) for _ in range(3)]
    )
    deep.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match="has 3 Dense layers"):
        deep.fit(*images, verbose=0, callbacks=[ks.PretrainingProbe(images, 4)])
    with pytest.raises(ValueError, match="pruner must be one of"):
        ks.PretrainingProbe(images, 4, pruner="i_spas")
    with pytest.raises(ValueError, match="There was no probe yet"):
        ks.PretrainingProbe(images, 4).report()
