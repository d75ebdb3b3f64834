"""Exact counts, and ties by index."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from keras_sparse.sparsity.top_k import top_k_masks

floats = st.floats(-4, 4, width=32)


def by_sorting(scores, keep):
    mask = np.zeros(len(scores), bool)
    mask[np.argsort(-scores, kind="stable")[:keep]] = True
    return mask


def selected(scores, keeps, costs=None, joint=False):
    tensors = [ops.convert_to_tensor(np.asarray(s, "float32")) for s in scores]
    masks = top_k_masks(tensors, np.asarray(keeps), costs or [1] * len(scores), joint)
    return [ops.convert_to_numpy(mask) for mask in masks]


@settings(max_examples=60, deadline=None)
@given(st.lists(floats, min_size=1, max_size=40), st.data())
def test_equals_a_stable_sort(scores, data):
    keep = data.draw(st.integers(0, len(scores)))
    # Adding zero makes negative zeros positive, as magnitudes are.
    array = np.asarray(scores, "float32") + np.float32(0)
    np.testing.assert_array_equal(selected([array], [keep])[0], by_sorting(array, keep))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=10), min_size=1, max_size=4),
    st.data(),
)
def test_one_ranking_over_several_tensors(scores, data):
    flat = np.concatenate(scores).astype("float32")
    keep = data.draw(st.integers(0, len(flat)))
    got = np.concatenate(selected(scores, [keep], joint=True))
    np.testing.assert_array_equal(got, by_sorting(flat, keep))


def test_each_tensor_by_itself():
    masks = selected([[3, 1, 2], [5, 5, 5, 5]], [1, 3])
    assert [mask.tolist() for mask in masks] == [
        [True, False, False],
        [True, True, True, False],
    ]


def test_costs_fill_the_budget_and_never_exceed_it():
    # Descending: 9 (cost 4), 5 (cost 2), 4 (cost 4): a budget of 7 takes the first two.
    masks = selected([[9, 4], [5]], [7], costs=[4, 2], joint=True)
    assert [mask.tolist() for mask in masks] == [[True, False], [True]]


@pytest.mark.parametrize("scores", [[0.0] * 5, [np.inf, 1, np.inf], [1e-45, 0, 1e-38]])
def test_extreme_values(scores):
    for keep in range(len(scores) + 1):
        array = np.asarray(scores, "float32")
        np.testing.assert_array_equal(selected([array], [keep])[0], by_sorting(array, keep))


@pytest.mark.slow
def test_in_a_compiled_graph_with_a_count_known_only_there():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("compiles with tf.function")
    import tensorflow as tf

    scores = np.abs(np.random.default_rng(0).normal(size=100_000)).astype("float32")
    for jit in (False, True):
        chosen = tf.function(lambda s, k: top_k_masks([s], k, [1], joint=True)[0], jit_compile=jit)
        for keep in (0, 1, 5_000, 100_000):
            got = chosen(tf.constant(scores), tf.constant([keep])).numpy()
            np.testing.assert_array_equal(got, by_sorting(scores, keep))
