import numpy as np
import pytest

import keras_sparse as ks
from keras_sparse.posttrain.exact_obs import inverse_of, refit
from keras_sparse.posttrain.row_pattern import SINGLE, RowPattern
from keras_sparse.posttrain.sparsegpt import prune_columns
from tests.posttrain.calibrated import check_common, layer_error, one_layer, small_net
from tests.training import kernels


@pytest.mark.parametrize(
    "pattern", [SINGLE, RowPattern(None, 2), RowPattern(None, 2, 3), RowPattern(None, 4, 3)]
)
def test_columns_equal_removals_in_order(pattern):
    """Every column is pruned optimally given that the columns before it are fixed."""
    generator = np.random.default_rng(0)
    x, w = generator.normal(size=(30, 6)), generator.normal(size=(3, 6))
    h = x.T @ x
    factor = np.linalg.cholesky(inverse_of(h, "x")).T
    for block_size in (2, 4, 6):
        rows = w.copy()
        kept = prune_columns(rows, factor, block_size, 9, pattern)
        assert 9 - pattern.block < kept.sum() <= 9
        for start, size in zip(pattern.starts(6), pattern.sizes(6), strict=True):
            assert (kept[:, start : start + size].mean(1) % 1 == 0).all()
        wanted = w.copy()
        for q in range(6):
            for row in np.flatnonzero(~kept[:, q]):
                # Columns up to q stay as they are, q becomes zero, those after q are re-fitted.
                free = np.arange(6) > q
                fixed = np.where(free, 0, wanted[row])
                fixed[q] = 0
                target = (h @ (wanted[row] - fixed))[None]
                wanted[row] = fixed + refit(h, target, free[None])[0]
        np.testing.assert_allclose(rows, wanted, atol=1e-10)


def test_uncorrelated_inputs_make_it_magnitude():
    w = np.array([[3.0, -1.0, 2.0, 0.5], [-2.2, 4.0, -0.2, 2.5]])
    rows = w.copy()
    kept = prune_columns(rows, np.eye(4), 4, keep=5)
    np.testing.assert_array_equal(kept, np.abs(w) >= 2)
    assert kept.sum() == 5
    np.testing.assert_array_equal(rows, np.where(kept, w, 0))


@pytest.mark.jax
@pytest.mark.parametrize("kwargs", [{"sparsity": 0.6}, {"granularity": "2:4"}])
def test_outputs_are_nearer_than_by_magnitude(kwargs):
    assert layer_error(ks.sparsegpt, block_size=8, **kwargs) < layer_error(ks.prune, **kwargs)


def test_counts_pattern_and_what_stays(images):
    check_common(ks.sparsegpt, images, block_size=50)


def test_pattern_of_groups_across_blocks():
    x = np.random.default_rng(0).normal(size=(40, 12)).astype("float32")
    model = one_layer(np.random.default_rng(1).normal(size=(12, 5)))
    ks.sparsegpt(model, (x, np.zeros(40)), granularity="1:3", block_size=4)
    assert (np.count_nonzero(kernels(model)[0].reshape(4, 3, 5), axis=1) == 1).all()


def test_bad_input(images):
    model = small_net()
    with pytest.raises(ValueError, match="block_size must be"):
        ks.sparsegpt(model, images, 0.5, block_size=0)
    with pytest.raises(ValueError, match="sparsegpt prunes single weights, n:m"):
        ks.sparsegpt(model, images, 0.5, granularity="channel")
    with pytest.raises(ValueError, match="raise damping"):
        ks.sparsegpt(model, (images[0][:2], images[1][:2]), 0.5, damping=0)
