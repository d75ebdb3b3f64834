import itertools

import keras
import numpy as np
import pytest
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import structural_rank

import keras_sparse as ks
from keras_sparse.messages.warning import SparsityWarning
from keras_sparse.signal_propagation.initializers import orthogonal_matrix
from keras_sparse.signal_propagation.isometry import IsometrySettings, gradient_descent, isometric
from keras_sparse.signal_propagation.orthogonality import matrix_score, smaller_gram
from tests.training import Interrupt, compiled, conv_net, dense_net, fit, kernels

layers = keras.layers
ROTATION = np.array([[0.6, -0.8], [0.8, 0.6]])
LOWER = np.array([[1, 0], [1, 1]], bool)


def descended(matrix, mask, **settings):
    return isometric(matrix.astype(float), mask, IsometrySettings(**settings))


def test_the_score_by_hand():
    masked = ROTATION * LOWER
    np.testing.assert_allclose(smaller_gram(masked), [[0, 0.48], [0.48, -0.64]], atol=1e-12)
    assert matrix_score(masked) == pytest.approx(0.9329523, abs=1e-6)
    assert np.linalg.norm(smaller_gram(masked), 2) == pytest.approx(0.8968882, abs=1e-6)
    values = np.linalg.svd(masked, compute_uv=False)
    np.testing.assert_allclose(values, [1.1211103, 0.3211103], atol=1e-6)


def test_steps_by_hand():
    squared, plain = (
        descended(ROTATION, LOWER, norm=norm, learning_rate=0.1, steps=1)
        for norm in ("fro_sq", "fro")
    )
    np.testing.assert_allclose(squared.matrix, [[0.6, 0], [0.6848, 0.6]], atol=1e-12)
    np.testing.assert_allclose(plain.matrix, [[0.6, 0], [0.7382605, 0.6]], atol=1e-6)
    settled = descended(ROTATION, LOWER, learning_rate=0.1, steps=100)
    assert settled.after < 1e-12
    np.testing.assert_allclose(settled.matrix, np.eye(2), atol=1e-12)


def test_the_norm_itself_does_not_settle():
    """With a constant rate its iterates stay away; the best of them is taken."""
    settings = IsometrySettings(norm="fro", steps=10_000)
    descent = gradient_descent(ROTATION * LOWER, LOWER.astype(float), settings)
    scores = [score for _, score in itertools.islice(descent, 10_000)]
    assert scores[-1] > 0.01
    best = isometric(ROTATION, LOWER, settings).after
    assert best == pytest.approx(min(scores), rel=0.1)


@pytest.mark.parametrize("learning_rate", [None, 0.1])
def test_lower_bounds_are_reached(learning_rate):
    start = orthogonal_matrix(2, 2, np.random.default_rng(0))
    empty_column = descended(start, np.array([[1, 0], [1, 0]], bool), learning_rate=learning_rate)
    assert empty_column.after == pytest.approx(1, abs=5e-3)
    row = np.ones((1, 3), bool)
    assert descended(np.ones((1, 3)), row, learning_rate=learning_rate).after == pytest.approx(
        2**0.5, abs=5e-3
    )
    permutation = np.eye(4, dtype=bool)[[2, 0, 3, 1]]
    full = orthogonal_matrix(4, 4, np.random.default_rng(1))
    assert descended(full, permutation, learning_rate=learning_rate).after < 7e-3


def test_no_mask_is_more_orthogonal_than_its_structural_rank_allows():
    generator = np.random.default_rng(0)
    for rows, columns in ((6, 6), (4, 7), (9, 5)):
        for _ in range(5):
            mask = generator.random((rows, columns)) < 0.3
            matrix = generator.normal(size=(rows, columns))
            after = descended(matrix, mask, steps=300).after
            rank = structural_rank(csr_matrix(mask))
            assert after >= (columns - rank) ** 0.5 - 1e-9


@pytest.mark.parametrize(
    ("sparsity", "learning_rate", "expected", "mean"),
    [(0.9, 0.1, 2**0.5, 0.98), (0.9, None, 2**0.5, 0.98), (0.95, None, 3.0, 0.91)],
)
def test_random_masks_end_with_singular_values_of_zero_and_one(
    sparsity, learning_rate, expected, mean
):
    generator = np.random.default_rng(3)
    start = orthogonal_matrix(100, 100, generator)
    mask = generator.random((100, 100)) >= sparsity
    found = descended(start, mask, learning_rate=learning_rate, steps=2000)
    values = np.linalg.svd(found.matrix, compute_uv=False)
    assert found.before == pytest.approx({0.9: 9.02, 0.95: 9.5}[sparsity], abs=0.15)
    assert found.after == pytest.approx(expected, abs=1)
    assert values.mean() == pytest.approx(mean, abs=0.025)
    assert abs(found.after**2 - (values < 0.1).sum()) < 0.05
    assert abs(values.mean() - (1 - found.after**2 / 100)) < 0.01


