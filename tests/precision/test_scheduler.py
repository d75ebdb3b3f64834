"""Training in low precision by a callback."""

import warnings

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_sparse as ks
from keras_sparse.engine.fit_callback import FitCallback
from keras_sparse.precision import ConstantPrecision, CyclicPrecision, StepPrecision
from tests.training import (
    EPOCHS,
    STEPS,
    Interrupt,
    assert_same,
    compiled,
    conv_net,
    dense_net,
    fit,
    kernels,
    values,
)

ALL = EPOCHS * STEPS


@pytest.fixture(autouse=True)
def _short_cycles_are_meant():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Cycles of")
        yield


class Spy(layers.Layer):
    """Counts how often it is traced in training."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.traced = 0

    def call(self, x, training=False):
        self.traced += bool(training)
        return x


def scheduler(schedule="CR", **kwargs):
    return ks.PrecisionScheduler(schedule, cycles=2, **kwargs)


def test_the_bits_in_the_graph_are_those_of_the_host():
    from keras_sparse.precision.force import Widths

    for name in ("RR", "RTH", "CR", "ETH"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            bits = CyclicPrecision.from_name(name, num_cycles=2, total_steps=97).bits()
        widths = Widths(bits, 8)
        found = [float(widths.at(ops.convert_to_tensor(t, "int32"))) for t in range(99)]
        assert found == [*map(float, bits), 8.0, 8.0]


def test_many_bits_are_the_float_model(images):
    plain = fit(compiled(conv_net()), images, epochs=2)
    model = compiled(conv_net())
    found = fit(model, images, scheduler(ConstantPrecision(32), keep_float=()), epochs=2)
    np.testing.assert_allclose(found.history["loss"], plain.history["loss"], atol=1e-5)


def test_equal_ends_train_as_the_static_schedule(images):
    models = [compiled(dense_net()) for _ in range(2)]
    schedules = CyclicPrecision(q_min=8, q_max=8), ConstantPrecision(8)
    for model, schedule in zip(models, schedules, strict=True):
        fit(model, images, scheduler(schedule, rounding="nearest"), epochs=2)
    assert_same(*models)


def test_low_precision_changes_the_training_and_is_counted(images):
    model = compiled(dense_net())
    callback = scheduler(q_min=2, q_max=6)
    history = fit(model, images, callback, epochs=EPOCHS, validation_data=images).history
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = CyclicPrecision(num_cycles=2, q_min=2, q_max=6, total_steps=ALL)
    q = expected.bits().astype(float)
    by_epoch = q.reshape(EPOCHS, STEPS).mean(axis=1)
    np.testing.assert_allclose(history["precision"], by_epoch)
    assert history["relative_bitops"][-1] == pytest.approx(expected.relative_cost())
    spent = 64 * 24 * np.sum(q * q + 2 * q * 6) / 1024
    assert history["bitops"][-1] == pytest.approx(spent, rel=1e-2)  # Of nonzero weights.
    assert callback.report.quantized == ("hidden",)
    assert "keep_float" in callback.report.float32["logits"]


def test_the_forward_pass_has_the_bits_of_the_step():
    """A layer whose output is its rounded kernel shows how many values it takes."""
    seen = []
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((16,)), layers.Dense(16, use_bias=False, name="one"), layers.Dense(3)]
    )
    compiled(model, keras.optimizers.SGD(0.0))
    x = np.eye(16, dtype="float32")
    stairs = StepPrecision([(0, 2), (2, 3), (4, 4)])
    watch = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(logs["loss"])
    )
    model.fit(
        x,
        np.zeros(16, int),
        batch_size=16,
        epochs=6,
        verbose=0,
        shuffle=False,
        callbacks=[scheduler(stairs, weights="tensor"), watch],
    )
    kernel = ops.convert_to_numpy(model.get_layer("one").kernel)
    other, bias = (ops.convert_to_numpy(v) for v in model.layers[-1].weights)
    for step, loss in enumerate(seen):
        bits = (2, 2, 3, 3, 4, 4)[step]
        low, top = kernel.min(), 2**bits - 1
        scale = (kernel.max() - low) / top
        rounded = np.rint((kernel - low) / scale) * scale + low
        logits = rounded @ other + bias
        expected = np.mean(np.log(np.exp(logits).sum(axis=1)) - logits[:, 0])
        assert loss == pytest.approx(expected, abs=1e-4)


@pytest.mark.jax
def test_a_step_by_hand_is_the_same():
    """One dense layer at 3 bits, gradients to the nearest at 4, against numpy."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(8, 5)).astype("float32")
    y = generator.normal(size=(8, 3)).astype("float32")
    model = keras.Sequential([keras.Input((5,)), layers.Dense(3, name="d")])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    before = [ops.convert_to_numpy(v).copy() for v in model.weights]
    schedule = StepPrecision([(0, 3), (100, 4)])
    model.fit(
        x,
        y,
        batch_size=8,
        verbose=0,
        callbacks=[scheduler(schedule, keep_float=(), rounding="nearest")],
    )

    def rounded(value, bits, axis=None):
        low = value.min(axis=axis, keepdims=True)
        scale = (value.max(axis=axis, keepdims=True) - low) / (2**bits - 1)
        scale = np.maximum(scale, 1e-8)
        return np.rint((value - low) / scale) * scale + low

    kernel, bias = before
    x_low = rounded(x, 3)
    out = x_low @ rounded(kernel, 3, 0) + rounded(bias, 3)
    slope = rounded(2 * (out - y) / y.size, 4)
    np.testing.assert_allclose(
        ops.convert_to_numpy(model.weights[0]), kernel - 0.1 * x_low.T @ slope, atol=1e-5
    )
    np.testing.assert_allclose(
        ops.convert_to_numpy(model.weights[1]), bias - 0.1 * slope.sum(axis=0), atol=1e-5
    )


