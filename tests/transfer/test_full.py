"""Full fine-tuning: zeros stay, everything else is trained."""

import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

import keras_sparse as ks
from keras_sparse import transfer
from tests.transfer.nets import all_same, pruned, upstream, values


class Nonzeros(keras.callbacks.Callback):
    """Counts after each batch the weights that are not zero where they were, and where not."""

    def __init__(self, zeros):
        super().__init__()
        self.zeros, self.grown = zeros, []

    def on_train_batch_end(self, batch, logs=None):
        kernels = values(self.model.get_layer(name).kernel for name in self.zeros)
        masks = self.zeros.values()
        self.grown.append(sum(int(k[m].any()) for k, m in zip(kernels, masks, strict=True)))


@pytest.fixture(scope="module")
def task(images):
    x, y = images
    model = pruned()
    before = values(model.variables)
    zeros = {name: values([model.get_layer(name).kernel])[0] == 0 for name in ("conv", "hidden")}
    watch = Nonzeros(zeros)
    found = transfer.full(
        model,
        x,
        y % 3,
        classes=3,
        epochs=2,
        batch_size=32,
        learning_rate=0.05,
        validation_data=(x, y % 3),
        callbacks=[watch],
        run_eagerly=True,
        verbose=0,
    )
    return model, before, zeros, watch, found


def test_zeros_stay_at_every_step_and_the_upstream_model_as_it_was(task):
    model, before, zeros, watch, found = task
    assert watch.grown == [0] * 6
    assert all_same(values(model.variables), before)
    for name, zero in zeros.items():
        kernel = values([found.model.get_layer(name).kernel])[0]
        assert np.array_equal(kernel == 0, zero)
    total = sum(zero.sum() for zero in zeros.values()) / sum(z.size for z in zeros.values())
    assert found.backbone_sparsity == pytest.approx(total)
    assert found.upstream_sparsity == pytest.approx(ks.report(model).sparsity)
    assert found.sparsity == pytest.approx(ks.report(found.model).sparsity)


def test_everything_else_is_trained(task):
    model, _, _, _, found = task
    for name in ("conv", "norm", "hidden"):
        pairs = zip(
            values(model.get_layer(name).variables),
            values(found.model.get_layer(name).variables),
            strict=True,
        )
        assert all(not np.array_equal(one, other) for one, other in pairs)
    assert (values([found.model.get_layer("top_3").kernel])[0] != 0).all()


def test_what_it_tells(task, capsys):
    found = task[-1]
    assert len(found.epoch_seconds) == 2
    assert found.best() == max(found.history["val_accuracy"])
    assert found.last("accuracy") == found.history["accuracy"][-1]
    with pytest.raises(ValueError, match="no metric 'f1'"):
        found.best("f1")
    found.print()
    assert "zeros of the backbone" in capsys.readouterr().out


def test_structurally_smaller_and_one_shot_pruned_models(images):
    x, y = images
    smaller = ks.structured.prune(upstream(), params=0.5)
    fit = {"epochs": 1, "batch_size": 96, "run_eagerly": True, "verbose": 0}
    with pytest.raises(ValueError, match=r"not sparse.*dense=True"):
        transfer.full(smaller, x, y, **fit)
    found = transfer.full(smaller, x, y, dense=True, **fit)
    assert found.model.count_params() == smaller.count_params()
    model = upstream()
    ks.prune(model, granularity="2:4", exclude=("conv", "top"))
    found = transfer.full(model, x, y, exclude="conv", **fit)
    kernel = values([found.model.get_layer("hidden").kernel])[0]
    assert ((kernel.reshape(-1, 4, 16) != 0).sum(1) <= 2).all()


