"""Weights are copied to the host at installation only where a rule looks at them."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_sparse.engine.rule import Rule
from keras_sparse.engine.sparse_optimizer import SparseOptimizer
from keras_sparse.sparsity.recipe import Recipe

pytestmark = pytest.mark.jax


class Anchored(Rule):
    """Remembers what its last tensor started as."""

    def initial_state(self, weights):
        last = weights[-1]
        return {"start": [np.zeros(()) for _ in range(len(weights) - 1)] + [last]}


@pytest.mark.parametrize(("rule", "copies"), [(Rule(), 0), (Anchored(), 1)])
def test_only_weights_that_are_looked_at(rule, copies, monkeypatch):
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(6), keras.layers.Dense(4)])
    selection = Recipe(0.5, keep_dense=()).select(model)
    optimizer = SparseOptimizer(keras.optimizers.SGD(), rule, selection.targets)
    copied, convert = [], ops.convert_to_numpy

    def watched(x):
        copied.append(x)
        return convert(x)

    monkeypatch.setattr(ops, "convert_to_numpy", watched)
    optimizer.build(model.trainable_variables)
    assert len(copied) == copies
    for start in optimizer.state.get("start", [])[-1:]:
        np.testing.assert_array_equal(convert(start), convert(selection.variables(model)[-1]))
