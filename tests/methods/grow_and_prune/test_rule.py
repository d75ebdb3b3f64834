"""The rule of grow-and-prune in worked numbers."""

import keras
import numpy as np
import pytest

import keras_sparse as ks
from keras_sparse.engine.rule import Clock, Tensors
from keras_sparse.methods.grow_and_prune.rule import GrowAndPrune
from keras_sparse.probe.layout import Layout
from keras_sparse.sparsity.selection import Target

to_array = keras.ops.convert_to_numpy


def rule(weights, masks, dense, budget, joint=False, **kwargs):
    """A rule on vectors, and the tensors it sees."""
    rows = np.array(dense, bool)
    made = GrowAndPrune(
        range(len(rows) - 1), rows, budget, ks.Unstructured(), joint=joint, **kwargs
    )
    shapes = [np.shape(w) for w in weights]
    made.build([Target(i, f"w{i}", f"w{i}", Layout(s, (), (0,), ())) for i, s in enumerate(shapes)])
    tensors = [keras.ops.convert_to_tensor(np.array(w, "float32")) for w in weights]
    masks = [keras.ops.convert_to_tensor(np.array(m, bool)) for m in masks]
    return made, Tensors(tensors, masks)


def pruned(weights, masks, dense, budget, joint=False):
    made, tensors = rule(weights, masks, [dense, dense], budget, joint)
    chosen = made.pruned(np.array(dense, bool), tensors)
    return [np.where(to_array(m), w, 0) for m, w in zip(chosen, weights, strict=True)]


ONES = [[True] * 4] * 2


@pytest.mark.jax
def test_6_5_prune_in_numbers():
    weights = [(0.4, -0.1, 0.3, 0.2), (-0.5, 0.6, 0.1, -0.2)]
    first, second = pruned(weights, ONES, [True, True], [2, 2])
    np.testing.assert_allclose(first, [0.4, 0, 0.3, 0])
    np.testing.assert_allclose(second, [-0.5, 0.6, 0, 0])


@pytest.mark.jax
def test_6_5_uniform_against_global():
    small = (0.3, -0.2, 0.25, 0.02)
    for joint, budget in ((False, [2, 2]), (True, [4])):
        first, second = pruned([(0.9, -0.1, 0.4, 0.05), small], ONES, [True, True], budget, joint)
        np.testing.assert_allclose(first, [0.9, 0, 0.4, 0])
        np.testing.assert_allclose(second, [0.3, 0, 0.25, 0])
    large = (0.9, -0.5, 0.4, 0.35)
    first, second = pruned([large, small], ONES, [True, True], [4], True)
    np.testing.assert_allclose(first, large)
    assert not second.any()
    first, second = pruned([large, small], ONES, [True, True], [2, 2])
    np.testing.assert_allclose(first, [0.9, -0.5, 0, 0])
    np.testing.assert_allclose(second, [0.3, 0, 0.25, 0])


def test_only_what_is_dense_is_pruned_unless_one_ranking_holds_for_all():
    weights = [(0.1, 0.2, 0.3, 0.4), (1.0, 2.0, 3.0, 4.0)]
    first, second = pruned(weights, ONES, [False, True], [2, 2])
    np.testing.assert_allclose(first, weights[0])
    np.testing.assert_allclose(second, [0, 0, 3, 4])
    first, second = pruned(weights, ONES, [False, True], [4], True)
    assert not first.any()
    np.testing.assert_allclose(second, weights[1])


@pytest.mark.jax
def test_6_7_one_partition_is_pruned_and_opened_again():
    """kappa = 1: step 0 opens everything; step 1 sets the smallest to zero and opens them."""
    dense = [[False], [True], [True], [False]]
    made, tensors = rule([(0.4, -0.1, 0.3, 0.2)], [[True, False, True, False]], dense, [2])
    tensors = tensors._replace(weights=[keras.ops.convert_to_tensor([0.4, 0.0, 0.3, 0.0])])
    first = made.update_masks(Clock(0, 0.1), {"updates": 0, "peak": 0}, tensors)
    np.testing.assert_allclose(to_array(first.weights[0]), [0.4, 0, 0.3, 0])
    assert to_array(first.masks[0]).all()
    trained = Tensors([keras.ops.convert_to_tensor([0.1, -0.5, 0.3, 0.2])], first.masks)
    second = made.update_masks(Clock(1, 0.1), first.counters, trained)
    np.testing.assert_allclose(to_array(second.weights[0]), [0, -0.5, 0.3, 0])
    assert to_array(second.masks[0]).all()
    trained = Tensors([keras.ops.convert_to_tensor([0.1, -0.5, 0.3, 0.2])], second.masks)
    third = made.update_masks(Clock(2, 0.1), second.counters, trained)
    np.testing.assert_array_equal(to_array(third.masks[0]), [False, True, True, False])
    assert int(third.counters["peak"]) == 4
    assert int(third.counters["updates"]) == 3


def test_6_8_pruning_is_idempotent_and_keeps_a_kept_zero():
    """What is left ranks above what is gone, even where a kept weight is exactly zero."""
    weights, masks = [(0.0, 0.0, 0.0, 0.5)], [[False, False, True, True]]
    made, tensors = rule(weights, masks, [[True], [True]], [2])
    again = made.pruned(np.array([True]), tensors)
    np.testing.assert_array_equal(to_array(again[0]), masks[0])


@pytest.mark.jax
def test_6_12_blocks_in_numbers():
    matrix = np.array([[3, 0.1, 1, 1], [0.5, 0.5, 2, 0]], "float32")  # (outputs, inputs)
    made = GrowAndPrune([0], [[True], [False]], [4], ks.Block(2, 1), joint=False)
    made.build([Target(0, "w", "w", Layout((4, 2), (), (0,), (1,)))])
    weight = keras.ops.convert_to_tensor(matrix.T.copy())
    (mask,) = made.pruned(np.array([True]), Tensors([weight], [keras.ops.ones((4, 2), "bool")]))
    np.testing.assert_array_equal(
        np.where(to_array(mask).T, matrix, 0), np.array([[3, 0.1, 1, 1], [0, 0, 0, 0]], "float32")
    )
