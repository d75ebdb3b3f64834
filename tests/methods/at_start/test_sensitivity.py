import itertools

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_sparse.methods.at_start.sensitivity import connection_sensitivity
from keras_sparse.methods.at_start.synaptic_flow import SynapticFlow
from keras_sparse.probe.snapshot import borrowed
from tests.training import compiled, conv_net, values

pytestmark = pytest.mark.jax

X, Y = np.array([[1.0, 2.0]], "float32"), np.array([0])
ONE, TWO = np.array([[1, -1], [0.5, 2]]), np.array([[1, 0], [-0.5, 1]])


def net(*kernels):
    """A net without biases, ReLU between its layers, that gives logits."""
    model = keras.Sequential([keras.Input((len(kernels[0]),))])
    for i, kernel in enumerate(kernels):
        last = i == len(kernels) - 1
        model.add(layers.Dense(kernel.shape[1], None if last else "relu", use_bias=False))
    model.set_weights(kernels)
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def random_net(seed=0, sizes=(5, 7, 6, 3)):
    generator = np.random.default_rng(seed)
    return net(*(generator.normal(size=s) for s in itertools.pairwise(sizes)))


def samples(n=12, seed=1):
    generator = np.random.default_rng(seed)
    return generator.normal(size=(n, 5)).astype("float32"), generator.integers(0, 3, n)


def sensitivity(model, data, **kwargs):
    return connection_sensitivity(model, model.trainable_variables, data, **kwargs)


def assert_close(ones, twos, atol=1e-6):
    for one, two in zip(ones, twos, strict=True):
        np.testing.assert_allclose(one, two, rtol=0, atol=atol)


def loss_in_float64(kernels, x, y):
    x = np.asarray(x, np.float64)
    for kernel in kernels[:-1]:
        x = np.maximum(x @ kernel, 0)
    z = x @ kernels[-1]
    z = z - z.max(1, keepdims=True)
    return float(np.mean(np.log(np.exp(z).sum(1)) - z[np.arange(len(y)), y]))


def without(kernels, i, j, factor=0.0):
    changed = [np.array(kernel, np.float64) for kernel in kernels]
    changed[i].flat[j] *= factor
    return changed


def test_worked_example():
    one, two = sensitivity(net(ONE, TWO), (X, Y))
    np.testing.assert_allclose(one, [[0.0625, 0.09375], [0.0625, 0.375]], atol=1e-6)
    np.testing.assert_allclose(two, [[0.125, 0], [0.09375, 0.1875]], atol=1e-6)
    one, two = sensitivity(net(ONE, TWO), (X, Y), normalize=False)
    assert one.sum() + two.sum() == pytest.approx(14.7862691, abs=1e-5)


def test_example_of_the_baselines():
    model = net(np.array([[0.5], [-1.0], [0.2]]))
    gradients = np.array([[0.2, 0.05, -1.0]], "float32")  # of a linear model: its inputs
    (found,) = sensitivity(model, (gradients, Y), loss=lambda y, outputs: outputs)
    np.testing.assert_allclose(found[:, 0], [0.2857, 0.1429, 0.5714], atol=1e-4)


def test_removing_weights_one_by_one():
    kernels = [ONE, TWO]
    base = loss_in_float64(kernels, X, Y)
    effects = [
        [base - loss_in_float64(without(kernels, i, j), X, Y) for j in range(4)] for i in (0, 1)
    ]
    np.testing.assert_allclose(effects[0], [-0.9508607, -1.4392602, -0.9508607, 2.4519617])
    np.testing.assert_allclose(effects[1], [-1.9321580, 0, 1.2656280, 2.1048128], atol=1e-7)
    found = np.stack(sensitivity(net(ONE, TWO), (X, Y))).reshape(2, 4)
    np.testing.assert_array_equal(found > 0, np.abs(effects) > 1e-12)


def test_finite_differences_of_the_connectivity():
    model, (x, y) = random_net(), samples()
    found = sensitivity(model, (x, y), normalize=False)
    kernels, d = values(model), 1e-3
    for i, kernel in enumerate(kernels):
        for j in range(kernel.size):
            ends = (loss_in_float64(without(kernels, i, j, 1 + s * d), x, y) for s in (1, -1))
            up, down = ends
            assert found[i].flat[j] == pytest.approx(abs(up - down) / (2 * d), abs=1e-5)


def test_scale_of_layers_does_not_matter():
    model, data = random_net(), samples()
    first, gradient = (sensitivity(model, data, criterion=c) for c in ("snip", "gradient"))
    scaled = values(model)
    scaled[0], scaled[1] = scaled[0] * 10, scaled[1] / 10
    model.set_weights(scaled)
    assert_close(sensitivity(model, data), first, 1e-5)
    others = sensitivity(model, data, criterion="gradient")
    assert np.abs(others[0] - gradient[0]).max() > 1e-2


def test_signed_sums_of_layers_are_equal():
    # A signed sum of w g is what a common factor of the layer does to the loss.
    kernels, d = [ONE, TWO], 1e-5
    for i in (0, 1):
        up, down = (
            loss_in_float64(
                [k * (1 + s * d) if i == at else k for at, k in enumerate(kernels)], X, Y
            )
            for s in (1, -1)
        )
        assert (up - down) / (2 * d) == pytest.approx(2.3103545, abs=1e-5)


