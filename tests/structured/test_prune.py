"""Pruning to a target, by each criterion."""

import keras
import numpy as np
import pytest
from keras import layers
from rich.console import Console

import keras_sparse as ks
from keras_sparse.deploy.latency import RelativeLatency
from keras_sparse.structured.coupling.groups import channel_groups
from keras_sparse.structured.criteria import CRITERIA, scores
from keras_sparse.structured.training import Samples
from tests.structured.nets import conv, image, randomized

BACKEND = keras.backend.backend()


def net(seed=0):
    """Convolutions with batch normalization, a transposed dense layer, and a classifier."""
    i = image()
    x = i
    for k, filters in enumerate((8, 16, 16)):
        x = conv(filters, f"conv{k}", use_bias=False)(x)
        x = layers.BatchNormalization(name=f"norm{k}")(x)
        x = layers.ReLU(name=f"relu{k}")(x)
    x = layers.Reshape((64, 16), name="rows")(x)
    x = layers.Permute((2, 1), name="turn")(x)
    x = layers.Dense(12, activation="relu", name="over_places")(x)
    x = layers.Flatten(name="flat")(x)
    model = randomized(keras.Model(i, layers.Dense(3, name="logits")(x), name="net"), seed)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def data():
    random = np.random.default_rng(0)
    return random.normal(size=(32, 8, 8, 3)).astype("float32"), random.integers(0, 3, 32)


def flops(model):
    return ks.report(model).dense_flops


@pytest.mark.parametrize(
    "criterion",
    [
        pytest.param(name, marks=[pytest.mark.jax] if name in ("l1", "taylor") else [])
        for name in sorted(set(CRITERIA) - {"bn_scale"})
    ],
)
@pytest.mark.parametrize("scope", ["global", "group"])
def test_half_the_operations(criterion, scope):
    model = net()
    smaller = ks.structured.prune(
        model, flops=0.5, criterion=criterion, scope=scope, data=data(), seed=0
    )
    part = flops(smaller) / flops(model)
    assert 0.4 < part <= 0.5
    assert flops(model) == flops(net())


@pytest.mark.jax
def test_predicted_costs_are_those_of_the_smaller_model():
    model = net()
    groups = channel_groups(model)
    from keras_sparse.structured.coupling.cost import Cost
    from keras_sparse.structured.shrink import build
    from tests.structured.nets import half

    cost = Cost(model, groups)
    for seed in range(3):
        keep = half(groups, seed, 0.3 * (1 + seed))
        smaller, kept = build(groups, keep, False), groups.kept(keep)
        assert cost.flops(kept) == pytest.approx(flops(smaller), rel=1e-12)
        assert cost.parameters(kept) == smaller.count_params()


def test_half_the_parameters():
    model = net()
    smaller = ks.structured.prune(model, params=0.5)
    assert 0.4 < smaller.count_params() / model.count_params() <= 0.5


@pytest.mark.skipif(BACKEND != "tensorflow", reason="LiteRT needs TensorFlow")
def test_a_part_of_the_measured_time(monkeypatch):
    from keras_sparse.structured import targets

    measured = []

    class Latency:
        def __init__(self, model, inputs):
            self.whole = model.count_params()

        def __call__(self, model):
            measured.append(model.count_params())
            return model.count_params() / self.whole

    monkeypatch.setattr(targets, "RelativeLatency", Latency)
    model = net()
    smaller = ks.structured.prune(model, latency=0.6)
    assert 0.5 < smaller.count_params() / model.count_params() <= 0.6
    assert len(measured) < 16
    measured.clear()
    # In two steps the second is relative to the first model too.
    smaller = ks.structured.prune(model, latency=0.6, steps=2)
    assert 0.5 < smaller.count_params() / model.count_params() <= 0.6
    with pytest.raises(ValueError, match=r"it asks for at most 1% of the time, and \d+% of the"):
        ks.structured.prune(model, latency=0.01)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="LiteRT needs TensorFlow")
def test_latency_is_measured():
    assert 0 < ks.deploy.litert_latency(net(), runs=3) < 1
    model = net()
    relative = RelativeLatency(model)
    assert 0 < relative(ks.structured.shrink(model, {})) < 100


def test_batch_normalization_scales():
    model = net()
    with pytest.raises(ValueError, match=r"over_places.*exclude"):
        ks.structured.prune(model, flops=0.5, criterion="bn_scale")
    smaller = ks.structured.prune(model, flops=0.5, criterion="bn_scale", exclude="over_places")
    assert smaller.get_layer("over_places").units == 12
    scale = np.abs(model.get_layer("norm1").gamma.numpy())
    count = smaller.get_layer("conv1").filters
    kept = np.sort(scale)[-count:]
    np.testing.assert_allclose(np.sort(smaller.get_layer("norm1").gamma.numpy()), kept)


def test_an_own_criterion():
    wanted = {}

    def first_units(group):
        wanted[group.name] = group.size
        return -np.arange(group.size)

    model = net()
    smaller = ks.structured.prune(model, flops=0.5, criterion=first_units, scope="group")
    kernel, before = (m.get_layer("conv0").kernel.numpy() for m in (smaller, model))
    np.testing.assert_array_equal(kernel, before[..., : kernel.shape[-1]])
    assert wanted["conv0"] == 8


def test_steps_with_fine_tuning_do_not_compound():
    model = net()
    seen = []

    def fine_tune(smaller):
        seen.append(flops(smaller) / flops(model))
        smaller.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        smaller.fit(*data(), verbose=0)

    smaller = ks.structured.prune(
        model, flops=0.5, criterion="taylor", data=data(), steps=3, fine_tune=fine_tune
    )
    assert len(seen) == 3
    assert seen[0] == pytest.approx(0.5 ** (1 / 3), abs=0.05)
    assert seen[0] > seen[1] > seen[2]
    assert 0.4 < flops(smaller) / flops(model) <= 0.5
    # A number of operations is the same goal however often it is asked for.
    goal = flops(model) * 0.5
    once = ks.structured.prune(model, flops=goal)
    with pytest.raises(ValueError, match="below the"):
        ks.structured.prune(once, flops=goal)


