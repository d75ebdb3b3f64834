"""Pipelines of start, pruning and isometry: what their names mean, and how they train."""

import dataclasses

import keras
import numpy as np
import pytest

import keras_sparse as ks
from keras_sparse.experiments.config import RunConfig
from keras_sparse.experiments.pipelines import NAMED, PIPELINES
from keras_sparse.experiments.run import compiled_model, steps_to_loss, train

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="runs end with a LiteRT file"
)
SMALL = RunConfig(data="digits", model="lenet300", method="dense", epochs=1, limit=128)


def test_names_are_those_of_the_source():
    assert len(PIPELINES) == 24
    assert {"VS-L-CS", "LDI-Dense", "LDI-Rand-AI", "VS-H-Mag"} <= set(PIPELINES)
    with pytest.raises(ValueError, match=r"Unknown method: 'LDI-SC'.*Did you mean 'LDI-CS'"):
        dataclasses.replace(SMALL, method="LDI-SC")
    with pytest.raises(ValueError, match="takes no sparsity"):
        dataclasses.replace(SMALL, method="LDI-Dense", sparsity=0.5)


@pytest.mark.parametrize(
    ("start", "variance"), [("VS-L", 1 / 64), ("VS-G", 2 / 364), ("VS-H", 2 / 64), ("LDI", 1 / 300)]
)
def test_starts_have_the_variance_of_their_name(start, variance):
    config = dataclasses.replace(SMALL, method=f"{start}-Dense", sparsity=None)
    model = compiled_model(config, ks.data.load("digits", limit=128))
    kernel = np.asarray(model.trainable_variables[0])
    assert kernel.var() == pytest.approx(variance, rel=0.05)


def test_prunings_are_those_of_their_names():
    data = np.zeros((4, 8, 8, 1)), np.zeros(4, int)
    for name, method in PIPELINES.items():
        callback = dataclasses.replace(SMALL, method=name, sparsity=None).callback(data)
        kind = {"Dense": type(None), "CS": ks.SNIP, "Rand": ks.StaticMask, "Mag": ks.GMP}
        *_, pruning = name.removesuffix("-AI").split("-")
        assert type(callback) is kind[pruning]
        assert (getattr(callback, "isometry", None) is not None) == name.endswith("-AI")
        assert NAMED[name] is method
        assert method.all_data == (pruning == "CS")


def test_a_pipeline_trains_and_tells_the_steps_to_its_loss(tmp_path):
    config = dataclasses.replace(SMALL, method="LDI-CS-AI", sparsity=0.8, loss_target=100.0)
    result = train(config, tmp_path / "run")
    assert result["steps_to_loss"] == 2  # an epoch of 128 images, 64 a step
    assert result["sparsity"] == pytest.approx(0.8, abs=1e-3)
    losses = [2.0, 0.4, 0.2, 0.3]
    assert steps_to_loss(dataclasses.replace(SMALL, loss_target=0.3), losses, 130) == 9
    assert steps_to_loss(dataclasses.replace(SMALL, loss_target=0.1), losses, 130) is None
