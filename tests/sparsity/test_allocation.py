"""Each layer's share of the zeros: uniform, ER, ERK and by name, in worked numbers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_sparse.probe.layout import Layout
from keras_sparse.sparsity.allocation import (
    _erdos_renyi,
    check_allocation,
    check_sparsity,
    final_sparsities,
    keep_counts,
)


def layout(*shape):
    rank = len(shape)
    return Layout(shape, tuple(range(rank - 2)), (rank - 2,), (rank - 1,))


LENET = [layout(784, 300), layout(300, 100), layout(100, 10)]
CONV = [layout(3, 3, 3, 16), layout(3, 3, 16, 32), layout(512, 10)]


def test_er_worked_example():
    densities = _erdos_renyi(LENET, np.array([0.1]), kernel=False)
    np.testing.assert_allclose(densities, [[0.07957, 0.23019, 1.0]], atol=5e-6)
    assert keep_counts("er", LENET, np.array([0.9])).sum() == 26620


def test_erk_worked_example():
    densities = _erdos_renyi(CONV, np.array([0.2]), kernel=True)
    # The example's epsilon is that of 2,033 weights; the count asked for is 2,032.
    np.testing.assert_allclose(densities, [[0.19576, 0.03964, 0.34488]], rtol=6e-4)
    assert keep_counts("erk", CONV, np.array([0.8])).sum() == 2032


@pytest.mark.parametrize("allocation", ["uniform", "global"])
@pytest.mark.parametrize(
    ("size", "sparsity", "kept"),
    [(10, 0.7, 3), (20, 0.95, 1), (100, 0.29, 71), (7, 0.5, 3), (25502912, 0.9, 2550291)],
)
def test_what_floats_cannot_say_exactly_does_not_move_a_count(allocation, size, sparsity, kept):
    """Sparsities are rounded to whole weights, halves to the even number."""
    assert keep_counts(allocation, [layout(size, 1)], np.array([sparsity])).tolist() == [[kept]]


@settings(max_examples=50, deadline=None)
@given(st.floats(0, 0.999), st.sampled_from(["er", "erk", "global"]))
def test_totals_are_exact(sparsity, allocation):
    for layouts in (LENET, CONV):
        total = sum(each.size for each in layouts)
        counts = keep_counts(allocation, layouts, np.array([sparsity]))
        wanted = total - round(sparsity * total)
        assert counts.sum() == max(wanted, 0) or counts.min() == 1
        assert (counts <= total).all()


def test_uniform_rounds_each_layer_and_leaves_one_weight():
    counts = keep_counts("uniform", LENET, np.array([0.0, 0.95, 0.99999]))
    assert counts[0].tolist() == [235200, 30000, 1000]
    assert counts[1].tolist() == [11760, 1500, 50]
    assert counts[2].tolist() == [2, 1, 1]


def test_mapping():
    names = [("conv1", "conv1/kernel"), ("conv2", "conv2/kernel"), ("head", "head/kernel")]
    final = final_sparsities({"conv*": 0.5, "head": 0.0}, 0.9, names)
    assert final.tolist() == [0.5, 0.5, 0.0]
    open_ = final_sparsities({"conv1": 0.5}, None, names)
    assert open_[0] == 0.5
    assert np.isnan(open_[1:]).all()
    with pytest.raises(ValueError, match="mean 'conv1'"):
        final_sparsities({"convv1": 0.5}, 0.9, names)


def test_bad_values():
    with pytest.raises(ValueError, match="mean 'global'"):
        check_allocation("globl")
    with pytest.raises(ValueError, match=r"allocation\['a'\]"):
        check_allocation({"a": 1.5})
    for wrong in (1, -0.1, float("nan"), "0.5", True, None):
        with pytest.raises(ValueError, match="a number in \\[0, 1\\)"):
            check_sparsity(wrong)
    with pytest.raises(ValueError, match=r"For 90 % give 0\.9"):
        check_sparsity(90)
