"""Compression-aware training: the worked numbers, and what a step may and may not change."""

import collections

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_sparse as ks
from keras_sparse.methods.compression_aware.cram import CrAMRule
from keras_sparse.methods.compression_aware.drawn_operators import DrawnOperators
from keras_sparse.methods.compression_aware.two_gradient_step import TwoGradientStep
from keras_sparse.sparsity.operators import LargestKept
from keras_sparse.sparsity.selection import select
from tests.training import assert_same, compiled, conv_net, fit, values

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

THETA = (1, -0.5, 0.2, 0.3)
MASK = [True, True, False, False]


class Quadratic(layers.Layer):
    """`L(t) = t'At / 2 - b't` with A = diag(1, 2, 4, 1) and b = (1, 1, -2, 0.5), for any input."""

    def __init__(self, start, regularizer=None):
        super().__init__()
        self.start, self.regularizer = start, regularizer

    def build(self, shape):
        self.kernel = self.add_weight(shape=(4, 1), name="kernel", regularizer=self.regularizer)
        self.kernel.assign(np.reshape(self.start, (4, 1)))

    def call(self, inputs):
        t = self.kernel[:, 0]
        a, b = np.array([1, 2, 4, 1], "float32"), np.array([1, 1, -2, 0.5], "float32")
        return ops.sum(0.5 * a * t * t - b * t) + 0 * inputs


def quadratic(optimizer=None, start=THETA, regularizer=None):
    model = keras.Sequential([keras.Input((1,)), Quadratic(start, regularizer)])
    model.compile(optimizer or keras.optimizers.SGD(0.1), loss=lambda y, out: ops.mean(out))
    return model


def after(callback, steps=1, **kwargs):
    """The weights of the quadratic after steps of SGD with learning rate 0.1."""
    model = quadratic(**kwargs)
    zeros = np.zeros((2, 1), "float32")
    callbacks = [] if callback is None else [callback]
    model.fit(zeros, zeros, batch_size=2, epochs=steps, verbose=0, callbacks=callbacks)
    return values(model)[0][:, 0]


WORKED = {
    "CrAM": (lambda: ks.CrAM(0.5, 0.1, plus=False), (1, -0.26, 0, 0.35)),
    "CrAM-SG": (
        lambda: ks.CrAM(0.5, 0.1, plus=False, sparse_gradients=True),
        (1, -0.26, 0.2, 0.3),
    ),
    "CrAM+": (lambda: ks.CrAM(0.5, 0.1), (1, -0.06, -0.28, 0.37)),
    "CrAM+-SG": (lambda: ks.CrAM(0.5, 0.1, sparse_gradients=True), (1, -0.06, -0.08, 0.32)),
    "CrAM+-SG normalized": (
        lambda: ks.CrAM(0.5, 0.1, sparse_gradients=True, normalize=True),
        (1, -0.08839482, -0.08, 0.32),
    ),
    "SAM": (lambda: ks.SAM(0.1), (1, -0.28839482, -0.11249450, 0.32058027)),
    "CSAM": (lambda: ks.CSAM(0.5, 0.1), (1, -0.28, 0.2, 0.3)),
    "TopKPlus": (lambda: ks.TopKPlus(0.5), (1, -0.1, -0.08, 0.32)),
}


@pytest.mark.jax
@pytest.mark.parametrize("name", WORKED)
def test_one_step(name):
    """Equations 5.2, 5.4, 5.7, 5.9 and C.2 on the quadratic."""
    make, wanted = WORKED[name]
    np.testing.assert_allclose(after(make()), wanted, atol=1e-6)


@pytest.mark.jax
def test_coupled_and_decoupled_weight_decay_with_momentum():
    def steps(n, decay=None, l2=None):
        return after(
            ks.CrAM(0.5, 0.1, sparse_gradients=True),
            n,
            optimizer=keras.optimizers.SGD(0.1, momentum=0.9, weight_decay=decay),
            regularizer=l2,
        )

    coupled = keras.regularizers.L2(0.005)
    np.testing.assert_allclose(steps(1, l2=coupled), (0.999, -0.0595, -0.0802, 0.3197), atol=1e-6)
    np.testing.assert_allclose(
        steps(2, l2=coupled), (0.997311, 0.4489095, -0.5002198, 0.3749733), atol=1e-6
    )
    np.testing.assert_allclose(
        steps(2, decay=0.01), (0.998211, 0.4484595, -0.5000398, 0.3752433), atol=1e-6
    )


