"""Installing a rule copies no weights to the host, and its own tensors have the weights' type."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_sparse as ks
from keras_sparse.engine.rule import Rule
from keras_sparse.engine.sparse_optimizer import SparseOptimizer
from keras_sparse.sparsity.duration import Run
from keras_sparse.sparsity.recipe import Recipe

pytestmark = pytest.mark.jax


class Anchored(Rule):
    """Remembers what its tensors started as."""

    def initial_state(self, weights):
        return {"start": weights}


METHODS = [
    ks.ADMM,
    ks.DeepR,
    ks.EdgePopup,
    ks.L0,
    ks.MovementPruning,
    ks.SNFS,
    ks.SparseVariationalDropout,
    ks.STR,
    ks.TopKAST,
]


def small_model(dtype=None):
    layers = keras.layers
    return keras.Sequential(
        [keras.Input((8,)), layers.Dense(6, dtype=dtype), layers.Dense(4, dtype=dtype)]
    )


def installed(rule, model):
    selection = Recipe(0.5).select(model)
    optimizer = SparseOptimizer(keras.optimizers.SGD(), rule, selection.targets)
    optimizer.build(model.trainable_variables)
    return optimizer


def rule_of(method, model):
    callback = method() if not method.takes_sparsity else method(0.5)
    callback.set_model(model)
    selection = callback.recipe.select(model)
    model.compile("sgd", "mse")
    return callback.make_rule(Run(4, 10), selection, callback.recipe.final(selection))


def test_a_rule_sees_the_first_weights():
    model = small_model()
    optimizer = installed(Anchored(), model)
    for start, layer in zip(optimizer.state["start"], model.layers, strict=True):
        np.testing.assert_array_equal(start, layer.kernel)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.__name__)
def test_nothing_is_copied_to_the_host(method, monkeypatch):
    model = small_model()
    rule = rule_of(method, model)
    copied = []
    monkeypatch.setattr(ops, "convert_to_numpy", copied.append)
    installed(rule, model)
    assert copied == []


@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.__name__)
def test_states_are_as_wide_as_the_weights_and_at_least_float32(method, dtype):
    if dtype == "float64" and keras.backend.backend() == "jax":
        pytest.skip("JAX computes in float32")
    model = small_model(dtype)
    state = installed(rule_of(method, model), model).state
    floats = {v.dtype for group in state.values() for v in group if "float" in v.dtype}
    assert floats <= {"float64" if dtype == "float64" else "float32"}
    assert state