def test_a_segmentation_model_whose_head_is_named(images):
    """Any Keras model, any targets: masks of the encoder stay, the head is dense and new."""
    x = images[0]
    inputs = keras.Input((8, 8, 1))
    down = layers.Conv2D(6, 3, 2, padding="same", activation="relu", name="encoder")(inputs)
    up = layers.UpSampling2D()(down)
    keras.utils.set_random_seed(0)
    model = keras.Model(inputs, layers.Conv2D(2, 1, name="mask")(up))
    ks.prune(model, 0.8, exclude="mask")
    found = transfer.full(
        model,
        x,
        (x > 0).astype("int32"),
        head={"mask": layers.Conv2D(2, 1, name="shape")},
        epochs=1,
        batch_size=48,
        learning_rate=0.1,
        run_eagerly=True,
        verbose=0,
    )
    zeros = [values([m.get_layer("encoder").kernel])[0] == 0 for m in (model, found.model)]
    assert zeros[0].any()
    assert np.array_equal(*zeros)


def test_the_learning_rate_falls_at_each_third():
    rate = transfer.step_decay(0.01, steps_per_epoch=20)
    rates = [float(rate(20 * epoch + step)) for epoch, step in ((0, 0), (49, 19), (50, 0))]
    rates += [float(rate(20 * epoch + step)) for epoch, step in ((99, 19), (100, 0), (149, 19))]
    np.testing.assert_allclose(rates, [1e-2, 1e-2, 1e-3, 1e-3, 1e-4, 1e-4], rtol=1e-6)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([0, 1, 5]), r"from 0 to classes - 1 = 2.*classes=6"),
        (np.array([-1, 1, 2]), "labels from -1"),
        (np.eye(3)[[0, 1, 2]], r"argmax"),
        (np.array([0.5, 1, 2]), r"numpy.unique"),
    ],
    ids=["too many", "negative", "one-hot", "not whole"],
)
def test_labels_that_do_not_fit(labels, message):
    with pytest.raises(ValueError, match=message):
        transfer.full(pruned(), np.zeros((3, 8, 8, 1), "float32"), labels, classes=3)


def test_other_bad_input(images):
    x, y = images
    with pytest.raises(ValueError, match=r"not sparse.*Prune it first"):
        transfer.full(upstream(), x, y)
    with pytest.raises(ValueError, match="y must be the targets"):
        transfer.full(pruned(), x)
    with pytest.raises(ValueError, match="classes must be the number"):
        transfer.full(pruned(), [(x, y)])
    with pytest.raises(TypeError, match="has no argument 'exlude'"):
        transfer.full(pruned(), x, y, exlude="conv")


@pytest.mark.parametrize(("params", "kept"), [(0.75, [0, 2]), (0.5, [2])])
def test_filters_of_the_smallest_l1_norm_go_first(params, kept):
    """Norms 3, 1, 3: index 1 goes first, of equal ones the lower index."""
    model = keras.Sequential(
        [keras.Input((2,)), layers.Dense(3, activation="relu", name="h"), layers.Dense(2)]
    )
    kernel = np.array([[1, -2], [0.5, 0.5], [3, 0]], "float32").T
    model.get_layer("h").kernel.assign(kernel)
    smaller = ks.structured.prune(model, params=params, criterion="l1")
    assert np.array_equal(values([smaller.get_layer("h").kernel])[0], kernel[:, kept])


def test_a_training_too_short_for_new_statistics_says_so(images):
    x, y = images
    few = {"classes": 3, "epochs": 1, "batch_size": 32, "verbose": 0}
    said = r"step 3, .* momentum 0.99, still tests with 97% of the statistics"
    frozen = pruned()
    frozen.get_layer("norm").trainable = False
    with pytest.warns(UserWarning, match=said):  # In the copy it is trained as all is.
        transfer.full(frozen, x, y % 3, **few)
    with pytest.warns(UserWarning, match=said) as told:
        transfer.full(pruned(), x, y % 3, **few)
    assert Path(__file__).name in {Path(each.filename).name for each in told}
    model = pruned()
    ks.models.set_batch_norm_momentum(model, 0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        transfer.full(model, x, y % 3, **few)