def test_a_tail_that_gains_little_ends_the_steps():
    """Half of a square kernel falls ever more slowly."""
    generator = np.random.default_rng(0)
    start, mask = orthogonal_matrix(100, 100, generator), generator.random((100, 100)) < 0.5
    tols = (0.02, None, 1e-5)
    coarse, default, exact = (descended(start, mask, learning_rate=None, tol=t) for t in tols)
    assert coarse.steps < default.steps < exact.steps < 10_000
    assert exact.after < default.after < coarse.after < 0.1 * default.before
    values = np.linalg.svd(default.matrix, compute_uv=False)
    assert abs(values - 1).max() < 0.05


@pytest.mark.parametrize("norm", ["fro_sq", "fro", "spectral"])
def test_the_score_never_rises_and_masks_stay(norm):
    generator = np.random.default_rng(0)
    for rows, columns in ((8, 8), (5, 9), (12, 6)):
        orthogonal = orthogonal_matrix(rows, columns, generator)
        found = descended(orthogonal, np.ones((rows, columns), bool), norm=norm, steps=50)
        assert np.isfinite(found.matrix).all()
        assert found.after <= found.before
        np.testing.assert_allclose(found.matrix, orthogonal, atol=1e-6)
        mask = generator.random((rows, columns)) < 0.5
        mask[:, 0] = True
        found = descended(generator.normal(size=mask.shape), mask, norm=norm, steps=200)
        assert found.after <= found.before
        assert not found.matrix[~mask].any()


def test_the_spectral_norm_falls():
    generator = np.random.default_rng(0)
    mask = generator.random((10, 6)) < 0.6
    start = 0.3 * generator.normal(size=mask.shape)
    found = descended(start, mask, norm="spectral", steps=500)
    before, after = (np.linalg.norm(smaller_gram(m), 2) for m in (start * mask, found.matrix))
    assert after < 0.7 * before


def test_large_weights_do_not_diverge_and_the_sides_agree():
    kernel = np.random.default_rng(0).normal(size=(27, 64)) * (2 / 27) ** 0.5
    mask = np.ones(kernel.shape, bool)
    out = descended(kernel, mask, learning_rate=0.1, steps=400)
    assert out.after == pytest.approx(37**0.5, abs=1e-3)
    for gram in ("in", "min"):
        assert descended(kernel, mask, gram=gram).after < 0.02


def network():
    return keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            layers.Conv2D(4, 3, name="conv"),
            layers.DepthwiseConv2D(3, name="depthwise"),
            layers.BatchNormalization(name="norm"),
            layers.Flatten(),
            layers.Dense(5, activation="relu", name="hidden"),
            layers.Dense(3, name="logits"),
        ]
    )


@pytest.mark.jax
def test_a_model_that_is_pruned_becomes_isometric_and_nothing_else_of_it_changes():
    model = network()
    masks = {"hidden": np.random.default_rng(0).random((16, 5)) < 0.4}
    model.get_layer("hidden").kernel.assign(model.get_layer("hidden").kernel * masks["hidden"])
    before = {v.path: np.asarray(v) for v in model.variables}
    score = ks.orthogonality_score(model)
    with pytest.warns(SparsityWarning, match=r"depthwise/kernel: depthwise"):
        report = ks.enforce_isometry(model, verbose=False)
    assert report.before == pytest.approx(score, rel=1e-5)
    assert ks.orthogonality_score(model) == pytest.approx(report.after, abs=1e-4)
    assert report.after < 0.5 * report.before
    for variable in model.variables:
        now = np.asarray(variable)
        np.testing.assert_array_equal(now != 0, before[variable.path] != 0)
        if variable.name != "kernel" or "depthwise" in variable.path:
            np.testing.assert_array_equal(now, before[variable.path])
    each = ks.orthogonality_score(model, per_layer=True)
    assert list(each) == ["conv/kernel", "hidden/kernel", "logits/kernel"]


def test_masks_are_put_into_a_model_that_is_dense():
    model = network()
    mask = np.random.default_rng(0).random((16, 5)) < 0.4
    with pytest.warns(SparsityWarning):
        ks.enforce_isometry(model, {"hidden": mask}, steps=5, verbose=False)
    np.testing.assert_array_equal(np.asarray(model.get_layer("hidden").kernel) != 0, mask)


