"""Reference networks: their sizes, their structure, and what a seed fixes."""

import keras
import numpy as np
import pytest

from keras_sparse import models

_SMALL = {
    "lenet300": {"input_shape": (8, 8, 1)},
    "lenet5": {"input_shape": (8, 8, 1)},
    "resnet20": {"width": 4, "input_shape": (16, 16, 3)},
    "mobilenet": {"alpha": 0.25, "blocks": [(64, 1), (128, 2)], "input_shape": (16, 16, 3)},
}


def _weights(model):
    return {w.path: w.numpy() for w in model.trainable_weights}


def _call(model, x):
    return keras.tree.map_structure(keras.ops.convert_to_numpy, model(x))


def _trainable(model):
    return sum(int(np.prod(w.shape)) for w in model.trainable_weights)


def _nodes(model, kind):
    return [layer for layer in model.layers if isinstance(layer, kind)]


@pytest.mark.parametrize(
    ("build", "kwargs", "count"),
    [
        (models.lenet_300_100, {}, 266_610),  # SNIP spec, table of architectures
        (models.lenet_300_100, {"input_shape": (784,)}, 266_610),
        (models.lenet5_caffe, {}, 431_080),  # SNIP spec, table of architectures
        (models.lenet5_caffe, {"input_shape": (8, 8, 1)}, 131_080),
        (models.resnet20, {}, 269_722),  # He et al. 2016, table 6: 0.27M
        (models.resnet20, {"width": 8}, 68_050),
        (models.mobilenet, {"num_classes": 1000}, 4_231_976),  # Howard et al. 2017: 4.2M
        (models.mobilenet, {"input_shape": (32, 32, 3)}, 3_217_226),
    ],
)
def test_parameter_counts(build, kwargs, count):
    assert _trainable(build(**kwargs)) == count


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=[pytest.mark.thorough] * (n in ("mobilenet", "resnet20")))
        for n in models.names()
    ],
)
def test_shapes_and_a_training_step(name):
    model = models.get(name, num_classes=7, seed=0, **_SMALL[name])
    x = np.random.default_rng(0).normal(size=(8, *_SMALL[name]["input_shape"])).astype("float32")
    logits = _call(model, x)
    assert logits.shape == (8, 7)
    assert logits.min() < 0  # not probabilities
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), loss, jit_compile=False)
    losses = model.fit(x, np.arange(8) % 7, epochs=5, verbose=0).history["loss"]
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("name", models.names())
def test_seed_fixes_the_weights(name):
    one, two, other, free = (
        _weights(models.get(name, seed=seed, **_SMALL[name])) for seed in (5, 5, 6, None)
    )
    for path, value in one.items():
        np.testing.assert_array_equal(value, two[path])
    kernels = [path for path in one if path.endswith("kernel")]
    assert kernels
    for path in kernels:
        assert not np.array_equal(one[path], other[path])
        assert not np.array_equal(one[path], free[path])


def test_layers_of_one_shape_differ():
    weights = _weights(models.resnet20(4, seed=0))
    kernels = [w for path, w in weights.items() if "stage1" in path and path.endswith("kernel")]
    assert len(kernels) == 6
    assert len({kernel.tobytes() for kernel in kernels}) == 6


def test_without_a_seed_the_global_one_decides():
    keras.utils.set_random_seed(3)
    one = _weights(models.lenet_300_100((4, 4, 1)))
    keras.utils.set_random_seed(3)
    two = _weights(models.lenet_300_100((4, 4, 1)))
    for path, value in one.items():
        np.testing.assert_array_equal(value, two[path])


@pytest.mark.parametrize("name", models.names())
def test_saved_file_needs_stock_keras_only(name, tmp_path):
    model = models.get(name, seed=1, **_SMALL[name])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert {type(layer).__module__.split(".")[0] for layer in loaded.layers} == {"keras"}
    assert "keras_sparse" not in model.to_json()
    assert not _nodes(loaded, keras.layers.Lambda)
    x = np.random.default_rng(0).normal(size=(2, *_SMALL[name]["input_shape"]))
    np.testing.assert_array_equal(_call(model, x), _call(loaded, x))


def test_lenet5_pads_small_images_only():
    for side, padding in ((28, "valid"), (16, "valid"), (15, "same"), (8, "same"), (4, "same")):
        model = models.lenet5_caffe((side, side, 1))
        assert {c.padding for c in _nodes(model, keras.layers.Conv2D)} == {padding}


def test_lenet5_has_one_relu():
    model = models.lenet5_caffe()
    activations = {x.name: x.activation.__name__ for x in model.layers if hasattr(x, "activation")}
    assert [name for name, a in activations.items() if a == "relu"] == ["dense1"]


def test_resnet_structure():
    model = models.resnet20()
    convs = _nodes(model, keras.layers.Conv2D)
    assert len(convs) == 19
    assert not any(conv.use_bias for conv in convs)
    assert [add.output.shape[1:] for add in _nodes(model, keras.layers.Add)] == (
        [(32, 32, 16)] * 3 + [(16, 16, 32)] * 3 + [(8, 8, 64)] * 3
    )


