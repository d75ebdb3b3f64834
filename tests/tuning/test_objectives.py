"""What trials are compared by."""

import keras
import numpy as np
import pytest

from keras_sparse.tuning.objectives import check_objectives, measured


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="LiteRT files")
def test_costs_are_those_of_the_trained_model():
    sizes = []
    objectives = check_objectives(("accuracy", "nonzeros", "flops", "bytes", "latency"))
    for zeros in (False, True):
        model = keras.Sequential([keras.Input((32,)), keras.layers.Dense(64, use_bias=False)])
        kernel = np.random.default_rng(0).normal(size=(32, 64))
        model.set_weights([np.where(np.abs(kernel) < 2, 0, kernel) if zeros else kernel])
        sizes.append(measured(objectives, model, {"val_accuracy": 0.5, "loss": 1.0}))
    dense, sparse = sizes
    assert (dense["accuracy"], dense["nonzeros"], dense["flops"]) == (0.5, 2048, 4096)
    assert sparse["nonzeros"] == np.count_nonzero(np.abs(kernel) >= 2)
    assert sparse["flops"] == 2 * sparse["nonzeros"]
    assert sparse["bytes"] < 0.5 * dense["bytes"]
    assert dense["latency"] > 0
    with pytest.raises(ValueError, match="has only val_accuracy"):
        measured(check_objectives("val_loss"), model, {"val_accuracy": 0.5})


def test_a_diverged_training_has_finite_scores():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    found = measured(check_objectives(("accuracy", "loss", "nonzeros")), model, None)
    assert (found["accuracy"], found["loss"]) == (0.0, 1e6)
    broken = measured(check_objectives("loss"), model, {"val_loss": float("nan")})
    assert broken["loss"] == 1e6
