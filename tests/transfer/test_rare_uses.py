"""What is seldom transferred, and what cannot be: read as it is meant, or refused."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import keras_sparse as ks
from keras_sparse import transfer
from keras_sparse.messages.warning import SparsityWarning
from keras_sparse.probe.outputs import softmax_layer
from keras_sparse.transfer.comparison import Outcome
from tests.transfer.nets import pruned, upstream, values


class Rates(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        logs["rate"] = float(self.model.optimizer.learning_rate)


def net(*tail, classes=5):
    inputs = keras.Input((6,))
    x = layers.Dense(classes, name="top")(inputs)
    for layer in tail:
        x = layer(x)
    return keras.Model(inputs, x)


@pytest.mark.parametrize(
    "tail",
    [
        (layers.Softmax(),),
        (layers.Softmax(), layers.Reshape((-1,))),
        (layers.Softmax(), layers.Identity(), layers.Dropout(0.1)),
        (layers.Activation("softmax"), layers.Activation("linear", dtype="float64")),
    ],
)
def test_a_softmax_is_found_behind_what_passes_it_on(tail):
    assert softmax_layer(net(*tail)) == tail[0].name
    assert softmax_layer(keras.Sequential([keras.Input((6,)), net(*tail), *tail[1:]]))
    others = [layer for layer in tail if type(layer) is not layers.Softmax]
    if all(getattr(layer, "activation", None) is None for layer in others):
        assert softmax_layer(net(*others)) is None


@pytest.mark.parametrize("tail", [(layers.Softmax(), layers.Dense(5)), (layers.ReLU(),)])
def test_a_softmax_that_goes_into_another_layer_is_no_end(tail):
    assert softmax_layer(net(*tail)) is None


@pytest.mark.parametrize("features", ["offline", "online"])
def test_the_rate_falls_though_the_length_is_not_known(images, features):
    x, y = images
    data = tf.data.Dataset.from_tensor_slices((x, y % 3)).batch(32).filter(lambda *_: True)
    fit = {"classes": 3, "epochs": 3, "verbose": 0, "callbacks": [Rates()], "learning_rate": 0.01}
    found = transfer.linear(pruned(), data, features=features, **fit)
    expected = [0.01, 0.001, 0.0001] if features == "online" else [0.001, 0.0001, 0.0001]
    np.testing.assert_allclose(found.history["rate"], expected, rtol=1e-5)
    if features == "online":
        full = transfer.full(upstream(), data, dense=True, **fit)
        np.testing.assert_allclose(full.history["rate"], expected, rtol=1e-5)


def test_weights_of_samples_are_not_dropped_in_silence(images):
    x, y = images
    data = tf.data.Dataset.from_tensor_slices((x, y % 3, np.ones(len(x), "float32"))).batch(32)
    for solver in ("sgd", "lbfgs"):
        with pytest.raises(ValueError, match=r"weights do not count.*features='online'"):
            transfer.linear(pruned(), data, classes=3, solver=solver, epochs=1, verbose=0)
    transfer.linear(pruned(), data, classes=3, features="online", epochs=1, verbose=0)


def test_labels_in_lists(images):
    x, y = images
    few = {"epochs": 1, "verbose": 0, "classes": 3}
    labels = (y % 3).tolist()
    found = transfer.linear(pruned(), x, labels, validation_data=(x, labels), **few)
    same = transfer.linear(pruned(), x, y % 3, validation_data=(x, y % 3), **few)
    assert found.history["val_accuracy"] == same.history["val_accuracy"]
    assert transfer.linear(pruned(), x, labels, classes=3, solver="lbfgs").mode == "linear"


def test_the_head_alone_is_not_saved(images, tmp_path):
    x, y = images
    whole = keras.callbacks.ModelCheckpoint(tmp_path / "model.keras")
    with pytest.raises(ValueError, match="Save the model of the Transfer"):
        transfer.linear(pruned(), x, y % 3, epochs=1, verbose=0, callbacks=[whole])


def test_several_inputs_come_in_batches(images):
    x, y = images
    with pytest.raises(ValueError, match="Give several inputs as batches"):
        transfer.linear(pruned(), [x, x], y, epochs=1, verbose=0)


def test_lora_in_the_head_goes_with_it_and_elsewhere_is_refused(images):
    x, y = images
    model = pruned()
    model.get_layer("top").enable_lora(2)
    head = transfer.replace_head(model, 3).layers[-1]
    assert not head.lora_enabled
    before = values(head.trainable_variables)
    assert len(before) == 2
    found = transfer.full(model, x, y % 3, epochs=1, verbose=0)
    assert np.abs(values(found.model.layers[-1].trainable_variables)[0] - before[0]).max() > 0
    assert transfer.linear(model, x, y % 3, solver="lbfgs").mode == "linear"
    model = pruned()
    model.get_layer("hidden").enable_lora(2)
    with pytest.raises(ValueError, match=r"'hidden' .* has LoRA weights.* before enable_lora"):
        transfer.full(model, x, y % 3, epochs=1, verbose=0)


def test_a_task_without_an_error_is_left_out_and_told():
    outcomes = [("dense", 0.0, "easy", "full", [1.0]), ("dense", 0.0, "hard", "full", [0.8])]
    outcomes += [("gmp", 0.9, "easy", "full", [0.9]), ("gmp", 0.9, "hard", "full", [0.7])]
    compared = transfer.TransferComparison([Outcome(*each) for each in outcomes])
    with pytest.warns(SparsityWarning, match="On easy the dense model makes no error"):
        (row,) = compared.increases("full")
    assert row.tasks == {"hard": pytest.approx(0.5)}
    alone = transfer.TransferComparison([Outcome(*each) for each in outcomes if each[2] == "easy"])
    with pytest.raises(ValueError, match="undefined where the dense model makes no error"):
        alone.increases("full")


def test_one_output_is_refused_where_classes_are_compared(images):
    x, _ = images
    y = np.arange(len(x)) % 2
    teacher, student = (
        keras.Sequential([keras.Input(x.shape[1:]), layers.Flatten(), layers.Dense(1)])
        for _ in range(2)
    )
    student.compile("sgd", "mse")
    with pytest.raises(ValueError, match="have one number a sample"):
        student.fit(x, y, verbose=0, callbacks=[ks.Distillation(teacher)])
    loss = keras.distillation.LogitsDistillation(loss="mse")
    student.fit(x, y, verbose=0, callbacks=[ks.Distillation(teacher, loss=loss)])
    with pytest.raises(ValueError, match="told by two outputs at least"):
        ks.sample_agreement(teacher, student, x)
    labels = ks.inject_random_labels(y, 4, keep_true=False)
    with pytest.raises(ValueError, match="Give it an output for each class"):
        student.fit(x, labels.y, verbose=0, callbacks=[ks.MemorizationMonitor(x, labels)])


def test_what_the_mean_by_class_cannot_be_of():
    metric = transfer.MeanPerClassAccuracy(3)
    with pytest.raises(ValueError, match="y_pred must be outputs of 3 classes"):
        metric.update_state([0, 1], np.eye(10)[:2])
    with pytest.raises(ValueError, match=r"y_true must be class indices.*argmax"):
        metric.update_state(np.eye(3)[:1], np.eye(3)[:1])


def test_a_shuffled_data_set_is_read_once_for_both(images):
    x, y = images
    data = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(len(x)).batch(32)
    assert ks.sample_agreement(upstream(), upstream(), data) == 1.0


def test_logits_are_not_taken_for_probabilities(images):
    model = upstream()
    with pytest.raises(ValueError, match="from_logits must be True for outputs that are logits"):
        ks.sparse_dense_cross_entropy(model, model, images[0])
    assert ks.sparse_dense_cross_entropy(model, model, images[0], from_logits=True) > 0