@pytest.mark.parametrize("batch_size", [4, 5])
def test_batches_add_up_to_the_whole(batch_size):
    model, data = random_net(), samples()
    whole = sensitivity(model, data, normalize=False)
    parts = sensitivity(model, data, batch_size=batch_size, normalize=False)
    assert_close(parts, whole, 1e-5)
    saliency, ema = (
        sensitivity(model, data, batch_size=batch_size, accumulate=a, normalize=False)
        for a in ("saliency", "ema")
    )
    pairs = list(zip(saliency, whole, strict=True))
    assert all((s >= w - 1e-6).all() for s, w in pairs)
    assert max((s - w).max() for s, w in pairs) > 1e-2
    x, y = data
    steps = range(0, 12, batch_size)
    each = [
        sensitivity(model, (x[i : i + batch_size], y[i : i + batch_size]), normalize=False)
        for i in steps
    ]
    expected = each[0]
    for after in each[1:]:
        expected = [0.9 * a + 0.1 * b for a, b in zip(expected, after, strict=True)]
    assert_close(ema, expected, 1e-5)


def test_order_duplicates_and_a_factor_do_not_matter():
    model, (x, y) = random_net(), samples()
    first = sensitivity(model, (x, y))
    assert_close(sensitivity(model, (x[::-1], y[::-1])), first)
    assert_close(sensitivity(model, (np.tile(x, (2, 1)), np.tile(y, 2))), first)
    own = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    assert_close(sensitivity(model, (x, y), loss=lambda *a: 7 * own(*a)), first)


def test_zeros_score_zero():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((5,)), layers.Dense(3)])
    kernel, bias = model.get_weights()
    kernel[2, 1] = 0
    model.set_weights([kernel, bias])
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    x, y = samples()
    x[:, 4] = 0
    scores, of_bias = sensitivity(model, (x, y))
    assert scores[2, 1] == 0
    assert not scores[4].any()
    assert not of_bias.any()
    assert np.count_nonzero(scores) == 11


def test_negated_inputs_and_first_layer():
    model, (x, y) = random_net(), samples()
    first = sensitivity(model, (x, y))
    changed = values(model)
    changed[0] = -changed[0]
    model.set_weights(changed)
    assert_close(sensitivity(model, (-x, y)), first)


def test_uniform_targets_of_a_binary_task():
    model = net(ONE, TWO)
    first = sensitivity(model, (X, Y))
    uniform = keras.losses.CategoricalCrossentropy(from_logits=True)
    data = (X, np.array([[0.5, 0.5]], "float32"))
    assert_close(sensitivity(model, data, loss=uniform), first)
    one, _ = sensitivity(model, data, loss=uniform, normalize=False)
    np.testing.assert_allclose(one, [[0.4241418, 0.6362127], [0.4241418, 2.5448509]], atol=1e-6)


@pytest.mark.parametrize("criterion", ["snip", "grasp"])
def test_nothing_of_the_model_changes(images, criterion):
    model = compiled(conv_net())
    before = [np.array(ops.convert_to_numpy(v)) for v in model.variables]
    first, second = (sensitivity(model, images, criterion=criterion) for _ in range(2))
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(variable), value)
    for one, two in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("temperature", [1, 4])
def test_grasp_against_brute_force(temperature):
    model, (x, y) = random_net(sizes=(5, 4, 3)), samples()
    options = {"normalize": False, "temperature": temperature}
    found = sensitivity(model, (x, y), criterion="grasp", **options)
    kernels = values(model)

    def flow(changed):
        model.set_weights(changed)
        gradients = sensitivity(model, (x, y), criterion="gradient", **options)
        return sum(np.sum(np.asarray(g, np.float64) ** 2) for g in gradients)

    d = 1e-2
    for i, kernel in enumerate(kernels):
        for j in range(kernel.size):
            change = flow(without(kernels, i, j, 1 - d)) - flow(without(kernels, i, j, 1 + d))
            assert -2 * found[i].flat[j] == pytest.approx(change / (2 * d), abs=2e-3)
    model.set_weights(kernels)
    parts = sensitivity(model, (x, y), criterion="grasp", batch_size=5, **options)
    assert_close(parts, found, 1e-5)


def flows(model):
    flow = SynapticFlow(model, model.trainable_variables)
    with borrowed(model, model.variables):
        flow.make_positive()
        return flow()


def test_synaptic_flow():
    # |W1| = [[1,1],[.5,2]], |W2| = [[1,0],[.5,1]]: h = (1.5, 3), R = 1.5 + 0 + 1.5 + 3 = 6.
    model = net(ONE, TWO)
    one, two = flows(model)
    np.testing.assert_allclose(one * 12, [[1, 1.5], [0.5, 3]], rtol=1e-6)
    np.testing.assert_allclose(two * 12, [[1.5, 0], [1.5, 3]], rtol=1e-6)
    assert_close(values(model), [ONE, TWO], 0)


def test_synaptic_flow_does_not_overflow():
    kernels = [np.full((4, 4), 1e12) * (1 + np.eye(4)) for _ in range(5)]
    found = flows(net(*kernels))  # R is about 1e62, and float32 ends at 3e38
    assert all(np.isfinite(score).all() for score in found)
    assert_close([score.sum() for score in found], [0.2] * 5)
    small = flows(net(*(kernel / 1e12 for kernel in kernels)))
    assert_close(found, small)


def test_scores_that_say_nothing():
    with pytest.raises(ValueError, match="all zero"):
        sensitivity(net(0 * ONE, 0 * TWO), (X, Y))
    with pytest.raises(ValueError, match="not finite"):
        sensitivity(net(ONE, TWO), (X * np.inf, Y))


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"criterion": "snap"}, "Did you mean 'snip'"),
        ({"accumulate": "gradients"}, "Did you mean 'gradient'"),
        ({"criterion": "grasp", "accumulate": "saliency"}, "Leave accumulate out"),
        ({"accumulate": "ema", "decay": 1.0}, "decay must be"),
    ],
)
def test_bad_arguments(arguments, match):
    with pytest.raises(ValueError, match=match):
        sensitivity(net(ONE, TWO), (X, Y), **arguments)
