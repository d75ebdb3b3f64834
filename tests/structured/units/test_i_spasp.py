"""i-SpaSP: worked examples, identities, and what must not matter."""

import keras
import numpy as np
import pytest

from keras_sparse.analysis.bounds.i_spasp import hidden_error_bound, residual_bound
from keras_sparse.structured import gradient_importance, i_spasp_channels, i_spasp_units
from keras_sparse.structured.units.pursuit import importance, largest
from tests.analysis.bounds.test_i_spasp import running_sum_rows

ONE = (
    np.array([[2, 1, 0, 1, -1], [1, -2, -1, 2, -1]], float).T,
    np.array([[1, 3], [3, 0], [4, 2], [4, 1], [3, 4]], float).T,
)
TWO = (
    np.array([[2, 1, 0, 0, -2], [-1, -2, 2, -1, -2]], float).T,
    np.array([[3, 2], [0, 0], [3, 0], [3, 4], [3, 1]], float).T,
)


def algorithm_4(hidden, weights, size, iterations):
    """As it is printed, with the matrices of all samples."""
    h, w = hidden.T, weights.T
    u = v = w @ h
    s = np.array([], int)
    for _ in range(iterations):
        y = (w.T @ v).sum(axis=1)
        omega = np.argsort(-y, kind="stable")[: 2 * size]
        joined = np.union1d(omega, s)
        s = np.sort(joined[np.argsort(-h.sum(axis=1)[joined], kind="stable")[:size]])
        v = u - w[:, s] @ h[s]
    return s, np.linalg.norm(v)


def test_the_first_example():
    weights, hidden = ONE
    found = i_spasp_units(hidden, weights, 1, iterations=3)
    assert found.history.ravel().tolist() == [0, 2, 2]
    np.testing.assert_allclose(found.residuals**2, [66, 46, 46])
    dense = (hidden @ weights).sum(axis=0)
    scores = [importance(weights, dense)]
    for s in (0, 2):
        scores.append(importance(weights, dense - hidden.sum(axis=0)[s] * weights[s]))
    assert [each.tolist() for each in scores] == [
        [13, 19, 5, -1, -4],
        [-7, 19, 9, -17, 8],
        [19, 7, -1, 11, -10],
    ]
    assert largest(hidden.sum(axis=0), 1).tolist() == [4]


def test_the_second_example():
    weights, hidden = TWO
    found = i_spasp_units(hidden, weights, 1, iterations=3)
    assert found.history.ravel().tolist() == [4, 0, 0]
    np.testing.assert_allclose(found.residuals**2, [88, 85, 85])
    assert largest(hidden.sum(axis=0), 1).tolist() == [3]


def test_it_is_the_algorithm_as_printed_and_not_top_k():
    generator = np.random.default_rng(0)
    other = 0
    for _ in range(60):
        base = generator.normal(size=(64, 6))
        hidden = np.maximum(base @ generator.normal(size=(6, 60)), 0)
        weights = generator.normal(size=(60, 10))
        found = i_spasp_units(hidden, weights, 10)
        kept, norm = algorithm_4(hidden, weights, 10, 20)
        assert found.indices.tolist() == kept.tolist()
        assert found.residuals[-1] == pytest.approx(norm)
        sums = hidden.sum(axis=0)[found.history].sum(axis=1)
        assert (np.diff(sums) >= -1e-9).all()
        other += found.indices.tolist() != largest(hidden.sum(axis=0), 10).tolist()
    assert other > 40


@pytest.mark.jax
def test_importance_is_the_gradient():
    generator = np.random.default_rng(1)
    hidden = generator.random((12, 7)).astype("float32")
    weights = generator.normal(size=(7, 3)).astype("float32")
    active = np.array([1, 0, 1, 0, 0, 0, 1], bool)
    residual = ((hidden * ~active) @ weights).sum(axis=0)
    found, norm = gradient_importance(hidden, lambda x: x @ weights, active)
    np.testing.assert_allclose(found, importance(weights, residual), rtol=1e-4)
    assert norm == pytest.approx(np.sum(((hidden * ~active) @ weights) ** 2), rel=1e-4)
    by_chunks, _ = gradient_importance(hidden, lambda x: x @ weights, active, chunk=5)
    np.testing.assert_allclose(by_chunks, found, rtol=1e-4)
    shuffled, _ = gradient_importance(hidden[::-1], lambda x: x @ weights, active)
    np.testing.assert_allclose(shuffled, found, rtol=1e-4)
    maps = np.repeat(hidden[:, None, None], 2, axis=1)
    wide, _ = gradient_importance(maps, lambda x: x @ weights, active)
    np.testing.assert_allclose(wide, 2 * found, rtol=1e-4)


def test_importance_of_a_convolution_by_finite_differences():
    generator = np.random.default_rng(2)
    hidden = generator.random((3, 5, 5, 4)).astype("float32")
    kernel = generator.normal(size=(3, 3, 4, 2)).astype("float32")
    active = np.array([0, 1, 0, 1], bool)

    def consumer(x):
        return keras.ops.conv(x, kernel, padding="same")

    pruned = np.array(consumer(hidden * active))

    def objective(x):
        return 0.5 * np.sum((np.array(consumer(x), float) - pruned) ** 2)

    found, _ = gradient_importance(hidden, consumer, active)
    for unit in range(4):
        step = np.zeros(4, "float32")
        step[unit] = 1e-2
        slope = (objective(hidden + step) - objective(hidden - step)) / 2e-2
        assert found[unit] == pytest.approx(slope, rel=1e-3)