def test_bounds():
    model = net()
    smaller = ks.structured.prune(model, flops=0.5, min_channels=6, round_to=4)
    for name in ("conv0", "conv1", "conv2"):
        filters = smaller.get_layer(name).filters
        assert filters % 4 == 0
        assert filters >= 6
    tiny = ks.structured.prune(model, flops=0.2, max_removed=0.75, scope="group")
    assert tiny.get_layer("conv1").filters >= 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "Give one target"),
        ({"flops": 0.5, "params": 0.5}, "Give one target"),
        ({"flops": 0.0001}, "cannot be met.*are left"),
        ({"flops": 1.0}, "a part below 1"),
        ({"latency": 2.0}, "latency must be a number in"),
        ({"params": 1e12}, "below the"),
        ({"flops": 0.5, "criterion": "l3"}, "criterion must be one of"),
        ({"flops": 0.5, "criterion": "taylor"}, "give data="),
        ({"flops": 0.5, "exclude": "conv9"}, "Unknown layer in exclude"),
        ({"flops": 0.5, "exclude": "*"}, "Nothing of this model can be removed"),
        ({"flops": 0.5, "steps": 0}, "steps must be"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        ks.structured.prune(net(), **arguments)


def test_criteria_by_their_definitions():
    i = keras.Input((3,))
    model = keras.Model(i, layers.Dense(2, name="b")(layers.Dense(4, name="a")(i)))
    kernel = np.array([[3, 0, 1, -1], [4, 1, 0, 1], [0, 0, 0, 1]], "float32")
    model.get_layer("a").kernel.assign(kernel)
    groups = [group for group in channel_groups(model).groups if group.name == "a"]

    def found(criterion):
        return scores(criterion, model, groups, Samples())["a"]

    np.testing.assert_allclose(found("l1"), np.array([7, 1, 1, 3]) / 3)
    lengths = np.array([5, 1, 1, 3**0.5])
    np.testing.assert_allclose(found("l2"), lengths / lengths.mean())
    np.testing.assert_allclose(found("lamp"), [25 / 25, 1 / 29, 1 / 30, 3 / 28])
    distances = np.linalg.norm(kernel.T[:, None] - kernel.T[None], axis=-1).sum(axis=1)
    np.testing.assert_allclose(found("fpgm"), distances / distances.mean(), rtol=1e-6)
    assert sorted(found("uniform")) == [0, 0.25, 0.5, 0.75]


@pytest.mark.jax
def test_taylor_is_the_product_of_weights_and_gradients():
    i = keras.Input((3,))
    model = keras.Model(i, layers.Dense(2, name="b")(layers.Dense(4, name="a")(i)))
    randomized(model)
    x = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    y = np.zeros((5, 2), "float32")
    groups = [group for group in channel_groups(model).groups if group.name == "a"]
    found = scores("taylor", model, groups, Samples((x, y), "mse"))["a"]
    w, b = (v.numpy() if hasattr(v, "numpy") else np.asarray(v) for v in model.layers[1].weights)
    w2 = np.asarray(model.layers[2].kernel)
    outputs = (x @ w + b) @ w2 + np.asarray(model.layers[2].bias)
    back = 2 * outputs / outputs.size @ w2.T
    expected = (((x.T @ back) * w).sum(axis=0) + back.sum(axis=0) * b) ** 2
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.jax
def test_the_report_accounts_for_every_group(capsys):
    model = net()
    report = ks.structured.report(model, exclude="conv1")
    rows = {row.name: row for row in report.groups}
    assert rows["conv2"].removable == rows["conv2"].size == 16
    assert rows["conv1"].reason == "excluded"
    assert rows["conv0"].reason == "conv1/kernel uses it, which is excluded"
    assert rows["logits"].reason == "it is an output of the model"
    assert report.parameters == model.count_params()
    assert report.flops == flops(model)
    assert report.to_dict()["groups"][0]["made_by"] == ("conv0",)
    report.print(Console(width=150))
    assert "not removed because" in capsys.readouterr().out


@pytest.mark.jax
def test_group_lasso_drives_units_to_zero():
    i = keras.Input((6,))
    hidden = layers.BatchNormalization(name="norm")(layers.Dense(12, name="a")(i))
    model = randomized(keras.Model(i, layers.Dense(1, name="b")(layers.ReLU()(hidden))))
    random = np.random.default_rng(0)
    x = random.normal(size=(64, 6)).astype("float32")
    norms = []
    for callbacks in ([], [ks.structured.GroupLasso(0.05)]):
        copy = keras.models.clone_model(model)
        copy.set_weights(model.get_weights())
        copy.compile(keras.optimizers.SGD(0.05), "mse")
        copy.fit(x, x[:, :1], epochs=30, callbacks=callbacks, verbose=0)
        assert all(v.regularizer is None for v in copy.trainable_variables)
        assert copy.evaluate(x, x[:, :1], verbose=0) < 2
        norms.append(np.linalg.norm(np.asarray(copy.get_layer("a").kernel), axis=0))
    assert np.sort(norms[1])[:6].sum() < 0.5 * np.sort(norms[0])[:6].sum()
    with pytest.raises(ValueError, match="Nothing of model"):
        copy.fit(x, x[:, :1], callbacks=[ks.structured.GroupLasso(exclude="a")], verbose=0)