def test_resnet_shortcut_is_option_a():
    model = models.resnet20(4, input_shape=(8, 8, 3), seed=0)
    before, after = (
        model.get_layer(n).output for n in ("stage1_block3_relu2", "stage2_block1_shortcut")
    )
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype("float32")
    a, b = _call(keras.Model(model.input, [before, after]), x)
    np.testing.assert_array_equal(b[..., :4], a[:, ::2, ::2])
    np.testing.assert_array_equal(b[..., 4:], 0)


def test_resnet_strided_convolution_looks_where_the_shortcut_does():
    model = models.resnet20(2, input_shape=(8, 8, 3))
    convolution = model.get_layer("stage2_block1_conv1")
    kernel = np.zeros(convolution.kernel.shape, "float32")
    kernel[1, 1, 0, 0] = 1
    convolution.kernel.assign(kernel)
    before, after = (model.get_layer("stage1_block3_relu2").output, convolution.output)
    x = np.random.default_rng(0).normal(size=(1, 8, 8, 3)).astype("float32")
    a, b = _call(keras.Model(model.input, [before, after]), x)
    np.testing.assert_allclose(b[..., 0], a[:, ::2, ::2, 0], rtol=1e-6)


@pytest.mark.parametrize(("side", "sizes"), [(32, {16, 8, 4}), (224, {112, 56, 28, 14, 7})])
def test_mobilenet_is_eligible_for_sparse_xnnpack(side, sizes):
    """Rules 1 and 2 of XNNPACK's rewrite, on the Keras graph."""
    model = models.mobilenet(0.25, input_shape=(side, side, 3))
    first, *rest = model.layers[1:]
    assert first.padding == ((1, 1), (1, 1))
    stem = rest[0]
    assert (stem.kernel_size, stem.strides, stem.padding) == ((3, 3), (2, 2), "valid")
    assert stem.input.shape[-1] == 3
    seen = set()
    for layer in rest[1:-2]:
        assert isinstance(
            layer,
            keras.layers.ZeroPadding2D
            | keras.layers.DepthwiseConv2D
            | keras.layers.Conv2D
            | keras.layers.BatchNormalization
            | keras.layers.ReLU,
        )
        if isinstance(layer, keras.layers.DepthwiseConv2D):
            pad = model.layers[model.layers.index(layer) - 1]
            assert pad.padding == ((1, 1), (1, 1))
            assert (layer.kernel_size, layer.padding) == ((3, 3), "valid")
            assert layer.depth_multiplier == 1
        elif isinstance(layer, keras.layers.Conv2D):
            assert (layer.kernel_size, layer.strides) == ((1, 1), (1, 1))
            assert layer.name.endswith("_pointwise")
        if not isinstance(layer, keras.layers.ZeroPadding2D):
            seen.add(layer.output.shape[1])
    assert isinstance(rest[-2], keras.layers.GlobalAveragePooling2D)
    assert seen == sizes
    assert len(_nodes(model, keras.layers.DepthwiseConv2D)) == 13


def test_mobilenet_widths_follow_alpha():
    model = models.mobilenet(0.3, input_shape=(32, 32, 3), blocks=[(64, 1), (100, 2)])
    widths = [model.get_layer(n).filters for n in ("stem", "block1_pointwise", "block2_pointwise")]
    assert widths == [8, 16, 32]


def test_get_suggests_a_name():
    with pytest.raises(
        ValueError, match=r"'lenet300', 'lenet5'.*'resnet2'.*Did you mean 'resnet20'"
    ):
        models.get("resnet2")
    with pytest.raises(ValueError, match="Did you mean 'lenet5'"):
        models.get("LeNet5")
    with pytest.raises(TypeError, match="widht"):
        models.get("resnet20", widht=3)


@pytest.mark.parametrize(
    ("name", "kwargs", "message"),
    [
        ("lenet300", {"input_shape": (0, 8)}, "positive sizes"),
        ("lenet300", {"input_shape": ()}, "positive sizes"),
        ("lenet300", {"num_classes": 0}, "num_classes must be an integer of at least 1"),
        ("lenet5", {"input_shape": (3, 28, 1)}, "at least 4x4 pixels"),
        ("lenet5", {"input_shape": (784,)}, r"\(height, width, channels\).*flatten=False"),
        ("resnet20", {"width": 0}, "width must be an integer of at least 1"),
        ("resnet20", {"input_shape": (None, None, 3)}, "positive sizes"),
        ("mobilenet", {"alpha": -1}, "alpha must be a finite number greater than 0"),
        ("mobilenet", {"input_shape": (32, 32, 1)}, "3.*Repeat a gray channel"),
        ("mobilenet", {"blocks": [(64, 3)]}, "stride of 1 or 2"),
        ("mobilenet", {"blocks": []}, "blocks"),
    ],
)
def test_bad_arguments(name, kwargs, message):
    with pytest.raises(ValueError, match=message):
        models.get(name, **kwargs)
