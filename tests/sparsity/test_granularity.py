import numpy as np
import pytest
from keras import ops

from keras_sparse.probe.layout import Layout
from keras_sparse.sparsity.granularity import NM, Block, Channel, Unstructured, get_granularity
from keras_sparse.sparsity.masks import choose_masks, mask_budgets

DENSE = Layout((6, 4), (), (0,), (1,))
CONV = Layout((3, 3, 4, 8), (0, 1), (2,), (3,))
TRANSPOSED = Layout((3, 3, 8, 4), (0, 1), (3,), (2,))


def masks(granularity, layouts, scores, sparsity, allocation="uniform"):
    budget = mask_budgets(granularity, allocation, layouts, np.array([sparsity]))[0]
    tensors = [ops.convert_to_tensor(np.asarray(s, "float32")) for s in scores]
    chosen = choose_masks(tensors, layouts, budget, granularity, allocation == "global")
    return [ops.convert_to_numpy(mask) for mask in chosen]


def noise(layout, seed=0):
    return np.abs(np.random.default_rng(seed).normal(size=layout.shape))


@pytest.mark.parametrize("layout", [DENSE, CONV, TRANSPOSED])
def test_layout_round_trip(layout):
    tensor = noise(layout)
    matrix = layout.to_matrix(tensor)
    assert tuple(matrix.shape) == layout.matrix_shape
    np.testing.assert_array_equal(ops.convert_to_numpy(layout.from_matrix(matrix)), tensor)


@pytest.mark.parametrize("layout", [CONV, TRANSPOSED])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_n_of_every_m_along_the_input_axis(layout, n):
    (mask,) = masks(NM(n, 4), [layout], [noise(layout)], 1 - n / 4)
    axis = layout.inputs[0]
    assert (mask.sum(axis) == n).all()


def test_n_of_m_keeps_the_largest_and_breaks_ties_by_index():
    layout = Layout((8, 1), (), (0,), (1,))
    scores = np.array([1, 1, 1, 1, 0, 3, 2, 3], float).reshape(8, 1)
    (mask,) = masks(NM(2, 4), [layout], [scores], 0.5)
    assert np.flatnonzero(mask).tolist() == [0, 1, 5, 7]


def test_n_of_m_can_be_approached_gradually():
    budgets = mask_budgets(NM(2, 4), "global", [CONV], np.array([0.0, 0.2, 0.3, 0.5]))
    assert budgets.ravel().tolist() == [4, 4, 3, 2]


def test_blocks_live_or_die_together():
    layout = Layout((8, 6), (), (0,), (1,))
    (mask,) = masks(Block(4, 2), [layout], [noise(layout)], 0.5)
    tiles = mask.reshape(2, 4, 3, 2).transpose(0, 2, 1, 3).reshape(6, 8)
    assert set(tiles.sum(1)) == {0, 8}
    assert mask.sum() == 24


def test_blocks_at_an_edge_are_smaller_and_counted_so():
    costs = Block(4, 3).costs(DENSE)
    assert sorted(costs) == [2, 4, 6, 12]
    for sparsity in (0.1, 0.5, 0.8):
        (mask,) = masks(Block(4, 3), [DENSE], [noise(DENSE)], sparsity)
        assert 0 < mask.sum() <= max(24 - round(sparsity * 24), 12)


def test_an_edge_block_is_judged_by_its_mean():
    scores = np.ones((5, 1))
    scores[4] = 2.0
    (mask,) = masks(Block(4, 1), [Layout((5, 1), (), (0,), (1,))], [scores], 0.2)
    assert mask.ravel().tolist() == [False] * 4 + [True]


@pytest.mark.parametrize("layout", [DENSE, CONV, TRANSPOSED])
def test_channels_live_or_die_together(layout):
    (mask,) = masks(Channel(), [layout], [noise(layout)], 0.5)
    axis = layout.outputs[0]
    per_channel = np.moveaxis(mask, axis, -1).reshape(-1, mask.shape[axis])
    assert set(per_channel.sum(0)) == {0, per_channel.shape[0]}
    assert mask.sum() == layout.size / 2


def test_global_channels_never_exceed_the_budget():
    chosen = masks(Channel(), [DENSE, CONV], [noise(DENSE), noise(CONV)], 0.6, "global")
    total = DENSE.size + CONV.size
    kept = sum(int(mask.sum()) for mask in chosen)
    assert 0 < kept <= total - round(0.6 * total)


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (None, Unstructured()),
        ("unstructured", Unstructured()),
        ("channel", Channel()),
        ("2:4", NM(2, 4)),
        (Block(4, 1), Block(4, 1)),
    ],
)
def test_get_granularity(value, wanted):
    assert get_granularity(value) == wanted
    assert type(wanted).from_config(wanted.get_config()) == wanted


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NM(4, 4), "n must be an integer from 1 to"),
        (lambda: NM(0, 4), "must be an integer"),
        (lambda: NM(2.0, 4), "must be an integer"),
        (lambda: Block(0, 1), "rows must be"),
        (lambda: get_granularity("2of4"), "granularity must be"),
        (lambda: get_granularity("4:2"), "n must be an integer from 1 to"),
        (lambda: get_granularity(3), "must be Unstructured"),
    ],
)
def test_bad_granularities(make, message):
    with pytest.raises(ValueError, match=message):
        make()
