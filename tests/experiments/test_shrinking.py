"""Shrinking of trained classifiers, from the command line and in Python."""

import json

import keras
import numpy as np
import pytest
from keras import layers

from keras_sparse import data
from keras_sparse.cli import main
from keras_sparse.experiments.classifier import (
    Images,
    features,
    gives_logits,
    of_size,
    with_probed_head,
)
from keras_sparse.experiments.shrinking import ShrinkConfig
from keras_sparse_cli.options import SHRINK_OPTIONS

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="latency is measured with LiteRT"
)


def backbone(size=8, classes=None, activation=None):
    """Two convolutions and a classifier."""
    keras.utils.set_random_seed(0)
    i = keras.Input((size, size, 1))
    x = layers.Conv2D(16, 3, padding="same", activation="relu", name="a")(i)
    x = layers.BatchNormalization(name="norm")(layers.Conv2D(24, 3, strides=2, name="b")(x))
    x = layers.GlobalAveragePooling2D(name="pool")(layers.ReLU(name="relu")(x))
    if classes:
        x = layers.Dense(classes, activation=activation, name="top")(x)
    return keras.Model(i, x, name="net")


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


@pytest.fixture(scope="module")
def trained(tmp_path_factory, digits):
    """A classifier of digits that is saved with softmax, and its accuracy."""
    model = backbone(classes=10, activation="softmax")
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(*digits.train, epochs=15, verbose=0)
    path = tmp_path_factory.mktemp("trained") / "net.keras"
    model.save(path)
    return path, model.evaluate(*digits.test, verbose=0)[1]


def shrink(*words):
    return main(["shrink", *map(str, words), "--data", "digits", "--batch-size", "32"])


def test_a_smaller_plain_file_and_its_numbers(trained, tmp_path, capsys, digits):
    path, accuracy = trained
    out, numbers = tmp_path / "small.keras", tmp_path / "small.json"
    assert shrink(path, out, "--flops", 0.5, "--finetune", 4, "--json", numbers) == 0
    printed = capsys.readouterr().out
    result = json.loads(numbers.read_text())
    assert not result["probed"]
    assert result["accuracy"]["before"] == pytest.approx(accuracy, abs=1e-6)
    assert result["flops"]["after"] <= 0.5 * result["flops"]["before"]
    assert result["accuracy"]["finetuned"] > result["accuracy"]["pruned"]
    for key in ("parameters", "tflite_bytes", "keras_bytes"):
        assert result[key]["after"] < result[key]["before"]
    assert f"{result['accuracy']['finetuned']:.2%}" in printed
    assert f"{result['parameters']['after']:,}" in printed
    model = keras.saving.load_model(out)
    assert model.count_params() == result["parameters"]["after"]
    assert not model.compiled
    found = np.mean(model.predict(digits.x_test, verbose=0).argmax(-1) == digits.y_test)
    assert found == pytest.approx(result["accuracy"]["finetuned"], abs=1e-6)


def test_a_new_head_for_other_classes(tmp_path, capsys):
    model = backbone(size=16, classes=7)
    model.save(tmp_path / "net.keras")
    words = ("--params", 0.6, "--method", "taylor", "--finetune", 0, "--steps", 2, "--images", 400)
    assert shrink(tmp_path / "net.keras", *words, "--image-size", 12) == 0
    printed = capsys.readouterr().out
    assert "Outputs of shape (7,) are not the 10 classes of digits" in printed
    assert printed.count("fine-tuning epoch") == 1  # Between the steps.
    assert "test accuracy, fine-tuned" not in printed
    smaller = keras.saving.load_model(tmp_path / "net_shrunk.keras")
    assert smaller.input_shape == (None, 12, 12, 1)
    assert smaller.output_shape == (None, 10)


def test_sizes_that_are_multiples(tmp_path):
    backbone(classes=10).save(tmp_path / "net.keras")
    sizes = {}
    for multiple in (1, 8):
        words = ("--flops", 0.5, "--finetune", 0, "--images", 100, "--round-to", multiple)
        assert shrink(tmp_path / "net.keras", tmp_path / "out.keras", *words) == 0
        smaller = keras.saving.load_model(tmp_path / "out.keras")
        sizes[multiple] = [smaller.get_layer(name).filters for name in "ab"]
    assert any(size % 8 for size in sizes[1])
    assert sizes[8] in ([8, 16], [16, 8], [8, 8])


