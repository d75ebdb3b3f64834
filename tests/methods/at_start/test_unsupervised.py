import keras
import numpy as np
import pytest
from keras import ops

import keras_sparse as ks
from keras_sparse.methods.at_start.sensitivity import connection_sensitivity
from keras_sparse.methods.at_start.unsupervised import UNSUPERVISED, unsupervised_gradients
from tests.training import compiled, dense_net

layers = keras.layers


def identity_net(classes=3, activation=None):
    """Logits are inputs plus a bias, whose gradient is that at the logits."""
    model = keras.Sequential([keras.Input((classes,)), layers.Dense(classes, activation)])
    model.set_weights([np.eye(classes), np.zeros(classes)])
    return model


def softmax(z):
    return np.exp(z) / np.exp(z).sum(-1, keepdims=True)


@pytest.mark.jax
def test_gradients_at_the_logits():
    x = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    model = identity_net()
    bias = [model.layers[0].bias]

    def gradient(loss, model=model, bias=bias):
        return np.asarray(unsupervised_gradients(model, bias, loss, x, 2, 1.0)(x, None)[0])

    np.testing.assert_allclose(gradient("uniform"), (softmax(x) - 1 / 3).mean(0), atol=1e-6)
    np.testing.assert_allclose(gradient("pred_softmax"), 0, atol=1e-6)
    np.testing.assert_allclose(gradient("pred_raw"), 1 / 3, atol=1e-6)
    ended = identity_net(activation="softmax")
    np.testing.assert_allclose(
        gradient("uniform", ended, [ended.layers[0].bias]), (softmax(x) - 1 / 3).mean(0), atol=1e-5
    )
    objective = unsupervised_gradients(model, bias, "uniform", x, 2, 1.0).objective
    assert float(objective(ops.zeros((1, 3)), None)) == pytest.approx(np.log(3), abs=1e-6)


def test_the_gradient_of_a_norm_of_jacobians():
    """Of a linear network the Jacobian is the kernel, so that its norms have known gradients."""
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3)])
    kernel = np.asarray(model.layers[0].kernel)
    x = np.ones((2, 4), "float32")
    expected = {"jacobian_l1": np.sign(kernel), "jacobian_l2": kernel / np.linalg.norm(kernel)}
    for loss, value in expected.items():
        gradients = unsupervised_gradients(model, [model.layers[0].kernel], loss, x, 2, 1.0)
        np.testing.assert_allclose(np.asarray(gradients(x, None)[0]), value, atol=1e-5)


def test_scores_without_labels_do_not_know_them(images):
    x, y = images
    model = compiled(dense_net(), run_eagerly=True)
    weights = [layer.kernel for layer in model.layers if layer.weights]
    for loss in ("uniform", "jacobian_l2"):
        one, two, three = (
            connection_sensitivity(model, weights, data, loss=loss, batch_size=size)
            for data, size in ((x, 96), ((x, y[::-1]), 32), ([(x[:40], y[:40]), x[40:]], 8))
        )
        for a, b, c in zip(one, two, three, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-8)
            np.testing.assert_allclose(a, c, rtol=1e-3, atol=1e-8)


@pytest.mark.parametrize(
    "loss",
    [
        pytest.param(name, marks=[pytest.mark.thorough] if name in ("pred_raw",) else [])
        for name in UNSUPERVISED
    ],
)
def test_masks_of_grasp_need_no_labels(loss, images):
    x = images[0][:8]
    masks = ks.connection_sensitivity_masks(dense_net(), x, 0.8, loss=loss, criterion="grasp")
    assert sum(int(mask.sum()) for mask in masks.values()) == round(0.2 * (64 * 24 + 24 * 4))


def test_a_function_may_be_the_loss(images):
    masks, own = (
        ks.connection_sensitivity_masks(dense_net(), images, 0.8, loss=loss)
        for loss in ("uniform", lambda y, z: -ops.mean(ops.log_softmax(z), -1))
    )
    for path, mask in masks.items():
        np.testing.assert_array_equal(mask, own[path])


def test_losses_that_cannot_be_are_named(images):
    with pytest.raises(ValueError, match=r"loss must be one of 'uniform'.*Did you mean 'uniform'"):
        ks.SNIP(0.5, images, loss="unifrom")
    ended = keras.Sequential([dense_net(), layers.Softmax(name="end")])
    with pytest.raises(ValueError, match=r"'jacobian_l1' is one of logits.*\('end'\)"):
        ks.connection_sensitivity_masks(ended, images, 0.5, loss="jacobian_l1")


def test_masks_go_to_a_model_of_the_same_architecture(images):
    model, other = dense_net(), keras.models.clone_model(dense_net())
    masks = ks.connection_sensitivity_masks(model, images, 0.9, loss="uniform")
    keras.models.clone_model(model)
    renamed = keras.Sequential(
        [keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(24), layers.Dense(4)]
    )
    moved = ks.transfer_masks(masks, renamed)
    assert [p.split("/")[-1] for p in moved] == ["kernel", "kernel"]
    assert not set(moved) & set(masks)
    for one, two in zip(masks.values(), moved.values(), strict=True):
        np.testing.assert_array_equal(one, two)
    assert ks.transfer_masks(masks, other).keys() == masks.keys()
    part = {"logits/kernel": masks["logits/kernel"]}
    assert list(ks.transfer_masks(part, other)) == ["logits/kernel"]
    with pytest.raises(ValueError, match=r"Received masks of shapes .*same architecture"):
        ks.transfer_masks(part, renamed)
