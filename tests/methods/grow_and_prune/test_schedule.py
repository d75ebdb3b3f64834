"""Cyclic grow-and-prune: schedules, lengths and bad input."""

import keras
import pytest

import keras_sparse as ks
from keras_sparse.methods.grow_and_prune.schedule import (
    Lengths,
    default_partitions,
    dense_in_each_step,
    fit_lengths,
)
from tests.training import (
    assert_same,
    compiled,
    conv_net,
    fit,
    values,
)


def test_6_1_schedule():
    pairs = [(0, 3), (1, 0), (2, 1), (3, 2)]
    assert ks.gap_schedule(8, 4) == pairs * 2
    assert ks.gap_schedule(4, 3) == [(0, 2), (1, 0), (2, 1), (0, 2)]
    for steps, kappa, last in ((8, 4, 3), (4, 3, 0)):
        dense = dense_in_each_step(steps, kappa, range(kappa), range(kappa))
        assert dense[steps].nonzero()[0].tolist() == [last]
        assert not dense[0].any()
        assert not dense[-1].any()


def test_gap_density_of_the_table():
    table = {(3, 0.8): 0.467, (6, 0.8): 0.333, (3, 0.9): 0.4, (6, 0.9): 0.25}
    for (kappa, sparsity), density in table.items():
        assert ks.gap_density(kappa, sparsity) == pytest.approx(density, abs=5e-4)
    with pytest.raises(ValueError, match="partitions must be an integer of at least 1"):
        ks.gap_density(0, 0.5)


def test_6_10_lengths():
    assert Lengths(28, 30, 150).epochs == 990
    assert fit_lengths(990, 4, 28, 30, 150) == Lengths(28, 30, 150)
    assert fit_lengths(48, 4) == Lengths(8, 4, 16)
    assert fit_lengths(48, 4, steps=8) == Lengths(8, 4, 16)
    assert fit_lengths(48, 4, epochs_per_step=4) == Lengths(8, 4, 16)
    assert fit_lengths(48, 4, finetune_epochs=16) == Lengths(8, 4, 16)
    assert fit_lengths(5, 4) == Lengths(4, 1, 1)


@pytest.mark.parametrize("kappa", range(1, 7))
def test_the_default_fits_any_run(kappa):
    for epochs in range(kappa + 1, 60):
        lengths = fit_lengths(epochs, kappa)
        assert lengths.epochs == epochs
        assert lengths.steps % kappa == 0
        assert min(lengths) >= 1
    for epochs in range(2, 30):
        fit_lengths(epochs, default_partitions(epochs, 6))
        if epochs > 3:
            kappa = default_partitions(epochs, 6, epochs_per_step=2)
            fit_lengths(epochs, kappa, epochs_per_step=2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sparsity": 1.0}, r"in \[0, 1\)"),
        ({"sparsity": -0.1}, r"in \[0, 1\)"),
        ({"sparsity": 80}, "give 0.8"),
        ({"sparsity": 0.8, "partitions": 0}, "integer of at least 1"),
        ({"sparsity": 0.8, "partitions": True}, "integer of at least 1"),
        ({"sparsity": 0.8, "partitions": []}, "integer of at least 1"),
        ({"sparsity": 0.8, "partitions": "conv"}, "integer of at least 1"),
        ({"sparsity": 0.8, "steps": 0}, "steps must be an integer of at least 1"),
        ({"sparsity": 0.8, "epochs_per_step": 1.5}, "epochs_per_step must be an integer"),
        ({"sparsity": 0.8, "finetune_epochs": 0}, "its partition would end dense"),
        ({"sparsity": 0.8, "by": "flop"}, "Did you mean 'flops'"),
        ({"sparsity": 0.8, "order": "cycle"}, "Did you mean 'cyclic'"),
        ({"sparsity": 0.8, "best_checkpoint": "best.weights.h5"}, "need validation_data="),
        ({"sparsity": 0.8, "best_checkpoint": "best.h5"}, "must end in '.weights.h5'"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        ks.CyclicGaP(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"partitions": 4}, r"which is 3 in model.*partitions=4"),
        ({"partitions": 3, "steps": 2}, r"grows only 2 of 3.*steps=3"),
        ({"partitions": 3, "steps": 6}, r"too short.*take 7 epochs.*epochs=7"),
        ({"partitions": 3, "epochs_per_step": 2}, r"too short.*epochs=7"),
        ({"partitions": 3, "steps": 3, "epochs_per_step": 1, "finetune_epochs": 2}, r"epochs=3\b"),
        ({"partitions": [["conv"], ["hidden"]]}, "leave out logits/kernel"),
    ],
)
def test_runs_and_models_that_do_not_fit(images, arguments, message):
    model = compiled(conv_net())
    before = values(model)
    with pytest.raises(ValueError, match=message):
        fit(model, images, ks.CyclicGaP(0.8, **arguments))
    assert_same(model, before)


def test_a_rate_and_a_schedule_are_one_too_many(images):
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 10)
    model = compiled(conv_net(), keras.optimizers.SGD(schedule))
    with pytest.raises(ValueError, match="Compile it with a number"):
        fit(model, images, ks.CyclicGaP(0.8, 2, learning_rate=lambda epoch, epochs: 0.1))
