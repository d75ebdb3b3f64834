"""Whole networks pruned layer by layer."""

import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_sparse as ks
from tests.structured.nets import batch, conv, head, image, outputs, randomized

GREEDY = ks.structured.GreedyForwardSelection(num_candidates=3, samples=12)


def resnet():
    return ks.models.get("resnet20", width=4, input_shape=(8, 8, 3), num_classes=3, seed=0)


def mobile():
    i = x = image()
    x = layers.ReLU(6.0, name="stem_relu")(conv(6, "stem")(x))
    for k in range(2):
        y = layers.Conv2D(12, 1, use_bias=False, name=f"expand{k}")(x)
        y = layers.ReLU(6.0)(layers.BatchNormalization()(y))
        y = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name=f"depthwise{k}")(y)
        y = layers.ReLU(6.0)(layers.BatchNormalization()(y))
        y = layers.Conv2D(6, 1, use_bias=False, name=f"project{k}")(y)
        x = layers.Add()([x, layers.BatchNormalization()(y)])
    return head(x, i, "mobile")


def encoder():
    i = x = keras.Input((5, 8))
    for k in range(2):
        normed = layers.LayerNormalization()(x)
        x = layers.Add()([x, layers.MultiHeadAttention(4, 3, name=f"attention{k}")(normed, normed)])
        y = layers.Dense(16, activation="gelu", name=f"up{k}")(layers.LayerNormalization()(x))
        x = layers.Add()([x, layers.Dense(8, name=f"down{k}")(y)])
    return head(x, i, "encoder")


def einsum():
    i = keras.Input((5, 8))
    y = layers.EinsumDense("btd,dnh->btnh", (None, 2, 6), bias_axes="nh", name="up")(i)
    y = layers.Activation("relu")(y)
    y = layers.EinsumDense("btnh,nhd->btd", (None, 8), bias_axes="d", name="down")(y)
    return head(layers.Add()([i, y]), i, "einsum")


def flattened():
    i = x = image()
    x = layers.MaxPooling2D()(conv(6, "a")(x))
    x = layers.Dense(10, activation="relu", name="b")(layers.Flatten()(x))
    return keras.Model(i, layers.Dense(3, name="logits")(x), name="flattened")


NETS = {
    "resnet": (resnet, ["stage1_block1_conv1", "stage2_block1_conv1", "stage3_block3_conv1"]),
    "mobile": (mobile, ["expand0", "expand1"]),
    "encoder": (encoder, ["attention0/heads", "up0", "attention1/heads", "up1"]),
    "einsum": (einsum, ["up/n", "up/h"]),
    "flattened": (flattened, ["a", "b"]),
}


def numpy(tensor):
    return ops.convert_to_numpy(tensor)


def built(name):
    model = randomized(NETS[name][0]())
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def samples(model, count=24):
    random = np.random.default_rng(3)
    x = random.normal(size=(count, *model.inputs[0].shape[1:])).astype("float32")
    return x, random.integers(0, 3, count)


def taking(model, group):
    """The kernel that a group's units go into, and its axis."""
    if "/heads" in group:
        return model.get_layer(group.split("/")[0])._output_dense.kernel, 0
    name = group.split("/")[0]
    for one, other in (("expand", "project"), ("up", "down"), ("conv1", "conv2")):
        name = name.replace(one, other)
    name = {"a": "b", "b": "logits"}.get(name, name)
    return model.get_layer(name).kernel, {"up/n": 0, "up/h": 1, "b": 0, "up0": 0, "up1": 0}.get(
        group, -2
    )


def _cases():
    for name in sorted(NETS):
        for label, method in {"i_spasp": "i_spasp", "greedy": GREEDY}.items():
            marks = [pytest.mark.jax] * (name == min(NETS))
            marks += [pytest.mark.thorough] * (label == "greedy" and name in ("encoder", "resnet"))
            yield pytest.param(name, method, id=f"{name}-{label}", marks=marks)