def test_kernels_that_cannot_be_made_isometric_are_named(monkeypatch):
    model = network()
    model.get_layer("hidden").kernel.assign(np.zeros((16, 5)))
    monkeypatch.setattr("keras_sparse.signal_propagation.matrices.LARGEST_GRAM", 3)
    with pytest.warns(SparsityWarning) as found:
        report = ks.enforce_isometry(model, verbose=False)
    said = str(found[0].message)
    assert "conv/kernel: its Gram matrix would be 4x4" in said
    reasons = [row.reason for row in report.rows]
    assert reasons[-1] is None
    model.get_layer("logits").kernel.assign(np.zeros((5, 3)))
    with pytest.raises(ValueError, match=r"No kernel .* can be made isometric"):
        ks.enforce_isometry(model, verbose=False)
    model.get_layer("logits").kernel.assign(np.full((5, 3), np.nan))
    with pytest.raises(ValueError, match=r"not finite, logits/kernel"):
        ks.enforce_isometry(model)


def test_an_empty_kernel_is_named():
    model = network()
    model.get_layer("hidden").kernel.assign(np.zeros((16, 5)))
    with pytest.warns(SparsityWarning, match="hidden/kernel: nothing is left of it"):
        ks.enforce_isometry(model, steps=5, verbose=False)


METHODS = {
    "snip": lambda data, **more: ks.SNIP(0.8, data, **more),
    "grasp": lambda data, **more: ks.GraSP(0.8, data, **more),
    "synflow": lambda data, **more: ks.SynFlow(0.8, rounds=2, **more),
    "random": lambda data, **more: ks.StaticMask(0.8, seed=1, **more),
    "magnitude": lambda data, **more: ks.StaticMask(0.8, mask="magnitude", **more),
}


class First(keras.callbacks.Callback):
    """Keeps the kernels that training begins with."""

    def on_train_batch_begin(self, batch, logs=None):
        if not hasattr(self, "kernels"):
            self.kernels = kernels(self.model)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.thorough] if name in ("grasp", "magnitude") else [])
        for name in METHODS
    ],
)
def test_methods_that_prune_before_training_start_isometric(name, images):
    """The masks are those that it chooses without, and training goes on with them."""
    small = tuple(part[:16] for part in images)
    plain, method = METHODS[name](small), METHODS[name](small, isometry={"steps": 50})
    fit(compiled(conv_net()), small, plain, epochs=1)
    model, first = compiled(conv_net()), First()
    fit(model, small, method, first, epochs=1)
    for path, mask in plain.masks.items():
        np.testing.assert_array_equal(mask, method.masks[path])
    pairs = zip(first.kernels, kernels(conv_net()), method.masks.values(), strict=True)
    for kernel, own, mask in pairs:
        np.testing.assert_array_equal(kernel[~mask], 0)
        now, before = (
            matrix_score(np.asarray(k, float).reshape(-1, k.shape[-1]))
            for k in (kernel, own * mask)
        )
        assert now < before
    assert np.mean([k != 0 for kernel in kernels(model) for k in kernel.ravel()]) < 0.21


def test_isometry_and_a_reinitialization_are_exclusive(images):
    for make in METHODS.values():
        with pytest.raises(ValueError, match=r"isometry changes .* reinitialize=he_normal"):
            make(images, isometry=True, reinitialize="he_normal")
    with pytest.raises(TypeError, match=r"no argument 'nrom'. Did you mean 'norm'"):
        ks.StaticMask(0.5, isometry={"nrom": "fro"})
    with pytest.raises(ValueError, match="isometry must be True, False"):
        ks.StaticMask(0.5, isometry="yes")


def test_a_resumed_training_is_not_made_isometric_again(images, monkeypatch):
    model = compiled(dense_net(), run_eagerly=True)
    small = tuple(part[:32] for part in images)
    with pytest.raises(KeyboardInterrupt):
        fit(model, small, ks.StaticMask(0.8, seed=1, isometry={"steps": 5}), Interrupt(1), epochs=2)
    before = kernels(model)

    def enforced(*args):
        raise AssertionError("made isometric again")

    monkeypatch.setattr("keras_sparse.methods.at_start.base.enforced", enforced)
    first = First()
    again = ks.StaticMask(0.8, seed=1, isometry=True)
    fit(model, small, again, first, initial_epoch=1, epochs=2)
    for one, two in zip(first.kernels, before, strict=True):
        np.testing.assert_array_equal(one, two)