def test_one_trace_for_a_whole_fit(images):
    spy = Spy()
    model = keras.Sequential(
        [keras.Input((8, 8, 1)), layers.Flatten(), spy, *dense_net().layers[1:]]
    )
    compiled(model)
    spy.traced = 0
    fit(model, images, scheduler("LT"), epochs=EPOCHS)
    assert spy.traced == 1


def test_the_model_is_the_user_s_own_again(images, tmp_path):
    model = compiled(conv_net())
    inner = list(model._flatten_layers(include_self=False))
    before = {layer.name: set(vars(layer)) for layer in inner}
    variables = [v.path for v in model.variables]
    inside = []

    def save(epoch, logs):
        inside.append("call" in vars(model.get_layer("conv")))
        model.save(tmp_path / "middle.keras")

    fit(model, images, scheduler(), keras.callbacks.LambdaCallback(on_epoch_end=save), epochs=2)
    assert inside == [True, True]
    assert {layer.name: set(vars(layer)) for layer in inner} == before
    assert [v.path for v in model.variables] == variables
    assert "train_step" not in vars(model)
    saved = keras.models.load_model(tmp_path / "middle.keras")
    assert_same(saved, model)
    assert [type(layer) for layer in saved.layers] == [type(layer) for layer in model.layers]
    assert isinstance(saved.optimizer, keras.optimizers.SGD)


def test_a_divergence_gives_the_layers_back(images):
    model = compiled(conv_net())
    with pytest.raises(FloatingPointError):
        fit(model, (images[0] * np.nan, images[1]), scheduler())
    assert "call" not in vars(model.get_layer("conv"))
    assert "train_step" not in vars(model)


@pytest.mark.jax
def test_a_new_fit_after_an_interrupted_one_takes_over(images):
    model = compiled(dense_net())
    with pytest.raises(KeyboardInterrupt):
        fit(model, images, scheduler(), Interrupt(1, 2))
    fit(model, images, scheduler(), epochs=1)
    assert "call" not in vars(model.get_layer("hidden"))
    assert "train_step" not in vars(model)
    assert not model._seed_generators


