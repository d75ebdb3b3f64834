"""Exact counts, and ties by index."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from keras_sparse.backend.compiled import compiled
from keras_sparse.sparsity import pieces
from keras_sparse.sparsity.top_k import top_k_masks

floats = st.floats(-4, 4, width=32)


def by_sorting(scores, keep):
    mask = np.zeros(len(scores), bool)
    # Of equal numbers the first, and negative zero below zero.
    mask[np.lexsort((np.signbit(scores), -scores))[:keep]] = True
    return mask


def selected(scores, keeps, costs=None, joint=False):
    tensors = [ops.convert_to_tensor(np.asarray(s, "float32")) for s in scores]
    masks = top_k_masks(tensors, np.asarray(keeps), costs or [1] * len(scores), joint)
    return [ops.convert_to_numpy(mask) for mask in masks]


@settings(max_examples=60, deadline=None)
@given(st.lists(floats, min_size=1, max_size=40), st.data())
def test_equals_a_stable_sort(scores, data):
    keep = data.draw(st.integers(0, len(scores)))
    array = np.asarray(scores, "float32")
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


@pytest.mark.parametrize(
    "scores",
    [
        [0.0] * 5,
        [-0.0, 0.0, -0.0, -1, 1, -0.0],
        [-1e-45, -0.0, -3],
        [np.inf, 1, np.inf],
        [-np.inf, -np.inf, -1],
        [1e-45, 0, 1e-38],
    ],
)
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


@pytest.fixture(params=[(7, 2, 3), (5, 5, 5), (3, 2, 2)])
def small_pieces(request, monkeypatch):
    """Few scores at a time, so that small tensors are put together and others cut up."""
    for name, value in zip(("_PIECE", "_CHUNK", "_SMALL"), request.param, strict=True):
        monkeypatch.setattr(pieces, name, value)


@pytest.mark.parametrize("joint", [False, True])
def test_the_same_in_pieces(small_pieces, joint):
    random = np.random.default_rng(0)
    choose = compiled(lambda tensors, keeps: top_k_masks(tensors, keeps, [1] * 6, joint))
    for decimals in (0, 1, 6):
        scores = [np.round(random.normal(size=n), decimals) + 0 for n in (2, 1, 11, 3, 8, 2)]
        scores = [score.astype("float32") for score in scores]
        keeps = [random.integers(0, len(score) + 1) for score in scores]
        if joint:
            wanted = by_sorting(np.concatenate(scores), sum(keeps))
        else:
            wanted = np.concatenate(list(map(by_sorting, scores, keeps)))
        given = np.asarray([sum(keeps)] if joint else keeps)
        got = choose([ops.convert_to_tensor(score) for score in scores], given)
        assert [len(mask) for mask in got] == [len(score) for score in scores]
        np.testing.assert_array_equal(np.concatenate(got), wanted)


def test_a_rest_of_a_tensor_in_chunks(monkeypatch):
    for name, value in (("_PIECE", 20), ("_CHUNK", 16)):
        monkeypatch.setattr(pieces, name, value)
    # 37 has no divisor that is a little less than 16.
    assert pieces._in_chunks(37, 16) == (2, 16)
    assert pieces._in_chunks(39, 16) == (3, 13)
    scores = np.random.default_rng(0).normal(size=37).astype("float32")
    (got,) = selected([scores], [20], joint=True)
    np.testing.assert_array_equal(got, by_sorting(scores, 20))


def test_costs_in_pieces(small_pieces):
    scores, costs = [np.arange(11.0), np.arange(20.0, 23)], [np.arange(1, 12, dtype="int32"), 4]
    # 22, 21 and 20 cost 4 each, 10 costs 11, 9 would cost 10.
    masks = selected(scores, [32], costs, joint=True)
    assert [np.flatnonzero(mask).tolist() for mask in masks] == [[10], [0, 1, 2]]


def test_absolute_scores():
    random = np.random.default_rng(0)
    scores = [random.normal(size=n).astype("float32") for n in (9, 4)]
    tensors = [ops.convert_to_tensor(score) for score in scores]
    for joint, keeps in ((True, [5]), (False, [5, 1])):
        masks = top_k_masks(tensors, np.asarray(keeps), [1, 1], joint, absolute=True)
        wanted = selected([np.abs(score) for score in scores], keeps, joint=joint)
        for mask, other in zip(masks, wanted, strict=True):
            np.testing.assert_array_equal(ops.convert_to_numpy(mask), other)


@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("joint", [False, True])
def test_what_is_not_among_those_ranked_comes_last(joint, absolute, monkeypatch):
    for name, value in (("_PIECE", 7), ("_CHUNK", 2), ("_SMALL", 3)):
        monkeypatch.setattr(pieces, name, value)
    random = np.random.default_rng(1)
    sizes = (2, 11, 3, 8)
    scores = [np.round(random.normal(size=n), 1).astype("float32") + 0 for n in sizes]
    among = [random.uniform(size=n) < 0.6 for n in sizes]
    ranked = [np.abs(score) for score in scores] if absolute else scores
    lowest = [np.where(a, r, -np.inf) for a, r in zip(among, ranked, strict=True)]
    keeps = [21] if joint else [1, 9, 0, 8]
    choose = compiled(
        lambda scores, among: top_k_masks(
            scores, np.asarray(keeps), [1] * 4, joint, absolute=absolute, among=among
        )
    )
    masks = choose([ops.convert_to_tensor(score) for score in scores], among)
    if joint:
        wanted = by_sorting(np.concatenate(lowest), 21)
    else:
        wanted = np.concatenate(list(map(by_sorting, lowest, keeps)))
    np.testing.assert_array_equal(np.concatenate(masks), wanted)


@pytest.mark.parametrize("absolute", [False, True])
def test_double_precision_is_ranked_as_it_is(absolute):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("JAX computes in float32 unless told otherwise")
    scores = 1 + np.random.default_rng(0).permutation(100) * 1e-12
    scores = scores if absolute else np.where(np.arange(100) % 2, -scores, scores)
    tensor = ops.convert_to_tensor(scores, "float64")
    (mask,) = top_k_masks([tensor], [7], [1], joint=True, absolute=absolute)
    np.testing.assert_array_equal(ops.convert_to_numpy(mask), by_sorting(scores, 7))
