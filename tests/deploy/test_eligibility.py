"""Which zeros save time: the rules one by one, asked of models and of their files."""

import json

import keras
import numpy as np
import pytest
from keras import layers

import keras_sparse as ks
from keras_sparse import cli, deploy
from tests.deploy.pruned import lenet, perceptron, prune


def net(first=3, pad=1, strides=2, middle=None, end=True, kernel=3, channels=3, size=32):
    """A small network that XNNPACK runs sparse on Arm, with one thing changed."""
    inputs = x = keras.Input((size, size, channels))
    x = layers.ZeroPadding2D(pad)(x) if pad else x
    x = layers.Conv2D(
        8, first, strides, padding="valid" if pad else "same", use_bias=False, name="stem"
    )(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    skip = x = layers.Conv2D(16, 1, name="one", activation="relu")(x)
    x = layers.DepthwiseConv2D(kernel, padding="same", name="depthwise")(x)
    x = middle(x) if middle else layers.ReLU(6.0)(x)
    x = layers.Add()([layers.Conv2D(16, 1, name="two")(x), skip])
    x = layers.GlobalAveragePooling2D()(x) if end else layers.GlobalMaxPooling2D()(x)
    return keras.Model(inputs, layers.Dense(4, name="logits")(x))


def pointwise(found):
    return [(row.fast, row.rule) for row in found.rows if row.kind == "1x1 convolution"]


CHANGES = {
    "as it should be": ({}, None),
    "5x5 depthwise": ({"kernel": 5}, None),
    "swish": ({"middle": lambda x: layers.Activation("silu")(x)}, None),
    "stride 2 same": ({"pad": 0}, "'stem' is padded by"),
    "5x5 stem": ({"first": 5, "pad": 2}, "'stem' is a 5x5 convolution"),
    "gray images": ({"channels": 1}, "'stem' is a 3x3 convolution of 1 channels"),
    "7x7 depthwise": ({"kernel": 7}, "'depthwise' is a 7x7 depthwise"),
    "max pooling": ({"middle": layers.MaxPooling2D(2, 1, "same")}, "MaxPooling2D"),
    "ends in a maximum": ({"end": False}, "GlobalMaxPooling2D"),
    "odd sizes": ({"size": 33}, "strides 2 on odd sizes"),
    "stride 2 depthwise": (
        {
            "middle": lambda x: layers.DepthwiseConv2D(3, 1, padding="valid", name="odd")(
                layers.ZeroPadding2D(((0, 2), (0, 2)))(x)
            )
        },
        "'odd' is padded by",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_rule_that_fails_is_named(change):
    settings, rule = CHANGES[change]
    found = deploy.eligibility(net(**settings), runtime="xnnpack-arm")
    assert [row.weight for row in found.rows if row.kind == "1x1 convolution"] == [
        "one/kernel",
        "two/kernel",
    ]
    for fast, why in pointwise(found):
        assert fast == (rule is None)
        assert (rule or "") in why
    assert all(row.cure for row in found.rows if not row.fast)
    assert found.all_fast() == (rule is None)


@pytest.mark.parametrize("change", CHANGES)
def test_a_model_and_its_file_are_judged_alike(change, tmp_path):
    model = prune(net(**CHANGES[change][0]), 0.8)
    before = deploy.eligibility(model)
    deploy.to_litert(model, tmp_path / "m.tflite", tolerance=1e-3)
    after = deploy.eligibility(tmp_path / "m.tflite")
    assert [fast for fast, _ in pointwise(before)] == [fast for fast, _ in pointwise(after)]
    assert len(before.rows) == len(after.rows)


def test_two_thirds_of_all_1x1_weights_must_be_zero(tmp_path):
    model = prune(net(), 0.6)
    found = deploy.eligibility(model)
    assert {fast for fast, _ in pointwise(found)} == {False}
    assert "not more than 2/3" in pointwise(found)[0][1]
    assert "70" not in pointwise(found)[0][1]


def test_a_value_read_outside_of_the_cluster_makes_it_dense():
    model = net()
    tapped = keras.Model(model.inputs, [model.output, model.get_layer("one").output])
    assert "is an output of the model" in pointwise(deploy.eligibility(tapped))[0][1]


def test_zeros_that_are_stored_dense_save_nothing(tmp_path):
    model = prune(net(), 0.8)
    deploy.to_litert(model, tmp_path / "m.tflite", sparse=False, tolerance=1e-3)
    found = deploy.eligibility(tmp_path / "m.tflite")
    assert not found.fast
    assert {row.cure for row in found.slow if row.kind == "1x1 convolution"} == {
        "Export with sparse=True"
    }


@pytest.mark.parametrize("runtime", ["xnnpack-x86", "litert-builtin", "xnnpack-arm"])
def test_dense_layers_need_blocks_of_four(runtime, tmp_path):
    for block, fast in ((1, False), (4, True)):
        model = prune(perceptron(), 0.8, block)
        model.layers[-1].kernel.assign(np.ones((64, 8)))
        assert deploy.eligibility(model, runtime).all_fast() == fast
        deploy.to_litert(model, tmp_path / "m.tflite")
        assert deploy.eligibility(tmp_path / "m.tflite", runtime).all_fast() == fast


def test_inputs_that_no_block_divides_and_several_positions_are_slow():
    rule = deploy.eligibility(perceptron(6), "litert-builtin").rows[0].rule
    assert "no multiple" in rule
    several = keras.Sequential([keras.Input((7, 8)), layers.Dense(8), layers.Dense(8)])
    assert "multiplies 7 vectors" in deploy.eligibility(several, "litert-builtin").rows[0].rule


def test_eight_bits_need_blocks_of_sixteen_and_built_in_kernels():
    model = perceptron(64, 64)
    assert deploy.eligibility(model, "litert-builtin", quantize="dynamic").all_fast()
    rows = deploy.eligibility(model, "xnnpack-x86", quantize="dynamic").rows
    assert not any(row.fast for row in rows)
    assert "wrong numbers" in rows[0].rule
    assert not deploy.eligibility(net(), "xnnpack-arm", quantize="int8").fast


def test_weights_of_four_bits_are_stored_dense():
    for runtime in ("xnnpack-arm", "litert-builtin"):
        assert deploy.eligibility(net(), runtime).fast
        for quantize in ("weight_only_int4", "dynamic_int4", "dynamic_int4_blocks"):
            found = deploy.eligibility(net(), runtime, quantize)
            assert not found.fast
            assert all("four bits" in row.rule and row.cure for row in found.rows)


def test_microcontrollers_have_nothing_for_zeros():
    found = deploy.eligibility(lenet(), "litert-micro")
    assert not found.fast
    assert {"sparse=False" in row.cure for row in found.rows} == {True}


def test_layers_of_all_kinds_are_accounted_for():
    inputs = keras.Input((12, 8))
    x = layers.LSTM(8, return_sequences=True)(layers.Conv1D(8, 3)(inputs))
    x = layers.MultiHeadAttention(2, 4)(x, x)
    model = keras.Model(inputs, layers.Dense(3)(layers.Flatten()(x)))
    kernels = {w.path for w in model.weights if w.name.endswith("kernel")}
    assert {row.weight for row in deploy.eligibility(model).rows} == kernels


def test_the_packages_mobilenet_is_eligible_and_keras_own_is_not():
    ours = ks.models.mobilenet(0.25, (96, 96, 3))
    assert deploy.eligibility(ours, "xnnpack-arm").all_fast()
    assert not deploy.eligibility(ours, "xnnpack-x86").all_fast()
    theirs = keras.applications.MobileNetV2((96, 96, 3), 0.35, weights=None)
    found = deploy.eligibility(theirs, "xnnpack-arm")
    rules = {row.rule for row in found.slow if row.kind == "1x1 convolution"}
    assert rules
    assert all("is padded by (0, 1, 0, 1)" in rule for rule in rules)
    assert all("make_eligible" in row.cure for row in found.slow if row.kind == "1x1 convolution")


def test_wrong_questions_are_refused(tmp_path):
    with pytest.raises(ValueError, match="xnnpack-arm"):
        deploy.eligibility(perceptron(), "xnpack-arm")
    with pytest.raises(ValueError, match="quantize"):
        deploy.eligibility(perceptron(), quantize="int9")
    with pytest.raises(ValueError, match="model_or_path"):
        deploy.eligibility(3)
    with pytest.raises(FileNotFoundError):
        deploy.eligibility(tmp_path / "missing.tflite")


def test_the_command_checks_models_and_files(tmp_path, capsys):
    model, path = prune(perceptron(), 0.8, 4), tmp_path / "m.keras"
    model.save(path)
    arguments = ["eligibility", str(path), "--runtime", "litert-builtin"]
    assert cli.main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["all_fast"] is True
    assert cli.main([*arguments, "--check"]) == 0
    assert cli.main([*arguments, "--check", "--quantize", "dynamic"]) == 1
    assert cli.main(["eligibility", str(path), "--runtime", "other"]) == 2