def test_a_regularizer_acts_once_at_the_weights_without_plus():
    """theta - eta (grad L(tilde) + lambda theta): no part in the perturbation or the second pass"""
    got = after(ks.CrAM(0.5, 0.1, plus=False), regularizer=keras.regularizers.L2(0.005))
    wanted = np.array([1, -0.26, 0, 0.35]) - 0.1 * 0.01 * np.array(THETA)
    np.testing.assert_allclose(got, wanted, atol=1e-6)


def sgd(**kwargs):
    return keras.optimizers.SGD(0.05, momentum=0.9, **kwargs)


class Identity(ks.CrAM):
    """CrAM that neither perturbs nor compresses."""

    def make_rule(self, run, selection, final):
        return CrAMRule(self.bound(selection), 0, rho=0.0, plus=self.plus)


def augmented():
    """Dropout and augmentation draw anew in every step, and a layer has a regularizer."""
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.RandomFlip(seed=1),
            layers.Conv2D(4, 3, name="conv", kernel_regularizer="l2"),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Flatten(),
            layers.Dropout(0.3, seed=2),
            layers.Dense(4),
        ]
    )


def test_neutral(images):
    """Bit for bit: random layers draw the same in both passes."""
    plain, model = compiled(conv_net(), sgd()), compiled(conv_net(), sgd())
    fit(plain, images, epochs=2)
    fit(model, images, Identity(0.0, plus=False), epochs=2)
    assert_same(model, plain)
    for one, two in zip(model.variables, plain.variables, strict=True):
        np.testing.assert_array_equal(one.numpy(), two.numpy())


def test_random_layers_draw_the_same_in_both_passes(images):
    plain, model = compiled(augmented(), sgd()), compiled(augmented(), sgd())
    before = fit(plain, images, epochs=2).history
    after = fit(model, images, Identity(0.0, plus=False), epochs=2).history
    # The regularizer's gradient is added to the second one, which rounds otherwise.
    assert_same(model, plain, 1e-6)
    np.testing.assert_allclose(after["loss"], before["loss"], rtol=1e-5)


def test_without_a_perturbation_plus_is_twice_the_learning_rate():
    twice = keras.optimizers.SGD(0.2, momentum=0.9)
    once = keras.optimizers.SGD(0.1, momentum=0.9)
    wanted = after(None, 3, optimizer=twice)
    np.testing.assert_allclose(after(Identity(0.0), 3, optimizer=once), wanted, atol=1e-6)


def test_without_sparsity_normalized_updates_are_sam():
    wanted = after(ks.SAM(0.1), 2)
    np.testing.assert_allclose(after(ks.CSAM(0.0, 0.1), 2), wanted, atol=1e-6)
    cram = ks.CrAM(0.0, 0.1, plus=False, normalize=True)
    np.testing.assert_allclose(after(cram, 2), wanted, atol=1e-6)


def test_only_plain_steps_are_plain_training(images):
    plain, model = compiled(conv_net(), sgd()), compiled(conv_net(), sgd())
    fit(plain, images, epochs=2)
    fit(model, images, ks.CrAM([0.5, 0.9], base_probability=1.0), epochs=2)
    assert_same(model, plain)


def test_plain_steps_beside_others_are_plain_training(images):
    plain, model = compiled(conv_net(), sgd()), compiled(conv_net(), sgd())
    fit(plain, images, epochs=2)
    fit(model, images, ks.CrAM([0.5, 0.9], base_probability=0.999), epochs=2)
    # oneDNN may round otherwise in a graph with a branch in it.
    assert_same(model, plain, 1e-6)


def test_sparse_gradients_leave_pruned_weights_alone(images):
    model = compiled(conv_net(), keras.optimizers.SGD(0.05))
    before = values(model)
    callback = ks.CrAM(0.7, 0.1, plus=False, sparse_gradients=True)
    fit(model, (images[0][:16], images[1][:16]), callback, epochs=1)
    moved = [new != old for new, old in zip(values(model), before, strict=True)]
    kernels = [m for m, v in zip(moved, before, strict=True) if v.ndim > 1]
    size = sum(kernel.size for kernel in kernels)
    assert 0 < sum(int(kernel.sum()) for kernel in kernels) <= size - round(0.7 * size)
    assert all(m.any() for m, v in zip(moved, before, strict=True) if v.ndim == 1 and m.size > 4)


STATISTICS = {
    "CrAM": lambda: ks.CrAM([0.5, 0.9], 0.1),
    "CSAM": lambda: ks.CSAM([0.5, 0.9], 0.1),
}


