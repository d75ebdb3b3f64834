"""Blocks of features, and weights cut along with them: worked numbers."""

import numpy as np
import pytest

from keras_sparse import graphs

ROWS = [np.array([0, 3]), np.array([1, 2])]
COLUMNS = [np.array([0, 1]), np.array([2, 3])]
PLACES = list(zip(ROWS, COLUMNS, strict=True))
WEIGHT = np.arange(16.0).reshape(4, 4)


@pytest.mark.parametrize(("width", "blocks"), [(8, 1), (8, 2), (10, 4), (3703, 8), (5, 5)])
def test_blocks_are_disjoint_cover_all_and_are_nearly_equal(width, blocks):
    found = graphs.partition_features(width, blocks, seed=1, round=2, layer=3)
    np.testing.assert_array_equal(np.sort(np.concatenate(found)), np.arange(width))
    sizes = [len(block) for block in found]
    assert len(sizes) == blocks
    assert max(sizes) - min(sizes) <= 1
    assert sizes == sorted(sizes, reverse=True)


def test_two_features_share_a_block_as_often_as_chance_has_it():
    draws = 2000
    together = np.zeros((6, 6))
    for number in range(draws):
        for block in graphs.partition_features(6, 2, round=number):
            together[np.ix_(block, block)] += 1
    found = together[~np.eye(6, dtype=bool)] / draws
    np.testing.assert_allclose(found, (6 / 2 - 1) / (6 - 1), atol=0.05)


def test_each_seed_round_and_layer_has_a_cut_of_its_own_that_comes_back():
    keys = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    cuts = [tuple(graphs.partition_features(64, 2, *key)[0]) for key in keys]
    assert len(set(cuts)) == 4
    assert cuts[1] == tuple(graphs.partition_features(64, 2, 1, 0, 0)[0])


def test_what_a_sub_network_gets():
    first, second = (graphs.cut_weight(WEIGHT, each) for each in PLACES)
    np.testing.assert_array_equal(first, [[0, 1], [12, 13]])
    np.testing.assert_array_equal(second, [[6, 7], [10, 11]])
    first[:] = -1
    assert WEIGHT.min() == 0


def test_trained_parts_are_copied_and_the_rest_stays():
    trained = [graphs.cut_weight(WEIGHT, place) + 100 * (i + 1) for i, place in enumerate(PLACES)]
    expected = [[100, 101, 2, 3], [4, 5, 206, 207], [8, 9, 210, 211], [112, 113, 14, 15]]
    np.testing.assert_array_equal(graphs.merge_weight(WEIGHT, trained, PLACES), expected)


@pytest.mark.parametrize("blocks", [1, 2, 3, 7])
def test_what_is_cut_and_not_trained_comes_back(blocks):
    weight = np.random.default_rng(0).normal(size=(7, 3, 9)).astype("float32")
    rows = graphs.partition_features(7, blocks, layer=0)
    columns = graphs.partition_features(9, blocks, layer=1)
    for places in (
        [(row, None, column) for row, column in zip(rows, columns, strict=True)],
        [(None, None, column) for column in columns],
        [(row, None, None) for row in rows],
        [(None, None, None)] * blocks,
    ):
        parts = [graphs.cut_weight(weight, each) for each in places]
        merged = graphs.merge_weight(weight, parts, places)
        np.testing.assert_allclose(merged, weight, rtol=1e-6)
        assert merged.dtype == weight.dtype


def test_a_shared_weight_becomes_the_mean():
    parts = [np.array([0.0, 1.0]), np.array([1.0, 4.0])]
    merged = graphs.merge_weight(np.zeros(2), parts, [(None,), (None,)])
    np.testing.assert_array_equal(merged, [0.5, 2.5])


@pytest.mark.parametrize(
    ("blocks", "rounds", "untouched"), [(2, 10, 0.000977), (4, 5, 0.2373), (8, 3, 0.6699)]
)
def test_share_of_a_weight_that_no_round_touched(blocks, rounds, untouched):
    weight = np.zeros((240, 240))
    for number in range(rounds):
        cuts = [graphs.partition_features(240, blocks, 0, number, layer) for layer in (0, 1)]
        places = list(zip(*cuts, strict=True))
        parts = [np.ones((240 // blocks, 240 // blocks))] * blocks
        assert graphs.merge_weight(0 * weight, parts, places).mean() == 1 / blocks
        weight = graphs.merge_weight(weight, parts, places)
    assert (weight == 0).mean() == pytest.approx(untouched, rel=0.1)


def test_more_blocks_than_features():
    with pytest.raises(ValueError, match=r"num_blocks must be an integer from 1 to 3.*3 features"):
        graphs.partition_features(3, 4)
