"""Low precision together with what else Keras and this package do."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_sparse as ks
from keras_sparse.precision import ConstantPrecision, StepPrecision
from tests.cases import CASES
from tests.training import compiled, dense_net, fit, kernels, nonzeros

ON_TENSORFLOW = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="TensorFlow's own"
)


def low(schedule=None, **kwargs):
    return ks.PrecisionScheduler(schedule or StepPrecision([(0, 3), (6, 6)]), **kwargs)


@pytest.mark.thorough
@pytest.mark.parametrize("name", CASES)
def test_every_method_trains_in_low_precision(images, name):
    """And is as sparse as without, its layers and step its own again."""
    case = CASES[name]
    model = compiled(dense_net())
    method = case.make()
    history = fit(model, images, low(quantizer="symmetric"), method).history
    assert np.isfinite(history["loss"]).all()
    assert history["relative_bitops"][-1] < 1
    assert "call" not in vars(model.get_layer("hidden"))
    assert "train_step" not in vars(model)
    if case.ends == "sparse":
        wanted = 0.2 * sum(kernel.size for kernel in kernels(model))
        woken = 0.1 * wanted if name == "DeepR" else 0  # At its last step, and zero still.
        assert wanted - woken - 2 <= nonzeros(model) <= wanted + 2


@ON_TENSORFLOW
def test_mixed_precision(images):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = compiled(dense_net(), keras.optimizers.SGD(0.05, momentum=0.9))
        callback = low()
        history = fit(model, images, callback, epochs=4, validation_data=images).history
    finally:
        keras.config.set_dtype_policy("float32")
    assert history["loss"][-1] < history["loss"][0]
    assert history["precision"] == [3, 6, 6, 6]
    assert all(v.dtype == "float32" for v in model.trainable_variables)


@ON_TENSORFLOW
@pytest.mark.distributed
@pytest.mark.thorough
def test_replicas_have_the_same_bits(images, mirrored):
    with mirrored.scope():
        model = compiled(dense_net())
    history = fit(model, images, low(), epochs=3, validation_data=images).history
    assert history["precision"] == [3, 6, 6]
    assert np.isfinite(history["val_loss"]).all()
    for variable in model.trainable_variables:
        one, two = (value.numpy() for value in variable.value.values)
        np.testing.assert_array_equal(one, two)


@ON_TENSORFLOW
def test_int8_export_afterwards(images, tmp_path):
    model = compiled(dense_net())
    fit(model, images, low(ConstantPrecision(8)), epochs=10)
    path = tmp_path / "model.tflite"
    how = {"quantize": "int8", "sparse": False, "tolerance": 1.0}
    ks.deploy.to_litert(model, path, inputs=images[0][:64], **how)
    import tensorflow as tf

    interpreter = tf.lite.Interpreter(str(path))
    interpreter.allocate_tensors()
    (given,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()
    known = 0
    for x, label in zip(*images, strict=True):
        interpreter.set_tensor(given["index"], x[None].astype(given["dtype"]))
        interpreter.invoke()
        known += int(interpreter.get_tensor(made["index"]).argmax() == label)
    plain = model.evaluate(*images, verbose=0, return_dict=True)["accuracy"]
    assert plain > 0.9
    assert known / len(images[0]) == pytest.approx(plain, abs=0.03)


def test_models_inside_of_models(images):
    inner = keras.Sequential([keras.Input((64,)), layers.Dense(8, name="deep")], name="inner")
    model = keras.Sequential(
        [keras.Input((8, 8, 1)), layers.Flatten(), inner, layers.Dense(4, name="logits")]
    )
    callback = low()
    fit(compiled(model), images, callback, epochs=1)
    assert [path.split("/")[-1] for path in callback.report.quantized] == ["deep"]
    assert "call" not in vars(inner.layers[0])


def test_a_model_that_is_not_built_yet(images):
    model = keras.Sequential([layers.Flatten(), layers.Dense(8), layers.Dense(4)])
    history = fit(compiled(model), images, low(), epochs=2).history
    assert history["precision"] == [3, 6]


@ON_TENSORFLOW
def test_a_model_that_is_not_built_yet_and_pruned(images):
    model = keras.Sequential([layers.Flatten(), layers.Dense(8), layers.Dense(4)])
    callback = low()
    with pytest.warns(ks.SparsityWarning, match="symmetric"):
        fit(compiled(model), images, ks.GMP(0.5, ks.OneShot()), callback, epochs=2)
    assert callback.report.quantizer == "symmetric"


def test_a_recurrent_network(images):
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Reshape((8, 8)),
            layers.LSTM(8, return_sequences=True, dropout=0.1),
            layers.GRU(8),
            layers.Dense(4),
        ]
    )
    callback = low(keep_float=())
    history = fit(compiled(model, keras.optimizers.Adam(0.01)), images, callback, epochs=4).history
    assert history["loss"][-1] < history["loss"][0]
    names = [path.split("/")[-1] for path in callback.report.quantized]
    assert names == ["lstm_cell", "gru_cell", "dense"]
    assert np.isfinite(history["bitops"]).all()


def test_a_graph_network():
    graph = ks.graphs.load("synthetic-sbm")
    found = {}
    for aggregation in ("full", "quantized"):
        model = ks.graphs.gcn(graph.num_features, graph.num_classes, (16,), seed=0)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(0.01), loss)
        callback = low(ConstantPrecision(3, 8), aggregation=aggregation, keep_float=())
        data = ks.graphs.FullGraph(graph, "gcn")
        found[aggregation] = model.fit(data, epochs=8, verbose=0, callbacks=[callback]).history
    losses = [found[way]["loss"] for way in found]
    assert all(own[-1] < own[0] for own in losses)
    assert losses[0] != losses[1]
    assert [len(own) for own in losses] == [8, 8]