@pytest.mark.jax
@pytest.mark.parametrize("name", STATISTICS)
def test_a_step_of_rate_zero_changes_the_statistics_alone_and_as_plain_training_does(name, images):
    images = images[0][:16], images[1][:16]
    plain, model = (compiled(conv_net(), keras.optimizers.SGD(0.0)) for _ in range(2))
    before = values(model)
    wanted = fit(plain, images, epochs=1).history
    history = fit(model, images, STATISTICS[name](), epochs=1).history
    assert_same(model, before)
    one, two = model.get_layer("norm"), plain.get_layer("norm")
    for a, b in ((one.moving_mean, two.moving_mean), (one.moving_variance, two.moving_variance)):
        np.testing.assert_array_equal(ops.convert_to_numpy(a), ops.convert_to_numpy(b))
    assert history["loss"] == wanted["loss"]
    assert history["accuracy"] == wanted["accuracy"]


class Counting(layers.Layer):
    """Counts how often the model and its gradient are computed, inside the compiled graph."""

    def build(self, shape):
        self.forward, self.backward = (tf.Variable(0, trainable=False) for _ in range(2))

    def call(self, inputs):
        @tf.custom_gradient
        def counted(x):
            self.forward.assign_add(1)

            def slope(upstream):
                self.backward.assign_add(1)
                return upstream

            return tf.identity(x), slope

        return counted(inputs)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="counts in a graph's variables")
@pytest.mark.parametrize(
    ("make", "forward", "backward"),
    [
        (lambda: ks.CrAM([0.5, 0.9]), 2, 2),
        (lambda: ks.CrAM([0.5, 0.9], base_probability=1.0), 1, 1),
    ],
)
def test_passes(make, forward, backward, images):
    keras.utils.set_random_seed(0)
    counting = Counting()
    model = keras.Sequential(
        [keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(8), counting, layers.Dense(4)]
    )
    ends = []
    record = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: ends.append(
            [int(counting.forward), int(counting.backward)]
        )
    )
    fit(compiled(model), images, make(), record, epochs=2)
    assert np.subtract(ends[1], ends[0]).tolist() == [6 * forward, 6 * backward]


def test_loss_scaling_does_not_scale_the_perturbation(images):
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.05), 2**15)
    fixed = keras.optimizers.SGD(0.05, loss_scale_factor=128.0)
    models = []
    for optimizer in (keras.optimizers.SGD(0.05), scaled, fixed):
        models.append(compiled(conv_net(), optimizer))
        fit(models[-1], images, ks.CrAM([0.5, 0.9], 0.2, seed=3), epochs=1)
    assert_same(models[1], models[0], 2e-5)
    assert_same(models[2], models[0], 2e-5)


def test_gradient_accumulation_and_clipping(images):
    """Two micro-batches at the same weights, then one clipped step."""
    x, y = images[0][:32], images[1][:32]
    model = compiled(
        conv_net(), keras.optimizers.SGD(0.05, gradient_accumulation_steps=2, global_clipnorm=0.1)
    )
    before = values(model)
    ends = []
    record = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda b, logs: ends.append(values(model))
    )
    fit(model, (x, y), ks.CrAM(0.5, 0.1), record, epochs=1)
    for one, two in zip(ends[0], before, strict=True):
        np.testing.assert_array_equal(one, two)
    moved = [a - b for a, b in zip(ends[1], before, strict=True)]
    norm = np.sqrt(sum(np.sum(m**2) for m in moved))
    assert norm == pytest.approx(0.05 * 0.1, rel=1e-4)


def test_masks_stay_for_an_interval():
    """Every level refreshes after two uses of that level."""
    model = quadratic()
    rule = CrAMRule([LargestKept([k], ks.Unstructured(), True) for k in (1, 2, 3)], mask_interval=2)
    rule.build(select(model).targets)
    uses, flags = np.zeros(3, "int32"), []
    draws = (0, 2, 0, 0, 1, 2, 0, 2, 2)
    for draw in draws:
        flags.append(bool(uses[draw] % rule.mask_interval == 0))
        rule.choice.drawn = lambda step, draw=draw: ops.convert_to_tensor(draw)
        state = {"masks": [np.ones((3, 4, 1), bool)], "uses": [uses]}
        tensors = ks.Tensors([], [], (), state)
        clock = ks.Clock(ops.convert_to_tensor(0), ops.convert_to_tensor(0.1))
        weights = [ops.convert_to_tensor(np.reshape(THETA, (4, 1)).astype("float32"))]
        point = rule.second_point(clock, weights, [ops.zeros_like(weights[0])], tensors)
        assert bool(point.due) == flags[-1]
        kept = int(np.count_nonzero(point.values[0]))
        assert kept == (draw + 1 if flags[-1] else 4)
        np.testing.assert_array_equal(
            ops.convert_to_numpy(point.memory["masks"][0])[draw].sum(), kept
        )
        uses = ops.convert_to_numpy(rule.update_state(clock, tensors)["uses"][0])
    assert flags == [True, True, False, True, True, False, False, True, False]
    assert list(uses) == [4, 1, 4]


