"""Greedy selection in one layer of a deep network."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_sparse as ks
from keras_sparse.distribute.communicator import in_threads
from keras_sparse.structured import cut, fold_gains, select_channels


def residual_net(seed=0):
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name="stem")(inputs)
    y = layers.Conv2D(6, 3, padding="same", use_bias=False, name="conv1")(x)
    y = layers.BatchNormalization(name="norm")(y)
    y = layers.ReLU(name="relu")(y)
    y = layers.Conv2D(4, 3, padding="same", name="conv2")(y)
    x = layers.Add(name="sum")([x, y])
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(4, activation="softmax", name="head")(x))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@pytest.fixture(scope="module")
def trained(images):
    model = residual_net()
    model.fit(*images, epochs=20, verbose=0)
    return model


def numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


def test_a_cut_network_computes_what_it_did(trained, images):
    part = cut(trained, "relu", images)
    assert part.outputs.shape == (96, 8, 8, 6)
    assert [each.shape for each in part.others] == [(96, 8, 8, 4)]
    made = part.rest(*(keras.ops.convert_to_tensor(a) for a in (part.outputs, *part.others)))
    np.testing.assert_allclose(made, trained(images[0]), atol=1e-6)
    plain = cut(trained, "sum", images)
    assert plain.others == []
    made = plain.rest(keras.ops.convert_to_tensor(plain.outputs))
    np.testing.assert_allclose(made, trained(images[0]), atol=1e-6)
    whole = cut(trained, "head", images)
    np.testing.assert_allclose(whole.rest(whole.outputs), trained(images[0]), atol=1e-6)
    with pytest.raises(ValueError, match="Did you mean 'relu'"):
        cut(trained, "rellu", images)


@pytest.mark.parametrize("replacement", [True, False])
def test_picks_are_those_of_passes_through_the_whole_network(trained, images, replacement):
    before = [numpy(v).copy() for v in trained.variables]
    part = cut(trained, "relu", images)
    given = {"others": part.others, "replacement": replacement}
    found = select_channels(part.outputs, part.targets, part.rest, 5, **given)
    counts, loss = np.zeros(6), keras.losses.SparseCategoricalCrossentropy()
    for pick in found.picks:
        losses = []
        for j in range(6):
            added = counts + np.eye(6)[j]
            x = part.outputs * (6 * added / added.sum()).astype("float32")
            free = replacement or not counts[j]
            losses.append(float(loss(images[1], part.rest(x, *part.others))) if free else np.inf)
        assert losses[pick] <= min(losses) + 1e-6
        counts[pick] += 1
    for one, two in zip(before, trained.variables, strict=True):
        np.testing.assert_array_equal(one, numpy(two))


@pytest.mark.jax
@pytest.mark.parametrize(("batch_size", "replacement"), [(None, True), (40, True), (None, False)])
@pytest.mark.parametrize("chunk", [2_000_000, 2000])
def test_the_consumer_channel_by_channel(batch_size, replacement, chunk, monkeypatch):
    monkeypatch.setattr("keras_sparse.structured.units.layer_selection._CHUNK", chunk)
    keras.utils.set_random_seed(1)
    generator = np.random.default_rng(0)
    x, y = generator.random((60, 7, 7, 9)).astype("float32"), generator.integers(0, 4, 60)
    skip = generator.normal(size=(60, 4, 4, 5)).astype("float32")
    consumer = layers.Conv2D(
        5, 3, strides=2, padding="same", activation="relu", bias_initializer="uniform"
    )
    consumer.build(x.shape)
    head = layers.Dense(4, activation="softmax")
    head.build((None, 5))

    def rest(z, other):
        return head(keras.ops.mean(z + other, axis=(1, 2)))

    given = {"others": [skip], "batch_size": batch_size, "replacement": replacement}
    whole = select_channels(x, y, lambda x, o: rest(consumer(x), o), 4, **given)
    apart = select_channels(x, y, rest, 4, consumer=consumer, **given)
    np.testing.assert_array_equal(whole.picks, apart.picks)
    np.testing.assert_allclose(whole.losses, apart.losses, rtol=1e-4)


def test_a_dense_consumer():
    generator = np.random.default_rng(1)
    x, y = generator.random((50, 8)).astype("float32"), generator.integers(0, 3, 50)
    dense = layers.Dense(3, activation="softmax")
    dense.build(x.shape)
    units = ks.structured.select_units(
        x, dense.kernel, y, 6, loss="sparse_categorical_crossentropy", activation="softmax"
    )
    apart = select_channels(x, y, lambda z: z, 6, consumer=dense)
    np.testing.assert_array_equal(units.picks, apart.picks)


def test_a_larger_epsilon_keeps_no_more(trained, images):
    part = cut(trained, "relu", images)
    sizes = []
    for epsilon in (0, 0.02, 0.1, 0.5):
        found = select_channels(
            part.outputs, part.targets, part.rest, epsilon=epsilon, others=part.others
        )
        sizes.append(found.n_units)
        made = part.rest(part.outputs * (6 * found.alpha).astype("float32"), *part.others)
        dense = np.mean(numpy(trained(images[0])).argmax(-1) == images[1])
        assert np.mean(numpy(made).argmax(-1) == images[1]) >= (1 - epsilon) * dense
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < 6


def test_workers_share_out_the_channels(trained, images):
    part = cut(trained, "relu", images)
    given = part.outputs, part.targets, part.rest, 5
    drawn = {"others": part.others, "num_candidates": 4, "batch_size": 32, "seed": 2}
    one = select_channels(*given, **drawn)
    two = in_threads(lambda w: select_channels(*given, **drawn, workers=w), 2)
    for found in two:
        np.testing.assert_array_equal(found.picks, one.picks)
    assert two[0].floats == 5 * 2


def folded(model, kept, gains, consumer, **kwargs):
    kernel = numpy(model.get_layer(consumer).kernel)
    return fold_gains(kernel, kept, gains, **kwargs)


def test_gains_folded_into_a_convolution(trained, images):
    kept, gains = np.array([4, 0, 3]), np.array([2.0, 1.0, 0.5])
    part = cut(trained, "relu", images)
    scale = np.zeros(6, "float32")
    scale[kept] = gains
    wanted = part.rest(part.outputs * scale, *part.others)
    small = keras.layers.Conv2D(4, 3, padding="same")
    small.build((None, 8, 8, 3))
    small.kernel.assign(folded(trained, kept, gains, "conv2"))
    small.bias.assign(trained.get_layer("conv2").bias)
    summed = small(part.outputs[..., kept]) + part.others[0]
    made = trained.get_layer("head")(keras.ops.mean(summed, axis=(1, 2)))
    np.testing.assert_allclose(made, wanted, atol=1e-5)


def test_gains_folded_behind_flatten():
    generator = np.random.default_rng(2)
    x, kernel = generator.random((5, 3, 2, 4)), generator.normal(size=(24, 7))
    kept, gains = [3, 1], [1.5, 0.5]
    scale = np.zeros(4)
    scale[kept] = gains
    small = fold_gains(kernel, kept, gains, channels=4)
    assert small.shape == (12, 7)
    wanted = (x * scale).reshape(5, -1) @ kernel
    np.testing.assert_allclose(x[..., kept].reshape(5, -1) @ small, wanted)


def test_gains_folded_past_a_depthwise_block():
    keras.utils.set_random_seed(3)
    x = np.random.default_rng(3).normal(size=(4, 6, 6, 5)).astype("float32")

    def block(units):
        stack = [
            layers.Conv2D(units, 1, name="expand"),
            layers.BatchNormalization(),
            layers.ReLU(6.0),
            layers.DepthwiseConv2D(3, padding="same"),
            layers.BatchNormalization(name="last"),
            layers.ReLU(6.0, name="hidden"),
        ]
        return keras.Sequential([keras.Input((6, 6, 5)), *stack])

    dense, kept = block(8), np.array([1, 6, 2])
    for i, variable in enumerate(dense.variables):
        noise = np.random.default_rng(i).random(variable.shape) + 0.5
        variable.assign(
            noise if "norm" in variable.path or "last" in variable.path else numpy(variable)
        )
    small = block(3)
    for variable, new in zip(dense.variables, small.variables, strict=True):
        axis = 2 if new.shape[-1] == 1 and len(new.shape) == 4 else -1
        new.assign(np.take(numpy(variable), kept, axis))
    kernel = np.random.default_rng(9).normal(size=(1, 1, 8, 5))
    gains = np.array([8 / 3, 16 / 3, 0.5])
    scale = np.zeros(8)
    scale[kept] = gains
    wanted = (numpy(dense(x)) * scale) @ kernel[0, 0]
    np.testing.assert_allclose(
        numpy(small(x)) @ fold_gains(kernel, kept, gains)[0, 0], wanted, atol=1e-4
    )