def test_resuming_is_the_same_as_not_stopping(images):
    whole, parts = compiled(dense_net()), compiled(dense_net())
    fit(whole, images, scheduler("RTV", seed=3))
    fit(parts, images, scheduler("RTV", seed=3, total_steps=ALL), epochs=3)
    later = scheduler("RTV", seed=3)
    fit(parts, images, later, initial_epoch=3)
    assert_same(parts, whole, 2e-6)


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="compiles for minutes")
@pytest.mark.parametrize("settings", [{"steps_per_execution": 4}, {"jit_compile": True}])
def test_in_graph(images, settings):
    plain, other = compiled(conv_net(), jit_compile=False), compiled(conv_net(), **settings)
    schedule = StepPrecision([(0, 3), (5, 5), (9, 8)])
    for model in (plain, other):
        fit(model, images, scheduler(schedule, rounding="nearest"), epochs=2)
    # A value near the middle of two levels may fall to either side.
    assert_same(other, plain, 0.02)


@pytest.mark.jax
def test_gradient_accumulation_counts_optimizer_steps(images):
    optimizer = keras.optimizers.SGD(0.05, gradient_accumulation_steps=2)
    callback = scheduler(StepPrecision([(0, 4), (6, 8)]))
    history = fit(compiled(dense_net(), optimizer), images, callback, epochs=4).history
    assert history["precision"] == [4, 4, 8, 8]


def test_an_epoch_may_keep_its_bits(images):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = CyclicPrecision(num_cycles=2, total_steps=ALL).bits()[::STEPS]
    model = compiled(dense_net())
    history = fit(model, images, scheduler(update_freq="epoch")).history
    assert history["precision"] == expected.tolist()


def test_evaluation_is_at_the_most_bits(images):
    """In the middle of a cycle, and by the running ranges."""
    x, y = images
    found = {}
    for evaluate in ("max", "float"):
        model = compiled(dense_net())
        callback = scheduler(ConstantPrecision(2, 16), evaluate=evaluate)
        history = fit(model, images, callback, epochs=3, validation_data=images).history
        found[evaluate] = history["val_loss"][-1]
        after = model.evaluate(x, y, verbose=0)[0]
        # 16 bits change nothing but what the running range clips.
        assert found[evaluate] == pytest.approx(after, rel=0.02 if evaluate == "max" else 1e-6)
    assert found["max"] != found["float"]


@pytest.mark.parametrize("method", [ks.GMP, ks.CrAM, ks.RigL])
@pytest.mark.parametrize("first", [True, False])
def test_sparse_methods_keep_their_zeros(images, method, first):
    model = compiled(dense_net())
    both = [scheduler(quantizer="symmetric"), method(0.5)]
    ends_sparse = both[1].ends_sparse
    callback = both[0]
    fit(model, images, *(both if first else both[::-1]))
    assert callback.report.quantizer == "symmetric"
    assert "train_step" not in vars(model)
    if ends_sparse:
        zeros = sum(int((k == 0).sum()) for k in kernels(model))
        assert zeros == pytest.approx(sum(k.size for k in kernels(model)) / 2, abs=2)


def test_affine_rounding_of_sparse_weights_is_refused_or_switched(images):
    model = compiled(dense_net())
    with pytest.raises(ValueError, match="does not keep zeros zero, and this fit prunes"):
        fit(model, images, scheduler(quantizer="affine"), ks.GMP(0.5))
    assert "call" not in vars(model.get_layer("hidden"))
    callback = scheduler()
    with pytest.warns(ks.SparsityWarning, match="symmetric"):
        fit(model, images, ks.GMP(0.5), callback)
    assert callback.report.quantizer == "symmetric"
    with pytest.raises(ValueError, match="of the weights are zero"):
        fit(model, images, scheduler(quantizer="affine"), epochs=1)