@pytest.mark.parametrize(("name", "method"), list(_cases()))
def test_a_smaller_model_that_computes_what_the_masked_one_does(name, method):
    model = built(name)
    before = [numpy(v).copy() for v in model.variables]
    done = ks.structured.prune_layerwise(model, samples(model), method, keep=0.5)
    for old, now in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(old, numpy(now))
    assert set(NETS[name][1]) <= set(done.kept)
    assert done.model.count_params() < model.count_params()
    masked = ks.structured.masked(model, done.kept)
    for group, kept in done.kept.items():
        size = {row.name: row.size for row in ks.structured.report(model).groups}[group]
        assert len(kept) == size // 2
        # All of k units weigh C / k, by which the kernel that takes them is multiplied.
        if method is GREEDY:
            kernel, _ = taking(masked, group)
            kernel.assign(numpy(kernel) * size / len(kept))
    x = batch(model)
    np.testing.assert_allclose(outputs(masked, x)[0], outputs(done.model, x)[0], 1e-4, 1e-4)


@pytest.mark.thorough
def test_the_smaller_models_load_without_the_package(tmp_path):
    for name in NETS:
        model = built(name)
        x = batch(model)
        small = ks.structured.prune_layerwise(model, samples(model, 8)[0], keep=0.5).model
        small.save(tmp_path / f"{name}.keras")
        np.savez(tmp_path / f"{name}.npz", x=x, y=outputs(small, x)[0])
    script = (
        "import pathlib, sys; sys.modules['keras_sparse'] = None\n"
        "import keras, numpy as np\n"
        "for path in pathlib.Path(sys.argv[1]).glob('*.keras'):\n"
        "    model, tried = keras.models.load_model(path), np.load(path.with_suffix('.npz'))\n"
        "    np.testing.assert_allclose(model(tried['x']), tried['y'], 1e-4, 1e-5)\n"
        "    print(path.stem)\n"
    )
    words = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    assert sorted(done.stdout.split()) == sorted(NETS)


@pytest.mark.jax
def test_filters_of_a_block_are_those_of_the_definition():
    """All activations, and the convolution with its normalization as they are."""
    model = built("resnet")
    x = samples(model)[0]
    for name in ("stage1_block1", "stage2_block1"):
        hidden = keras.Model(model.input, model.get_layer(f"{name}_relu1").output)(x)
        second = [model.get_layer(f"{name}_conv2{part}") for part in ("", "_bn")]

        def block(h, second=second):
            return second[1](second[0](h), training=False)

        wanted = ks.structured.i_spasp_channels(hidden, block, 3, iterations=4)
        done = ks.structured.prune_layerwise(
            model, x, ks.structured.ISpaSP(4), keep={f"{name}_conv1": 3}, batch_size=7
        )
        np.testing.assert_array_equal(done.kept[f"{name}_conv1"], wanted.indices)


@pytest.mark.jax
def test_heads_are_those_of_the_definition():
    model = built("encoder")
    x = samples(model)[0]
    attention = model.get_layer("attention0")
    normed = keras.Model(model.input, attention.input[0])(x)
    weights = [
        [numpy(v) for v in getattr(attention, f"_{name}_dense").variables]
        for name in ("query", "key", "value")
    ]
    q, k, v = (np.einsum("btd,dhe->bthe", normed, w) + b for w, b in weights)
    scores = ops.softmax(np.einsum("bthe,bshe->bhts", q, k) / 3**0.5, axis=-1)
    context = np.einsum("bhts,bshe->bteh", scores, v)
    kernel = numpy(attention._output_dense.kernel)
    wanted = ks.structured.i_spasp_channels(
        context, lambda h: ops.einsum("bteh,hed->btd", h, kernel), 1, iterations=20
    )
    done = ks.structured.prune_layerwise(model, x, keep={"attention0/heads": 1})
    np.testing.assert_array_equal(done.kept["attention0/heads"], wanted.indices)


