"""Linear fine-tuning: a head on features that stay as they are, offline and online."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_sparse as ks
from keras_sparse import transfer
from tests.transfer.nets import Subclassed, all_same, pruned, upstream, values

FIT = {"epochs": 8, "batch_size": 40, "learning_rate": 0.05, "seed": 3, "verbose": 0}


@pytest.fixture(scope="module")
def sparse(images):
    """A sparse upstream model whose moving statistics are not those of a new one."""
    model = pruned()
    ks.batch_norm_tuning(model, images[0], steps=3)
    return model


@pytest.fixture(scope="module")
def offline(sparse, images):
    x, y = images
    return transfer.linear(sparse, x, y % 3, validation_data=(x, y % 3), **FIT)


def head_of(found):
    return values(found.model.layers[-1].variables)


@pytest.mark.jax
def test_offline_and_online_come_to_the_same_head(sparse, offline, images):
    x, y = images
    online = transfer.linear(sparse, x, y % 3, features="online", **FIT)
    for one, other in zip(head_of(offline), head_of(online), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    # Nothing of the backbone has changed, statistics of normalization included.
    for found in (offline, online):
        for layer in ("conv", "norm", "hidden"):
            pair = (values(m.get_layer(layer).variables) for m in (sparse, found.model))
            assert all_same(*pair)


def test_the_head_in_the_model_is_the_one_that_was_trained(offline, images):
    x, y = images
    accuracy = offline.model.evaluate(x, y % 3, verbose=0)[1]
    assert accuracy == pytest.approx(offline.last("val_accuracy"))
    assert accuracy > 0.6
    assert all(variable.trainable for variable in offline.model.trainable_variables)


def test_features_are_those_of_inference(sparse, images):
    x = images[0]
    found = transfer.extract_features(sparse, (x, images[1]), batch_size=40)
    inner = keras.Model(sparse.inputs, sparse.get_layer("hidden").output)
    np.testing.assert_allclose(found, inner(x, training=False), atol=1e-6)
    batches = [(x[:50], images[1][:50]), (x[50:], images[1][50:])]
    np.testing.assert_allclose(transfer.extract_features(sparse, batches), found, atol=1e-6)


def test_lbfgs_on_features(sparse, images):
    x, y = images
    found = transfer.linear(sparse, [(x, y % 3)], classes=3, solver="lbfgs", l2=[1e-2, 1.0])
    assert found.regression.samples == len(x)
    assert set(found.regression.accuracies) == {1e-2, 1.0}
    features = transfer.extract_features(sparse, x)
    wanted = found.regression.predict(features)
    np.testing.assert_allclose(found.model.predict(x, verbose=0), wanted, atol=1e-4)


def test_subclassed_models(images):
    model = Subclassed()
    x = images[0].reshape(96, 64)
    model(x[:2])
    ks.prune(model, 0.5, exclude="top")
    found = transfer.linear(model, x, images[1], head="top", solver="lbfgs", l2=0.1)
    assert found.model.evaluate(x, images[1], verbose=0)[1] > 0.7


def test_convolutions_as_heads(images):
    """Of the form of MobileNet's: a 1x1 convolution of one place."""
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(8, 3, activation="relu")(inputs)
    x = layers.GlobalAveragePooling2D(keepdims=True)(x)
    model = keras.Model(inputs, layers.Reshape((4,))(layers.Conv2D(4, 1, name="logits")(x)))
    x, y = images
    found = transfer.linear(model, x, y, dense=True, solver="lbfgs", l2=1e-3)
    features = transfer.extract_features(model, x)
    wanted = found.regression.predict(features)
    np.testing.assert_allclose(found.model.predict(x, verbose=0), wanted, atol=1e-3)


def test_bad_input(sparse, images):
    x, y = images
    with pytest.raises(ValueError, match="not sparse"):
        transfer.linear(upstream(), x, y)
    with pytest.raises(ValueError, match="solver must be one of 'sgd', 'lbfgs'"):
        transfer.linear(sparse, x, y, solver="adam")
    with pytest.raises(ValueError, match="Leave one of the two out"):
        transfer.linear(sparse, x, y, solver="lbfgs", features="online")
    with pytest.raises(ValueError, match=r"'hidden' of model 'upstream' is not"):
        transfer.linear(sparse, x, y, head="hidden")
    with pytest.raises(ValueError, match=r"labels from 0 to 3, classes=3"):
        transfer.linear(sparse, x, y, classes=3)
    maps = keras.Sequential(
        [keras.Input((8, 8, 1)), layers.Conv2D(4, 3), layers.Conv2D(3, 1, name="map")]
    )
    with pytest.raises(ValueError, match="GlobalAveragePooling2D"):
        transfer.linear(maps, x, y, dense=True, solver="lbfgs")