def test_bit_operations_of_nonzero_weights():
    model = keras.Sequential([keras.Input((784,)), layers.Dense(128)])
    found = ks.precision.bitops(model, 3, 8, batch_size=32)
    assert found.multiplications == 3_211_264
    assert found.forward == 28_224
    assert found.step == 178_752
    assert ks.precision.bitops(model, 8, 8, batch_size=32).forward == 200_704
    kernel = model.layers[0].kernel
    kernel.assign(ops.where(ops.arange(128) < 32, kernel.value, 0.0))
    assert ks.precision.bitops(model, 3, 8, batch_size=32).step == 178_752 / 4


def test_bit_operations_of_attention():
    """Of 2 heads of 3 dimensions, from 6 places to 5; of 4 heads of 3, from 6 to 6."""
    query, value = keras.Input((6, 4)), keras.Input((5, 4))
    x = layers.MultiHeadAttention(2, 3, name="across")(query, value)
    x = layers.GroupQueryAttention(3, 4, 2, name="grouped")(x, x)
    model = keras.Model((query, value), x)
    projections = 4 * 6 * (6 + 5 + 5 + 6) + 4 * 12 * (6 + 6) + 4 * 6 * (6 + 6)
    products = 2 * 6 * 5 * (3 + 3), 4 * 6 * 6 * (3 + 3)
    found = ks.precision.bitops(model, 3, 8)
    assert found.multiplications == projections + sum(products)
    assert found.forward == found.multiplications * 9 / 1024
    # Both operands of a product of activations get a gradient, and no weight does.
    assert found.weight_gradient == projections * 24 / 1024
    assert found.step == found.multiplications * (9 + 2 * 24) / 1024
    some = ks.precision.bitops(model, 3, 8, exclude="grouped*")
    assert some.float_step == 3 * (4 * 12 * 12 + 4 * 6 * 12 + products[1])
    assert some.multiplications == 4 * 6 * 22 + products[0]


def test_wrong_arguments_are_refused():
    for kwargs, said in [
        ({"schedule": "XR"}, "name must be one of"),
        ({"q_min": 9}, "q_min must be at most q_max"),
        ({"quantizer": "symmetric", "q_min": 1}, "at least 2"),
        ({"aggregation": "none"}, "aggregation"),
        ({"keep_float": "middle"}, "keep_float"),
        ({"schedule": "CT", "cycles": 3}, "must be even"),
        ({"evaluate": "min"}, "evaluate"),
    ]:
        with pytest.raises(ValueError, match=said):
            ks.PrecisionScheduler(**kwargs)


def test_a_model_without_known_products_is_refused(images):
    class Own(layers.Layer):
        def build(self, shape):
            self.kernel = self.add_weight(shape=(shape[-1], 4), name="kernel")

        def call(self, x):
            return ops.matmul(x, self.kernel)

    model = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), Own(name="own")])
    with pytest.raises(ValueError, match="the products of a Own are not known"):
        fit(compiled(model), images, scheduler())


def test_one_bit_and_constant_tensors_train(images):
    model = compiled(dense_net())
    for weight in model.trainable_variables:
        weight.assign(ops.full(weight.shape, 0.1))
    x = np.ones_like(images[0])
    history = fit(model, (x, images[1]), scheduler(q_min=1, q_max=4), epochs=2).history
    assert np.isfinite(history["loss"]).all()


def test_a_copy_has_the_settings(images):
    import copy

    callback = scheduler("RR", q_min=4)
    fit(compiled(dense_net()), images, callback, epochs=1)
    again = copy.deepcopy(callback)
    assert again.schedule == callback.schedule
    assert isinstance(again, FitCallback)
    fit(compiled(dense_net()), images, again, epochs=1)


def test_moving_statistics_can_be_measured_anew(images):
    plain, model = compiled(conv_net()), compiled(conv_net())
    for each, data in ((plain, None), (model, images[0])):
        fit(each, images, scheduler(seed=0, recalibrate=data), epochs=2)
    for one, two in zip(values(plain), values(model), strict=True):
        np.testing.assert_array_equal(one, two)
    means = [ops.convert_to_numpy(m.get_layer("norm").moving_mean) for m in (plain, model)]
    assert np.abs(means[0] - means[1]).max() > 1e-4
