import keras
import numpy as np
import pytest

import keras_sparse as ks
from tests.training import compiled

layers = keras.layers


def of_resnets_size(width, blocks):
    """Kernels and biases of a residual network without parameters in its shortcuts."""
    model = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(16, 3, padding="same")])
    for filters in (16 * width, 32 * width, 64 * width):
        for _ in range(2 * blocks):
            model.add(layers.Conv2D(filters, 3, padding="same"))
            model.add(layers.BatchNormalization())
    model.add(layers.GlobalAveragePooling2D())
    model.add(layers.Dense(10))
    return model


# Widening, blocks of a stage, parameters, and the sparsity that the source's table has, in percent.
TABLE = [
    (2, 3, 1_067_530, 74.8),
    (4, 3, 4_254_282, 93.7),
    (2, 2, 680_010, 60.4),
    (1, 5, 463_018, 41.9),
]


@pytest.mark.parametrize(("width", "blocks", "parameters", "sparsity"), TABLE)
def test_the_source_s_sparsities(width, blocks, parameters, sparsity):
    model = of_resnets_size(width, blocks)
    found = ks.sparsity_for_budget(model, 269_034)
    kernels = sum(int(np.prod(v.shape)) for v in model.trainable_variables if v.name == "kernel")
    biases = sum(int(np.prod(v.shape)) for v in model.trainable_variables if v.name == "bias")
    assert kernels + biases == parameters
    assert 100 * found == pytest.approx(sparsity, abs=0.15)
    assert round(kernels * (1 - found)) + biases == 269_034
    assert ks.sparsity_for_budget(model, parameters) == 0


def test_budgets_that_cannot_be_are_refused():
    model = of_resnets_size(1, 1)
    for budget in (10**9, 100):
        with pytest.raises(ValueError, match=r"n_params must be .* from .* to .* in model"):
            ks.sparsity_for_budget(model, budget)


def network(width):
    hidden = [layers.Flatten(), layers.Dense(width, "tanh"), layers.Dense(4)]
    return compiled(keras.Sequential([keras.Input((8, 8, 1)), *hidden]), run_eagerly=True)


def test_variants_end_at_one_budget(images, capsys):
    fit = {"x": images[0], "y": images[1], "epochs": 2, "verbose": 0}
    variants = {"base": lambda: network(8), "wider": lambda: network(24)}
    made = ks.sculpt(variants, 556, images[0], fit, metric="accuracy", isometry=True, seed=0)
    assert [row.kept for row in made.rows] == [556, 556]
    assert [row.sparsity for row in made.rows] == [0, pytest.approx(1104 / 1632)]
    made.print()
    assert "67.6%" in capsys.readouterr().out
    assert all(np.isfinite(history["loss"]).all() for history in made.histories.values())
    with pytest.raises(ValueError, match="metric must be one that fit logs"):
        ks.sculpt({"base": lambda: network(8)}, 556, images[0], fit, metric="f1")