@pytest.mark.jax
@pytest.mark.parametrize("method", ["i_spasp", GREEDY], ids=["i_spasp", "greedy"])
def test_a_layer_is_pruned_on_what_those_before_it_have_become(method):
    model, data = built("flattened"), samples(built("flattened"))
    at_once = ks.structured.prune_layerwise(model, data, method, keep={"b": 4, "a": 2})
    assert list(at_once.kept) == ["a", "b"]
    first = ks.structured.prune_layerwise(model, data, method, keep={"a": 2}).model
    first.compile("sgd", model.loss)
    second = ks.structured.prune_layerwise(first, data, method, keep={"b": 4})
    np.testing.assert_array_equal(at_once.kept["b"], second.kept["b"])
    for one, other in zip(at_once.model.variables, second.model.variables, strict=True):
        np.testing.assert_array_equal(numpy(one), numpy(other))


def test_units_inside_of_another_model():
    i = x = keras.Input((6,))
    block = [layers.Dense(8, activation="relu", name="up"), layers.Dense(6, name="down")]
    x = layers.Dense(3, name="logits")(keras.Sequential([keras.Input((6,)), *block], name="in")(x))
    model = randomized(keras.Model(i, x))
    x, y = samples(model)[0], np.zeros((24, 3))
    done = ks.structured.prune_layerwise(model, x, keep=0.5)
    hidden = np.maximum(x @ numpy(block[0].kernel) + numpy(block[0].bias), 0)
    wanted = ks.structured.i_spasp_units(hidden, numpy(block[1].kernel), 4)
    np.testing.assert_array_equal(done.kept["in/up"], wanted.indices)
    done = ks.structured.prune_layerwise(model, (x, y), GREEDY, keep=0.5, loss="mse")
    assert done.skipped["in/up"] == "down is inside of another model"
    assert "in/down" in done.kept


def test_fine_tuning_between_layers():
    model, data = built("flattened"), samples(built("flattened"))
    sizes = []

    def tune(smaller):
        sizes.append([smaller.get_layer(name).kernel.shape[-1] for name in "ab"])
        smaller.compile("sgd", model.loss)
        smaller.fit(*data, verbose=0)

    done = ks.structured.prune_layerwise(model, data, keep={"a": 2, "b": 4}, fine_tune=tune)
    assert sizes == [[2, 10], [2, 4]]
    plain = ks.structured.prune_layerwise(model, data, keep={"a": 2, "b": 4}).model
    tuned, plain = (numpy(m.get_layer("a").kernel) for m in (done.model, plain))
    assert not np.allclose(tuned, plain)


@pytest.mark.parametrize(
    "criterion", ["i_spasp", pytest.param(GREEDY, marks=pytest.mark.thorough, id="greedy")]
)
def test_half_the_operations_by_the_same_part_of_each_block(criterion):
    model = built("resnet")
    smaller = ks.structured.prune(model, flops=0.5, criterion=criterion, data=samples(model))
    part = ks.report(smaller).dense_flops / ks.report(model).dense_flops
    assert 0.4 < part <= 0.5
    filters = [smaller.get_layer(f"stage3_block{k}_conv1").filters for k in (1, 2, 3)]
    assert len(set(filters)) == 1
    assert smaller.get_layer("stem").filters == 4


