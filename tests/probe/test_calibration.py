"""One contract for calibration data, whoever asks for it."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_sparse as ks
from keras_sparse.probe.calibration import calibration_batches
from tests.posttrain.calibrated import small_net
from tests.training import conv_net, kernels

SAMPLES, SIZE = 48, 16


class Batches(keras.utils.PyDataset):
    """`(x, y)` in batches; asked for one too many it fails, as it has no end of its own."""

    def __init__(self, x, y):
        super().__init__()
        self.x, self.y = x, y

    def __len__(self):
        return SAMPLES // SIZE

    def __getitem__(self, index):
        assert index < len(self)
        part = slice(index * SIZE, (index + 1) * SIZE)
        return self.x[part], self.y[part]


class Endless(keras.utils.PyDataset):
    num_batches = None

    def __getitem__(self, index):
        return np.zeros((SIZE, 8, 8, 1), "float32"), np.zeros(SIZE)


def parts(x):
    return [x[i : i + SIZE] for i in range(0, len(x), SIZE)]


def dataset(*sides):
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices(sides if len(sides) > 1 else sides[0]).batch(SIZE)


FORMS = {
    "array": lambda x, y: x,
    "pair": lambda x, y: (x, y),
    "with weights": lambda x, y: (x, y, np.ones(len(x))),
    "no targets": lambda x, y: (x, None),
    "batches": lambda x, y: parts(x),
    "batches of pairs": lambda x, y: list(zip(parts(x), parts(y), strict=True)),
    "batches of lists": lambda x, y: [list(b) for b in zip(parts(x), parts(y), strict=True)],
    "dataset": lambda x, y: dataset(x),
    "dataset of pairs": dataset,
    "generator": lambda x, y: iter(parts(x)),
    "PyDataset": Batches,
}


def some(images):
    return images[0][:SAMPLES], images[1][:SAMPLES]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_the_same_data(images, form):
    x, y = some(images)
    data = FORMS[form](x, y)
    found = list(calibration_batches(conv_net(), data, SIZE, targets=False))
    assert [len(a) for a, _ in found] == [SIZE] * 3
    np.testing.assert_array_equal(np.concatenate([np.asarray(a) for a, _ in found]), x)
    if found[0][1] is not None:
        np.testing.assert_array_equal(np.concatenate([np.asarray(b) for _, b in found]), y)


@pytest.mark.parametrize("form", FORMS)
def test_batch_norm_tuning_takes_every_form(images, form):
    x, y = some(images)
    model, other = conv_net(), conv_net()
    settings = {"batch_size": SIZE, "steps": None, "momentum": None}
    ks.batch_norm_tuning(model, FORMS[form](x, y), **settings)
    ks.batch_norm_tuning(other, parts(x), **settings)
    # Arrays come in an order of their own, which the mean of means does not see.
    np.testing.assert_allclose(
        model.get_layer("norm").moving_mean, other.get_layer("norm").moving_mean, rtol=1e-4
    )


@pytest.mark.parametrize("form", ["array", "dataset", "PyDataset"])
@pytest.mark.parametrize(
    "method", [ks.obc, ks.sparsegpt, ks.wanda, ks.adaprune, ks.global_adaprune]
)
def test_methods_by_layers_outputs_need_no_targets(images, method, form):
    x, y = some(images)
    one, two = small_net(), small_net()
    options = {} if method is ks.wanda else {"damping": 0.1}
    method(one, FORMS[form](x, y), 0.5, exclude=["conv", "hidden"], **options)
    method(two, (x, y), 0.5, exclude=["conv", "hidden"], **options)
    for a, b in zip(kernels(one), kernels(two), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def two_inputs(struct):
    a, b = keras.Input((3,), name="a"), keras.Input((4,), name="b")
    merged = layers.Concatenate()([layers.Dense(2, name="left")(a), layers.Dense(2)(b)])
    outputs = layers.BatchNormalization(name="norm")(merged)
    return keras.Model({"a": a, "b": b} if struct is dict else [a, b], outputs)


@pytest.mark.parametrize("struct", [list, dict])
@pytest.mark.parametrize("by", ["arrays", "batches", "pairs"])
def test_several_inputs(struct, by):
    model = two_inputs(struct)
    generator = np.random.default_rng(0)
    sides = [generator.normal(size=(32, n)).astype("float32") for n in (3, 4)]

    def cut(part):
        a, b = (side[part] for side in sides)
        return {"b": b, "a": a} if struct is dict else [a, b]

    halves = [cut(slice(0, 16)), cut(slice(16, 32))]
    pairs = [(half, np.zeros(16)) for half in halves]
    data = {"arrays": cut(slice(None)), "batches": halves, "pairs": pairs}[by]
    assert len(list(calibration_batches(model, data, 16, targets=False))) == 2
    assert ks.batch_norm_tuning(model, data, batch_size=16, steps=4) == 1
    assert ks.sparsegpt(model, data, 0.5, damping=0.1).sparsity == 0.5


@pytest.mark.parametrize(
    "form", ["with weights", "batches of lists", "dataset of pairs", "PyDataset"]
)
@pytest.mark.parametrize("method", [ks.obd, ks.woodfisher, ks.mfac, ks.obs])
def test_methods_by_the_loss_take_every_form_with_targets(images, method, form):
    x, y = some(images)
    one, two = small_net(), small_net()
    options = {"samples_per_gradient": 8, "exclude": ["conv", "hidden"]}
    method(one, FORMS[form](x, y), 0.5, **options)
    method(two, (x, y), 0.5, **options)
    for a, b in zip(kernels(one), kernels(two), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("method", [ks.obd, ks.woodfisher, ks.mfac, ks.obs])
@pytest.mark.parametrize("form", ["array", "batches", "dataset"])
def test_methods_by_the_loss_say_that_they_need_targets(images, method, form):
    data = FORMS[form](*some(images))
    with pytest.raises(ValueError, match=r"needs targets too. Give \(x, y\)"):
        method(small_net(), data, 0.5, exclude=["conv", "hidden"])


@pytest.mark.parametrize("empty", [lambda x: x[:0], lambda x: [], lambda x: [x[:0]]])
def test_no_samples(images, empty):
    data = empty(images[0])
    with pytest.raises(ValueError, match="holds no batch"):
        list(calibration_batches(conv_net(), data, targets=False))
    with pytest.raises(ValueError, match=r"holds no batch|at least two samples"):
        ks.batch_norm_tuning(conv_net(), data)


@pytest.mark.parametrize("make", [lambda x: Endless(), lambda x: dataset(x).repeat()])
def test_data_without_end(images, make):
    data = make(images[0])
    with pytest.raises(ValueError, match="has no end"):
        ks.obc(small_net(), data, 0.5)
    with pytest.raises(ValueError, match="has no end"):
        ks.batch_norm_tuning(conv_net(), data, steps=None)
    assert ks.batch_norm_tuning(conv_net(), data, steps=3) == 1


def test_calibration_batches(images):
    x, y = images
    model = conv_net()
    batches = list(calibration_batches(model, (x, y), batch_size=40))
    assert [len(a) for a, _ in batches] == [40, 40, 16]
    np.testing.assert_array_equal(np.concatenate([b for _, b in batches]), y)
    assert [len(a) for a, _ in calibration_batches(model, batches)] == [40, 40, 16]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (lambda x, y: (x[:0], y[:0]), "holds no batch"),
        (lambda x, y: (x, y[:5]), "one entry per sample"),
        (lambda x, y: (x[:, :4], y), r"takes inputs of shape .*\(96, 4, 8, 1\)"),
        (lambda x, y: [x], "needs targets"),
        (lambda x, y: 3, "Received: data=3"),
        (lambda x, y: iter(()), "holds no batch"),
    ],
)
def test_bad_calibration_data(images, data, message):
    with pytest.raises(ValueError, match=message):
        list(calibration_batches(conv_net(), data(*images)))
