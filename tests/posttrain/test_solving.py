"""Layers solved one after another get the inputs that the pruned layers before them give."""

from functools import partial

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_sparse as ks
from keras_sparse.posttrain.layer_inputs import SQUARES
from keras_sparse.posttrain.pruned_weights import PrunedWeights
from keras_sparse.posttrain.recording import called_in_order, recorded
from keras_sparse.posttrain.solving import _stages, solve_layers
from keras_sparse.probe.calls import recording
from tests.training import values

FUNCTIONS = [ks.wanda, ks.sparsegpt, ks.obc]


def two_layers():
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input((8,)),
            layers.Dense(12, activation="relu", name="first"),
            layers.Dense(4, name="second"),
        ]
    )


def samples(size=8):
    mixed = np.random.default_rng(0).normal(size=(size, size))
    return (np.random.default_rng(1).normal(size=(200, size)) @ mixed).astype("float32")


@pytest.mark.jax
@pytest.mark.parametrize("function", FUNCTIONS)
def test_one_after_another_is_each_by_itself_on_what_the_others_give(function):
    common = {"allocation": "uniform", "sparsity": 0.5}
    model, alone = two_layers(), two_layers()
    function(model, samples(), sequential=True, **common)
    function(alone, samples(), exclude="second", **common)
    given = ops.convert_to_numpy(alone.layers[0](samples()))
    second = keras.Sequential([keras.Input((12,)), layers.Dense(4, name="second")])
    second.set_weights(alone.layers[1].get_weights())
    function(second, given, **common)
    for one, two in zip(values(model), [*values(alone)[:2], *values(second)], strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)
    other = two_layers()
    function(other, samples(), **common)
    assert any(
        np.abs(a - b).max() > 1e-3 for a, b in zip(values(model), values(other), strict=True)
    )


@pytest.mark.parametrize("function", [ks.adaprune, ks.sparsegpt, ks.obc])
def test_layers_with_more_inputs_than_samples_are_named(function):
    """A convolution sees each sample at many places."""
    model = keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            layers.Conv2D(2, 3, padding="same", name="conv"),
            layers.Flatten(),
            layers.Dense(3, name="dense"),
        ]
    )
    x = np.random.default_rng(0).normal(size=(20, 4, 4, 1)).astype("float32")
    said = (
        rf"^{function.__name__} has fewer samples than inputs of dense/kernel \(20 of 32 inputs\)"
    )
    with pytest.warns(ks.SparsityWarning, match=said) as told:
        function(model, x, 0.5)
    assert [w.filename for w in told if w.category is ks.SparsityWarning] == [__file__]
    function(model, np.tile(x, (2, 1, 1, 1)), 0.5)


class Block(layers.Layer):
    def __init__(self):
        super().__init__()
        self.inner = layers.Dense(8)
        self.outer = layers.Dense(8)

    def call(self, inputs):
        return inputs + self.outer(ops.relu(self.inner(inputs)))


def test_a_block_is_solved_at_once_and_a_model_inside_is_none():
    inputs = keras.Input((8,))
    shared = layers.Dense(8, name="shared")
    inside = keras.Sequential([keras.Input((8,)), Block(), layers.Dense(8, name="after")])
    model = keras.Model(inputs, layers.Dense(2, name="head")(shared(inside(shared(inputs)))))
    chosen = PrunedWeights(model, 0.5, {})
    known = [layer for layer in model._flatten_layers() if isinstance(layer, layers.Dense)]
    order = called_in_order(model, known, samples())
    assert len(order) == len(known) + 1, "one of them is called twice"
    by_target = {id(layer.kernel): layer for layer in known}
    of_targets = [by_target[id(variable)] for variable in chosen.variables]
    stages = _stages(chosen, of_targets, samples())
    names = [[of_targets[i].name for i in members] for members, _ in stages]
    assert [len(group) for group in names] == [1, 2, 1, 1]
    assert (names[0], names[2], names[3]) == (["shared"], ["after"], ["head"])
    assert [calls for _, calls in stages] == [2, 2, 1, 1]


def test_the_model_is_left_after_the_last_call_that_is_asked_for():
    ran = []

    class Late(layers.Layer):
        def call(self, inputs):
            ran.append(self)
            return inputs

    model = keras.Sequential([keras.Input((8,)), layers.Dense(3, name="dense"), Late()])

    def runs(function, *given, **options):
        ran.clear()
        function(*given, **options)
        return len(ran)

    x = samples()
    assert runs(recorded, model, model.layers[:1], x) == 1
    whole, left = (runs(ks.wanda, model, x, 0.5, sequential=s) for s in (False, True))
    # For the shares both batches go through the whole model, which is enough where the inputs are
    # those of the dense model. The first goes once more to see which layers it calls.
    assert left == whole + 1


@pytest.mark.parametrize("prune", [ks.global_adaprune, partial(ks.sparsegpt, sequential=True)])
def test_a_layer_does_not_run_again_for_each_that_comes_after(prune):
    def runs_of_the_first(depth):
        dense = [layers.Dense(8, activation="relu") for _ in range(depth)]
        model, counted = keras.Sequential([keras.Input((8,)), *dense]), []
        with recording([dense[0]], lambda *_: counted.append(1)):
            prune(model, samples(), 0.5)
        return len(counted)

    assert runs_of_the_first(3) == runs_of_the_first(7) > 0


@pytest.mark.parametrize("sequential", [True, False])
def test_an_error_on_the_way_takes_everything_back(sequential):
    model = two_layers()
    before, changed = values(model), []

    def solve(i, weight, statistic, keep):
        changed.append(not np.array_equal(values(model)[0], before[0]))
        if i:
            raise KeyboardInterrupt
        return np.zeros_like(weight), np.zeros(weight.shape, bool)

    chosen = PrunedWeights(model, 0.5, {})
    with pytest.raises(KeyboardInterrupt):
        solve_layers(chosen, samples(), 128, SQUARES, solve, sequential=sequential, verbose=False)
    assert changed == [False, True]
    for one, two in zip(before, values(model), strict=True):
        np.testing.assert_array_equal(one, two)


def test_progress_is_shown_where_it_is_asked_for(capsys):
    ks.obc(two_layers(), samples(), 0.5, sequential=True, verbose=True)
    assert "100%" in capsys.readouterr().out
    ks.obc(two_layers(), samples(), 0.5)
    assert not capsys.readouterr().out
