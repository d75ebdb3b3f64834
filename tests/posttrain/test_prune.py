import keras
import numpy as np
import pytest
from keras import ops

import keras_sparse as ks
from tests.training import compiled, conv_net, fit, kernels, values


def test_keeps_the_largest_of_all_layers():
    model = conv_net()
    flat = np.concatenate([np.abs(kernel).ravel() for kernel in kernels(model)])
    keep = flat.size - round(0.9 * flat.size)
    threshold = np.sort(flat)[-keep]
    before = values(model)
    report = ks.prune(model, 0.9)
    for old, new in zip(before, values(model), strict=True):
        wanted = np.where(np.abs(old) >= threshold, old, 0) if old.ndim > 1 else old
        np.testing.assert_array_equal(new, wanted)
    assert sum(row.nonzeros for row in report.prunable) == keep


def test_uniform_mapping_and_keep_dense():
    model = conv_net()
    ks.prune(model, 0.75, allocation="uniform", keep_dense=("first", "last"))
    assert [np.count_nonzero(k) / k.size for k in kernels(model)] == [1, 0.25, 1]
    model = conv_net()
    report = ks.prune(model, allocation={"hid*": 0.5})
    assert [np.count_nonzero(k) / k.size for k in kernels(model)] == [1, 0.5, 1]
    assert report.nonzeros < report.size


def test_random_saliency_follows_the_seed():
    def kept(seed):
        model = conv_net()
        ks.prune(model, 0.5, saliency="random", seed=seed)
        return np.concatenate([kernel.ravel() != 0 for kernel in kernels(model)])

    np.testing.assert_array_equal(kept(1), kept(1))
    assert (kept(1) != kept(2)).any()
    with pytest.raises(ValueError, match="mean 'random'"):
        ks.prune(conv_net(), 0.5, saliency="randm")


def test_a_compiled_and_trained_model_goes_on(images):
    model = compiled(conv_net())
    fit(model, images, epochs=1)
    ks.prune(model, 0.8)
    zeros = [kernel == 0 for kernel in kernels(model)]
    fit(model, images, ks.StaticMask(mask="current"), epochs=1)
    for kernel, zero in zip(kernels(model), zeros, strict=True):
        np.testing.assert_array_equal(kernel[zero], 0)


@pytest.mark.jax
def test_batch_norm_tuning_worked_example():
    """An average of 0.9 over batch means 1, 2, 4 from zero is 0.661."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.BatchNormalization(momentum=0.5)])
    norm = model.layers[0]
    norm.moving_mean.assign([7.0])
    batches = [np.full((4, 1), mean, "float32") for mean in (1, 2, 4)]
    assert ks.batch_norm_tuning(model, batches, steps=3) == 1
    np.testing.assert_allclose(norm.moving_mean.numpy(), [0.661], rtol=1e-6)
    np.testing.assert_allclose(norm.moving_variance.numpy(), [0.9**3], rtol=1e-6)
    assert norm.momentum == 0.5


@pytest.mark.jax
@pytest.mark.parametrize("whole", [True, False])
def test_batch_norm_tuning_by_the_mean_of_one_pass(whole):
    """Without a momentum nothing of the reset values is left."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.BatchNormalization()])
    norm = model.layers[0]
    values = np.random.default_rng(0).normal(3, 2, (10, 1)).astype("float32")
    batches = [values[:4], values[4:8]]
    ks.batch_norm_tuning(
        model, values if whole else batches, batch_size=10, steps=None, momentum=None
    )
    used = [values] if whole else batches
    wanted = [np.mean([f(batch) for batch in used]) for f in (np.mean, np.var)]
    moving = [ops.convert_to_numpy(v)[0] for v in (norm.moving_mean, norm.moving_variance)]
    np.testing.assert_allclose(moving, wanted, rtol=1e-5)
    assert norm.momentum == 0.99


@pytest.mark.jax
def test_batch_norm_tuning_changes_statistics_only(images):
    model = compiled(conv_net())
    fit(model, images, epochs=3)
    ks.prune(model, 0.8)
    before, norm = values(model), model.get_layer("norm")
    norm.trainable = False
    loss = model.evaluate(*images, verbose=0)[0]
    moving = norm.moving_mean.numpy()
    ks.batch_norm_tuning(model, images[0], batch_size=32)
    norm.trainable = True
    for one, two in zip(before, values(model), strict=True):
        np.testing.assert_array_equal(one, two)
    assert not np.allclose(moving, norm.moving_mean.numpy())
    outputs = model.layers[0](images[0])
    np.testing.assert_allclose(
        norm.moving_mean.numpy(), np.mean(outputs, axis=(0, 1, 2)), atol=0.05
    )
    assert model.evaluate(*images, verbose=0)[0] < loss


@pytest.mark.parametrize(
    "act",
    [
        lambda model, data: ks.prune(model, 0.5),
        lambda model, data: ks.compress(model, "4bit"),
        lambda model, data: ks.obc(model, data, 0.5),
        lambda model, data: ks.obd(model, data, 0.5),
    ],
)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(images, act, value):
    model = compiled(conv_net())
    bias = model.get_layer("hidden").bias
    bias.assign(np.full(bias.shape, value))
    before = values(model)
    with pytest.raises(ValueError, match=r"NaN or infinite: hidden/bias\. .*load weights"):
        act(model, images)
    for one, two in zip(before, values(model), strict=True):
        np.testing.assert_array_equal(one, two)


def test_batch_norm_tuning_bad_input(images):
    plain = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    with pytest.raises(ValueError, match="no batch normalization"):
        ks.batch_norm_tuning(plain, np.zeros((8, 4)))
    model = conv_net()
    with pytest.raises(ValueError, match="at least two samples"):
        ks.batch_norm_tuning(model, images[0][:1])
    with pytest.raises(ValueError, match="momentum must be"):
        ks.batch_norm_tuning(model, images[0], momentum=1.0)
    with pytest.raises(ValueError, match="holds no batch"):
        ks.batch_norm_tuning(model, iter([images[0]]), steps=3)