def test_what_the_methods_do_not_define_is_named():
    rows = {row.name: row for row in ks.structured.report(built("resnet")).groups}
    assert rows["stem"].reason is None
    report = ks.structured.report(built("resnet"), criterion="i_spasp")
    rows = {row.name: row for row in report.groups}
    assert "stem, stage1_block1_conv2" in rows["stem"].reason
    assert "skip connection" in rows["stem"].reason
    assert rows["stem"].removable == 0
    assert rows["stage1_block1_conv1"].removable == 4
    rows = ks.structured.report(built("encoder"), criterion="i_spasp").groups
    reasons = {row.name: row.reason for row in rows}
    assert reasons["attention0/heads"] is reasons["up0"] is None
    assert "whole heads are selected" in reasons["attention0/head_dim"]
    i = keras.Input((6,))
    x = layers.Dense(4, name="a")(i)
    y = [layers.Dense(3, name=name)(x) for name in ("b", "c")]
    normed = layers.LayerNormalization(name="norm")(layers.Dense(5, name="d")(y[0]))
    model = keras.Model(i, [layers.Dense(2)(normed), layers.LSTM(2)(layers.Reshape((3, 1))(y[1]))])
    reasons = {
        row.name: row.reason for row in ks.structured.report(model, criterion="i_spasp").groups
    }
    assert reasons["a"] == "b, c take its units, and not a single layer"
    assert reasons["d"] == "norm (LayerNormalization) computes across its units"


@pytest.mark.parametrize(("part", "kept"), [(0.25, 3), (0.4, 5)])
def test_parts_of_heads_are_rounded_and_of_filters_cut_off(part, kept):
    i = keras.Input((4, 6))
    x = layers.MultiHeadAttention(12, 2, name="attention")(i, i)
    x = layers.Dense(64, activation="relu", name="up")(x)
    model = randomized(keras.Model(i, layers.Dense(3)(x)))
    done = ks.structured.prune_layerwise(model, samples(model)[0], keep=part)
    assert len(done.kept["attention/heads"]) == kept
    assert len(done.kept["up"]) == int(64 * part)


def test_a_larger_epsilon_keeps_no_more_of_the_first_layer(images):
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(8, 3, activation="relu", name="a"),
            layers.Conv2D(8, 3, activation="relu", name="b"),
            layers.Flatten(),
            layers.Dense(4, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(*images, epochs=15, verbose=0)
    sizes = []
    for epsilon in (0.0, 0.1, 0.5):
        method = ks.structured.GreedyForwardSelection(epsilon)
        done = ks.structured.prune_layerwise(model, images, method)
        sizes.append(len(done.kept["a"]))
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < 8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "How much stays.*one of them"),
        ({"keep": 0.5, "flops": 0.5}, "Received: keep, flops"),
        ({"keep": {"stem": 2}}, "'stem' in keep cannot be pruned.*skip connection"),
        ({"keep": {"stage1_block1_conv": 2}}, "Did you mean 'stage1_block1_conv1'"),
        ({"keep": {"stage1_block1_conv1": 9}}, "from 1 to 4"),
        ({"keep": 2}, "keep must be a number in"),
        ({"keep": 0.5, "method": "l1"}, "method must be one of 'i_spasp', 'greedy'"),
        ({"keep": 0.5, "exclude": "*"}, "No units of this model"),
        ({"flops": 0.01}, "cannot be met"),
        ({"keep": 0.5, "method": ks.structured.GreedyForwardSelection(0.1)}, "none of keep"),
    ],
)
def test_wrong_arguments(arguments, message):
    model = resnet()
    with pytest.raises(ValueError, match=message):
        ks.structured.prune_layerwise(model, samples(model), **arguments)


def test_wrong_arguments_of_prune():
    model = resnet()
    with pytest.raises(ValueError, match=r"ISpaSP looks at.*give data=x"):
        ks.structured.prune(model, flops=0.5, criterion="i_spasp")
    with pytest.raises(ValueError, match="steps must be an integer from 1 to 1"):
        ks.structured.prune(model, flops=0.5, criterion="i_spasp", data=samples(model), steps=2)
    with pytest.raises(ValueError, match="iterations must be"):
        ks.structured.ISpaSP(0)
    with pytest.raises(ValueError, match="num_candidates must be"):
        ks.structured.GreedyForwardSelection(num_candidates=0)
    with pytest.raises(ValueError, match="loss must be given"):
        ks.structured.prune(model, flops=0.5, criterion="greedy", data=samples(model))