def test_a_probed_head_is_the_regression_on_the_features(digits):
    model, images = backbone(classes=7, activation="softmax"), Images(digits, (8, 8, 1))
    probed = with_probed_head(model, images)
    assert gives_logits(probed, images)
    assert not gives_logits(model, images)
    seen = features(model)
    assert seen.output_shape == (None, 24)
    x = seen.predict(digits.x_test, verbose=0)
    kernel, bias = probed.get_layer("probed_head").get_weights()
    np.testing.assert_allclose(
        probed.predict(digits.x_test, verbose=0), x @ kernel + bias, atol=1e-3
    )
    found = np.mean(probed.predict(digits.x_test, verbose=0).argmax(-1) == digits.y_test)
    assert found > 0.6


def test_features_without_a_classifier_are_the_outputs():
    model = backbone()
    assert features(model).output is not None
    assert features(model).output_shape == model.output_shape == (None, 24)


def test_a_classifier_by_convolution():
    i = keras.Input((8, 8, 1))
    x = layers.GlobalAveragePooling2D(keepdims=True)(layers.Conv2D(6, 3)(i))
    x = layers.Flatten()(layers.Conv2D(7, 1)(x))
    assert features(keras.Model(i, layers.Softmax()(x))).output_shape == (None, 6)


def test_pixels_are_normalized_and_grey_is_repeated(digits):
    images = Images(digits, (8, 8, 3), normalize=(8.0, 4.0), test=5)
    (x, y), *more = images.test_batches()
    assert not more
    pixels = digits.x_test[:5] * digits.std + digits.mean
    np.testing.assert_allclose(x, np.repeat((pixels - 8) / 4, 3, axis=-1), atol=1e-5)
    np.testing.assert_array_equal(y, digits.y_test[:5])


def test_another_size_keeps_the_weights():
    model = backbone(classes=10)
    larger = of_size(model, 12, (8, 8))
    assert of_size(model, None, (5, 5)) is model
    assert larger.input_shape == (None, 12, 12, 1)
    for a, b in zip(model.get_weights(), larger.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    flat = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(10)])
    with pytest.raises(ValueError, match="Leave image_size out"):
        of_size(flat, 12, (8, 8))
    with pytest.raises(ValueError, match="models of one image"):
        of_size(keras.Sequential([keras.Input((4,)), layers.Dense(10)]), None, (8, 8))


def test_zeros_are_kept_where_asked(trained, tmp_path):
    model = keras.saving.load_model(trained[0])
    kernel = model.get_layer("b").kernel
    kernel.assign(kernel.numpy() * (np.random.default_rng(0).random(kernel.shape) < 0.3))
    model.save(tmp_path / "sparse.keras")
    words = (tmp_path / "sparse.keras", tmp_path / "out.keras", "--flops", 0.6, "--finetune", 1)
    found = []
    for more in ((), ("--keep-zeros",)):
        assert shrink(*words, *more) == 0
        smaller = keras.saving.load_model(tmp_path / "out.keras")
        found.append(np.mean(smaller.get_layer("b").kernel.numpy() == 0))
    assert found[0] < 0.1
    assert found[1] > 0.5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "Give one target"),
        (("--flops", 0.5, "--params", 0.5), "Give one target"),
        (("--flops", 0.5, "--method", "l3"), "method"),
        (("--flops", 0.5, "--finetune", -1), "finetune must be"),
        (("--flops", 0.5, "--normalize", 1, 0), "normalize must be two numbers"),
        (("--flops", 0.001, "--finetune", 0), "cannot be met"),
        (("--flops", 0.5, "--images", 5), "classes: take more of them"),
    ],
)
def test_what_cannot_be_is_explained_and_nothing_is_written(tmp_path, capsys, words, message):
    backbone(classes=7 if "--images" in words else 10).save(tmp_path / "net.keras")
    assert shrink(tmp_path / "net.keras", *words) == 2
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["net.keras"]


def test_where_it_cannot_be_written(trained, tmp_path, capsys):
    assert shrink(trained[0], tmp_path / "none" / "m.keras", "--flops", 0.5) == 2
    assert "does not exist" in capsys.readouterr().err


def test_help_tells_the_truth():
    """The command line repeats names and defaults in order not to import Keras for them."""
    config = ShrinkConfig(flops=0.5)
    stated = {name: option.default for name, option in SHRINK_OPTIONS.items()}
    actual = {name: getattr(config, name) for name in stated}
    assert stated | {"flops": 0.5} == actual
    assert set(ShrinkConfig.__dataclass_fields__) == {*stated, "keep_zeros"}
