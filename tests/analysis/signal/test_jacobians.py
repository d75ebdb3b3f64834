import math

import keras
import numpy as np
import pytest

import keras_sparse as ks
from keras_sparse.analysis.signal.layers import ldi_defect
from keras_sparse.messages.warning import SparsityWarning
from keras_sparse.probe.gradients import LossGradients

layers = keras.layers


def two_layers(activation):
    """Bias-free, with the kernels of the worked example (outputs by inputs there)."""
    model = keras.Sequential(
        [
            keras.Input((2,)),
            layers.Dense(2, activation, use_bias=False),
            layers.Dense(2, activation, use_bias=False),
        ]
    )
    model.set_weights([np.array([[1.0, 0], [2, 1]]), np.array([[1.0, 1], [0, 1]])])
    return model


WORKED = {
    "linear": (
        [1.0, -1],
        [[[3, -3], [2, -2]], [[-1, -1], [-2, -2]]],
        [3.8643285, 0.2587772],
    ),
    "tanh": (
        [0.5, -1],
        [
            [[0.0677077, -0.1354153], [0.0558634, -0.1117267]],
            [[-0.4374882, -0.3681037], [-0.2407986, -0.2026086]],
        ],
        [0.2214451, 0.0220334],
    ),
}


@pytest.mark.jax
@pytest.mark.parametrize("activation", WORKED)
def test_gradients_follow_from_jacobians(activation):
    """dL/dW is (eps J D)^T x^T, and the singular values are those computed by hand."""
    x, expected, values = WORKED[activation]
    model = two_layers(activation)
    epsilon = np.array([1.0, 2.0])
    gradients = LossGradients(
        model,
        model.trainable_variables,
        loss=lambda y, z: keras.ops.sum(z * keras.ops.convert_to_tensor(epsilon, "float32")),
    )
    found = [np.asarray(g).T for g in gradients(np.array([x], "float32"), np.zeros(1))]
    slope = {"linear": np.ones_like, "tanh": lambda h: 1 / np.cosh(h) ** 2}[activation]
    act = {"linear": lambda h: h, "tanh": np.tanh}[activation]
    first, second = (np.asarray(v, float).T for v in model.trainable_variables)
    h1 = first @ x
    h2 = second @ act(h1)
    by_jacobian = [
        np.outer(epsilon @ np.diag(slope(h2)) @ second @ np.diag(slope(h1)), x),
        np.outer(epsilon @ np.diag(slope(h2)), act(h1)),
    ]
    for one, two, three in zip(found, by_jacobian, expected, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-6)
        np.testing.assert_allclose(one, three, atol=1e-6)
    if activation == "linear":
        sums = [float((g * w).sum()) for g, w in zip(found, (first, second), strict=True)]
        assert sums == pytest.approx([-5, -5])
    jacobian = ks.jacobian_singular_values(model, np.array([x], "float32"))
    np.testing.assert_allclose(jacobian.values[0], values, atol=1e-6)


def linear(depth=7, width=100, inputs=784):
    hidden = [layers.Dense(width) for _ in range(depth - 1)]
    return keras.Sequential([keras.Input((inputs,)), *hidden, layers.Dense(10)])


@pytest.fixture(scope="module")
def isometric_net():
    model = linear()
    ks.init_ldi(model, seed=0)
    return model, np.zeros((2, 784), "float32")


def kernels_of(model):
    return [v for v in model.trainable_variables if v.name == "kernel"]


def test_an_orthogonal_linear_network_is_isometric_until_it_is_pruned(isometric_net):
    model, x = isometric_net
    found = ks.jacobian_singular_values(model, x)
    assert [found.mean, found.min, found.max, found.condition] == pytest.approx([1] * 4, abs=1e-5)
    assert ks.orthogonality_score(model) < 1e-5
    dense = [np.asarray(v) for v in kernels_of(model)]
    generator = np.random.default_rng(0)
    ranks = [generator.random(kernel.shape) for kernel in dense]
    means = [found.mean]
    for sparsity in (0.1, 0.3, 0.5, 0.7, 0.9):
        for variable, kernel, rank in zip(kernels_of(model), dense, ranks, strict=True):
            variable.assign(kernel * (rank >= sparsity))
        means.append(ks.jacobian_singular_values(model, x).mean)
    assert np.all(np.diff(means) < 0)
    np.testing.assert_allclose(means, [1, 0.67, 0.27, 0.083, 0.015, 2.9e-4], rtol=0.3)
    ks.enforce_isometry(model, verbose=False)
    assert ks.jacobian_singular_values(model, x).mean > 0.85
    for variable, kernel in zip(kernels_of(model), dense, strict=True):
        variable.assign(kernel)