def test_draws_are_uniform_and_vary_within_a_compiled_loop():
    operators = [LargestKept([k], ks.Unstructured(), True) for k in (1, 2, 3)]
    choice = DrawnOperators(operators, seed=5)
    steps = ops.arange(3000, dtype="int32")
    drawn = ops.convert_to_numpy(ops.vectorized_map(choice.drawn, steps))
    counts = collections.Counter(drawn.tolist())
    assert set(counts) == {0, 1, 2}
    assert all(abs(count - 1000) <= 104 for count in counts.values())
    again = ops.convert_to_numpy(ops.vectorized_map(DrawnOperators(operators, 5).drawn, steps))
    np.testing.assert_array_equal(drawn, again)
    other = ops.convert_to_numpy(ops.vectorized_map(DrawnOperators(operators, 6).drawn, steps))
    assert (drawn != other).any()


def test_mixed_operators(images):
    """Masks of several patterns and rounding in one graph, each as if it were alone."""
    model = conv_net()
    recipe = ks.CrAM(0.5, exclude="conv").recipe
    selection = recipe.select(model)
    operators = [ks.TopK(0.5), ks.TopK(granularity="2:4"), ks.Quantize(4), ks.TopK(0.9)]
    bound = [operator.bind(recipe, selection) for operator in operators]
    layouts = [target.layout for target in selection.targets]
    weights = [ops.convert_to_tensor(v.numpy()) for v in selection.variables(model)]
    choice = DrawnOperators(bound)
    for place, own in enumerate(bound):
        masks = choice.masks(ops.convert_to_tensor(place), weights, layouts)
        made = choice.compress(ops.convert_to_tensor(place), weights, masks, layouts)
        for one, two in zip(made, own.compress(weights, layouts), strict=True):
            np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"sparsities": []}, "needs something to compress by"),
        ({"sparsities": [0.5, 1.0]}, "in \\[0, 1\\)"),
        ({"sparsities": [50]}, "give 0.5"),
        ({"rho": 0}, "rho must be a finite number greater than 0"),
        ({"rho": -0.1}, "greater than 0"),
        ({"operators": "4 bits"}, "operators must be"),
        ({"operators": ks.Channel()}, "operators must be"),
        ({"mask_interval": 0}, "mask_interval"),
        ({"base_probability": 1.5}, "base_probability"),
    ],
)
def test_bad_arguments(arguments, words):
    with pytest.raises(ValueError, match=words):
        ks.CrAM(**arguments)


def test_an_operator_that_does_not_fit_a_layer_is_refused_before_the_first_step(images):
    model = compiled(conv_net())
    with pytest.raises(
        ValueError, match=r"NM\(n=2, m=4\) does not fit 1 .*\n.*conv/kernel.*\n.*ex"
    ):
        fit(model, images, ks.CrAM(operators="2:4"))
    assert type(model.optimizer) is keras.optimizers.SGD
    assert "train_step" not in vars(model)


def test_a_train_step_of_ones_own_is_refused(images):
    class Own(keras.Sequential):
        def train_step(self, *args):
            return super().train_step(*args)

    model = compiled(Own([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(4)]))
    optimizer = model.optimizer
    with pytest.raises(ValueError, match=r"CrAM takes two gradients .* Override compute_loss"):
        fit(model, images, ks.CrAM(0.5))
    assert model.optimizer is optimizer
    fit(model, images, epochs=1)


def test_the_model_has_its_own_step_again_afterwards(images):
    model = compiled(conv_net())
    inside = []
    watch = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: inside.append(model.train_step.replaced.__self__)
    )
    fit(model, images, ks.SAM(), watch, epochs=1)
    assert isinstance(inside[0], TwoGradientStep)
    assert "train_step" not in vars(model)