def test_a_bias_of_the_next_layer_changes_nothing():
    generator = np.random.default_rng(3)
    hidden, weights = generator.random((40, 20)), generator.normal(size=(20, 4))
    plain = i_spasp_channels(hidden, lambda x: x @ weights.astype("float32"), 4, iterations=5)
    shifted = i_spasp_channels(
        hidden, lambda x: x @ weights.astype("float32") + 3.0, 4, iterations=5
    )
    np.testing.assert_array_equal(plain.history, shifted.history)
    linear = i_spasp_units(hidden, weights, 4, iterations=5)
    np.testing.assert_array_equal(plain.history, linear.history)
    np.testing.assert_allclose(plain.residuals, linear.residuals, rtol=1e-4)


def test_what_is_the_most_active_at_once():
    generator = np.random.default_rng(4)
    hidden, weights = generator.random((30, 10)), generator.normal(size=(10, 3))
    top = largest(hidden.sum(axis=0), 5)
    assert i_spasp_units(hidden, weights, 5, iterations=1).indices.tolist() == top.tolist()
    top = largest(hidden.sum(axis=0), 2)
    found = i_spasp_units(hidden, np.eye(10), 2, iterations=1)
    assert found.indices.tolist() == top.tolist()
    assert i_spasp_units(hidden, weights, 10).indices.tolist() == list(range(10))


def test_permutations_copies_and_scales():
    generator = np.random.default_rng(5)
    hidden = np.maximum(generator.normal(size=(50, 5)) @ generator.normal(size=(5, 40)), 0)
    weights, order = generator.normal(size=(40, 6)), generator.permutation(40)
    kept = i_spasp_units(hidden, weights, 6).indices
    moved = i_spasp_units(hidden[:, order], weights[order], 6).indices
    assert sorted(order[moved]) == kept.tolist()
    for same in (
        (np.vstack([hidden, hidden]), weights),
        (3 * hidden, weights),
        (hidden, 0.2 * weights),
    ):
        assert i_spasp_units(*same, 6).indices.tolist() == kept.tolist()


def test_a_row_sparse_layer_is_found_at_once():
    generator = np.random.default_rng(6)
    weights = np.linalg.qr(generator.normal(size=(30, 30)))[0]
    hidden = np.zeros((20, 30))
    support = np.sort(generator.choice(30, 5, replace=False))
    hidden[:, support] = generator.random((20, 5))
    found = i_spasp_units(hidden, weights, 5, iterations=1)
    assert found.indices.tolist() == support.tolist()
    assert found.residuals[0] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("iterations", [1, 3, 20])
def test_lemma_3_and_theorem_3(iterations):
    generator = np.random.default_rng(7)
    for _ in range(30):
        weights = np.linalg.qr(generator.normal(size=(60, 40)))[0].T
        hidden = running_sum_rows(generator, 40, generator.uniform(0.3, 0.9), 30).T
        sums = hidden.sum(axis=0)
        found = i_spasp_units(hidden, weights, 5, iterations=iterations)
        left = np.delete(sums, found.indices)
        assert np.linalg.norm(left) <= hidden_error_bound(sums, 5, iterations)
        assert found.residuals[-1] <= residual_bound(sums, weights, 5, iterations)


def test_the_residual_falls_faster_the_more_compressible_the_rows():
    slopes = []
    sizes = np.array([5, 10, 20, 40])
    for p in (0.3, 0.5, 0.7, 0.9):
        generator = np.random.default_rng(8)
        weights = generator.normal(size=(100, 100)) * (2 / 100) ** 0.5
        squares = np.zeros(4)
        for _ in range(3):
            hidden = running_sum_rows(generator, 100, p).T
            squares += [i_spasp_units(hidden, weights, int(s)).residuals[-1] ** 2 for s in sizes]
        slopes.append(np.polyfit(np.log(sizes), np.log(squares), 1)[0])
        assert slopes[-1] <= 2 * (1 - 1 / p) + 0.3
    assert slopes == sorted(slopes)
    assert len(set(slopes)) == 4


def test_batches_drawn_anew():
    generator = np.random.default_rng(9)
    hidden, weights = generator.random((80, 20)), generator.normal(size=(20, 3))
    one, two = (i_spasp_units(hidden, weights, 4, batch_size=16, seed=1) for _ in range(2))
    np.testing.assert_array_equal(one.history, two.history)
    whole = i_spasp_units(hidden, weights, 4, batch_size=80)
    np.testing.assert_array_equal(whole.indices, i_spasp_units(hidden, weights, 4).indices)


def test_arguments():
    with pytest.raises(ValueError, match="size must be an integer from 1 to 5"):
        i_spasp_units(ONE[1], ONE[0], 0)
    with pytest.raises(ValueError, match="All units of the layer are inactive"):
        i_spasp_units(np.zeros((3, 5)), ONE[0], 2)
    with pytest.raises(ValueError, match="active must be booleans"):
        gradient_importance(ONE[1], lambda x: x, [True])