def test_the_ldi_defect_is_that_of_the_layer(isometric_net):
    model, x = isometric_net
    by_layer = ks.jacobian_singular_values(model, x, layerwise=True)
    assert max(map(ldi_defect, by_layer.values())) < 1e-4
    kernel = model.layers[2].kernel
    before = np.asarray(kernel)
    kernel.assign(1.1 * before)
    by_layer = ks.jacobian_singular_values(model, x, layerwise=True)
    assert ldi_defect(by_layer[model.layers[2].name]) == pytest.approx(0.1, abs=1e-4)
    assert ldi_defect(by_layer[model.layers[1].name]) < 1e-4
    kernel.assign(before)


def test_gamma_is_a_variance():
    """The mean singular value of six products of matrices goes with the third power and a half."""
    means = []
    for gamma in (1e-4, 1e-3):
        generator = np.random.default_rng(0)
        shapes = [(784, 100), *[(100, 100)] * 5, (100, 10)]
        of = []
        for _ in range(20):
            product = np.eye(784)
            for shape in shapes:
                product = product @ generator.normal(scale=gamma**0.5, size=shape)
            of.append(np.linalg.svd(product, compute_uv=False)[:10].mean())
        means.append(np.mean(of))
    assert means[1] / means[0] == pytest.approx(10**3.5, rel=0.1)


@pytest.mark.parametrize(("gamma", "mean"), [(1e-4, 2.46e-7), (1e-3, 5.74e-4), (1e-2, 0.449)])
def test_the_source_s_mean_singular_values_of_a_tanh_network(gamma, mean, tanh_net):
    model, x = tanh_net
    generator = np.random.default_rng(0)
    for variable in kernels_of(model):
        variable.assign(generator.normal(scale=gamma**0.5, size=variable.shape))
    assert ks.jacobian_singular_values(model, x).mean == pytest.approx(mean, rel=0.3)


@pytest.fixture(scope="module")
def tanh_net():
    """The network of Table 4.1, and inputs of the norm of standardized digits."""
    hidden = [layers.Dense(100, "tanh") for _ in range(6)]
    model = keras.Sequential([keras.Input((784,)), *hidden, layers.Dense(10)])
    return model, np.random.default_rng(1).normal(size=(4, 784)).astype("float32")


def small(last=None):
    inputs = keras.Input((6, 6, 2))
    x = layers.Conv2D(4, 3, activation="relu", name="conv")(inputs)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Flatten()(x)
    x = layers.Dense(8, name="hidden")(x)
    x = layers.Activation("tanh")(x)
    return keras.Model(inputs, layers.Dense(3, last, name="logits")(x), name="small")


@pytest.fixture(scope="module")
def samples():
    return np.random.default_rng(0).normal(size=(5, 6, 6, 2)).astype("float32")


@pytest.mark.jax
def test_jacobians_in_chunks_are_those_of_differences(samples, monkeypatch):
    model = small()
    found = ks.jacobian_singular_values(model, samples)
    monkeypatch.setattr("keras_sparse.analysis.signal.jacobians._ROWS", 4)
    chunked = ks.jacobian_singular_values(model, [samples[:2], samples[2:]], batch_size=2)
    np.testing.assert_allclose(chunked.values, found.values, atol=1e-5)
    eye = np.eye(72, dtype="float32").reshape(72, 6, 6, 2) * 1e-2
    both = [np.asarray(model(samples[:1] + sign * eye)) for sign in (1, -1)]
    by_hand = np.linalg.svd((both[0] - both[1]) / 2e-2, compute_uv=False)
    np.testing.assert_allclose(found.values[0], by_hand, rtol=2e-2)


def test_a_layer_s_jacobian_is_what_its_activation_lets_through(samples):
    model = small()
    by_layer = ks.jacobian_singular_values(model, samples, layerwise=True)
    assert list(by_layer) == ["conv", "hidden", "logits"]
    # What enters the dense layer, and the slopes of the tanh behind it.
    entering = keras.Model(model.inputs, model.get_layer("hidden").input)
    kernel = np.asarray(model.get_layer("hidden").kernel, float)
    for sample, values in zip(samples, by_layer["hidden"].values, strict=True):
        h = np.asarray(entering(sample[None]))[0] @ kernel
        by_hand = np.linalg.svd((1 - np.tanh(h) ** 2)[:, None] * kernel.T, compute_uv=False)
        np.testing.assert_allclose(values, by_hand, rtol=1e-4)
    flat = np.asarray(model.get_layer("conv").kernel).reshape(-1, 4)
    factor = 1 / math.sqrt(1 + model.get_layer("norm").epsilon)  # of batch normalization
    largest = np.linalg.norm(flat, 2) * factor
    assert by_layer["conv"].max <= largest * (1 + 1e-5)
    assert model.get_layer("conv").activation is keras.activations.relu


def test_models_without_logits_are_refused(samples):
    with pytest.raises(ValueError, match=r"ends in a softmax \('logits'\).*singular value.*zero"):
        ks.jacobian_singular_values(small("softmax"), samples)
    ends = keras.Sequential([small(), layers.Softmax(name="probabilities")])
    with pytest.raises(ValueError, match=r"softmax \('probabilities'\)"):
        ks.signal_report(ends, samples)
    words = keras.Sequential([keras.Input((4,), dtype="int32"), layers.Embedding(9, 3)])
    with pytest.raises(ValueError, match=r"takes integers.*behind an embedding"):
        ks.jacobian_singular_values(words, np.zeros((1, 4), "int32"))
    broken = small()
    broken.get_layer("logits").kernel.assign(np.full((8, 3), np.inf))
    with pytest.raises(ValueError, match="not finite: signals overflow"):
        ks.jacobian_singular_values(broken, samples)


def test_a_report_names_the_layer_that_blocks(samples, capsys):
    model = small()
    ks.init_ldi(model, seed=0)
    report = ks.signal_report(model, samples)
    shares = [row.sensitivity for row in report.rows]
    assert sum(shares) == pytest.approx(1, abs=1e-5)
    hidden = model.get_layer("hidden").kernel
    mask = np.random.default_rng(0).random(hidden.shape) < 0.05
    hidden.assign(np.asarray(hidden) * mask)
    report = ks.signal_report(model, samples)
    report.print()
    said = " ".join(capsys.readouterr().out.split())
    assert report.blocking.path == "hidden/kernel"
    assert "Signals fade in hidden/kernel" in said
    assert "isometry=True" in said
    assert report.to_dict()["rows"][1]["sparsity"] == pytest.approx(1 - mask.mean())
    hidden.assign(np.asarray(hidden) * 1e3)
    assert "Signals grow in hidden/kernel" in ks.signal_report(model, samples).verdict


def test_an_empty_layer_leaves_singular_values_of_zero(samples):
    model = small()
    model.get_layer("hidden").kernel.assign(np.zeros((64, 8)))
    with pytest.warns(SparsityWarning, match="Nothing is left of hidden/kernel"):
        report = ks.signal_report(model, samples)
    assert report.network.max == 0
    assert report.network.condition == math.inf
    assert report.to_dict()["network"]["condition"] is None
    assert report.verdict.startswith("Nothing is left of hidden/kernel")


def test_the_callback_logs_what_it_finds(samples):
    model = small()
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    probe = ks.SignalPropagation(samples, every=2)
    pruned = ks.StaticMask(0.8, isometry=True, seed=0)
    labels = np.zeros(5, int)
    history = model.fit(samples, labels, epochs=2, verbose=0, callbacks=[pruned, probe]).history
    names = ["orthogonality", "jsv_mean", "jsv_std", "jsv_min", "jsv_max", "ldi_defect"]
    assert all(len(history[name]) == 2 for name in names)
    assert history["jsv_mean"][0] == probe.start["jsv_mean"]
    now = ks.jacobian_singular_values(model, samples)
    assert history["jsv_mean"][1] == pytest.approx(now.mean, rel=1e-4)
    assert history["orthogonality"][1] == pytest.approx(ks.orthogonality_score(model), rel=1e-4)
