"""Kinds of models that export as they are."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_sparse import deploy
from keras_sparse.deploy.compiled_model import KERNEL_MODES
from keras_sparse.messages.warning import SparsityWarning
from tests.deploy.pruned import interpret, operators, perceptron, prune

# The tests' own interpreters; the package's say nothing.
pytestmark = pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated")


@pytest.fixture
def random():
    return np.random.default_rng(0)


def signature(path):
    import tensorflow as tf

    return tf.lite.Interpreter(str(path)).get_signature_list()["serving_default"]


def test_inputs_and_outputs_keep_their_names_and_order(tmp_path, random):
    image, meta = keras.Input((16,), name="image"), keras.Input((8,), name="meta")
    x = layers.Concatenate()([layers.Dense(32)(image), layers.Dense(32)(meta)])
    # Names against alphabetical order, and different widths, so that a mix-up shows.
    outputs = [layers.Dense(3, name="zeta")(x), layers.Dense(2, name="alpha")(x)]
    model = prune(keras.Model([meta, image], outputs), 0.8)
    data = [random.normal(size=(6, 8)), random.normal(size=(6, 16))]
    path = tmp_path / "m.tflite"
    for inputs in (data, tuple(data), {"image": data[1], "meta": data[0]}):
        assert deploy.to_litert(model, path, inputs=inputs).samples == 6
    assert set(signature(path)["inputs"]) == {"image", "meta"}
    assert set(signature(path)["outputs"]) == {"alpha", "zeta"}
    import tensorflow as tf

    runner = tf.lite.Interpreter(str(path)).get_signature_runner()
    got = runner(meta=data[0][:1].astype("float32"), image=data[1][:1].astype("float32"))
    zeta, alpha = model([data[0][:1], data[1][:1]])
    np.testing.assert_allclose(got["zeta"], zeta, atol=1e-5)
    np.testing.assert_allclose(got["alpha"], alpha, atol=1e-5)


def test_dicts_of_inputs_and_outputs(tmp_path, random):
    b, a = keras.Input((4,), name="b"), keras.Input((3,), name="a")
    outputs = {"second": layers.Dense(5)(b), "first": layers.Dense(6)(layers.Concatenate()([a, b]))}
    model = keras.Model({"b": b, "a": a}, outputs)
    inputs = {"b": random.normal(size=(4, 4)), "a": random.normal(size=(4, 3))}
    deploy.to_litert(model, tmp_path / "m.tflite", sparse=False, inputs=inputs)
    assert set(signature(tmp_path / "m.tflite")["outputs"]) == {"first", "second"}


def test_embedding_of_integers(tmp_path, random):
    model = keras.Sequential(
        [
            keras.Input((12,), dtype="int32"),
            layers.Embedding(50, 32),
            layers.GlobalAveragePooling1D(),
            layers.Dense(64),
            layers.Dense(4),
        ]
    )
    prune(model, 0.9)
    tokens = random.integers(0, 50, (6, 12)).astype("int32")
    report = deploy.to_litert(model, tmp_path / "m.tflite", inputs=tokens)
    table = next(row for row in report.tensors if row.variable.endswith("embeddings"))
    assert table.encoding == "dense"
    assert "GATHER reads dense weights only" in table.note
    got = interpret(tmp_path / "m.tflite", tokens)
    np.testing.assert_allclose(got, model.predict(tokens, verbose=0), atol=1e-5)
    assert deploy.to_litert(model, tmp_path / "m.tflite").synthetic


def test_integers_of_64_bits_are_verified_by_the_interpreter(tmp_path):
    body = [layers.Embedding(50, 8), layers.GlobalAveragePooling1D(), layers.Dense(4)]
    model = keras.Sequential([keras.Input((12,), dtype="int64"), *body])
    tokens = np.arange(48).reshape(4, 12)
    report = deploy.to_litert(model, tmp_path / "m.tflite", sparse=False, inputs=tokens)
    assert list(report.max_error) == ["default delegates", "built-in kernels"]
    assert "int64" in report.not_run["CompiledModel DELEGATE"]


def test_residual_block_with_batch_norm_is_folded(tmp_path, random):
    inputs = keras.Input((12, 12, 8))
    x = inputs
    for activation in ("relu", None):
        x = layers.Conv2D(8, 3, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization()(x)
        x = layers.Activation(activation)(x) if activation else x
    x = layers.ReLU()(layers.Add()([x, inputs]))
    model = prune(keras.Model(inputs, layers.Dense(4)(layers.GlobalAveragePooling2D()(x))), 0.9)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            values = [random.uniform(0.5, 2, 8) for _ in range(4)]
            layer.set_weights(values)
    images = random.normal(size=(4, 12, 12, 8))
    report = deploy.to_litert(model, tmp_path / "m.tflite", inputs=images)
    names = operators(tmp_path / "m.tflite")
    assert names.count("CONV_2D") == 2
    assert "MUL" not in names
    kernels = {w.path for w in model.weights if w.name == "kernel"}
    assert {row.variable for row in report.tensors} == kernels


def test_separable_and_transposed_convolutions_are_recognised(tmp_path):
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.SeparableConv2D(8, 3),
            layers.DepthwiseConv2D(3, depth_multiplier=2),
            layers.Conv2DTranspose(5, 3),
            layers.Reshape((36, 5)),
            layers.Conv1D(6, 3),
            layers.EinsumDense("abc,cd->abd", (None, 7)),
        ]
    )
    report = deploy.to_litert(prune(model, 0.7), tmp_path / "m.tflite")
    kernels = {w.path for w in model.weights if w.name.endswith("kernel")}
    assert {row.variable for row in report.tensors} == kernels
    assert {row.encoding for row in report.tensors} == {"sparse unstructured"}


def test_recurrent_layers_with_a_fixed_batch(tmp_path, random):
    model = prune(keras.Sequential([keras.Input((10, 8)), layers.LSTM(16), layers.Dense(4)]), 0.8)
    sequences = random.normal(size=(4, 10, 8)).astype("float32")
    report = deploy.to_litert(model, tmp_path / "m.tflite", inputs=sequences)
    sparse = {row.variable for row in report.tensors if row.encoding != "dense"}
    assert {w.path for w in model.weights if w.name.endswith("kernel")} == sparse
    got = interpret(tmp_path / "m.tflite", sequences)
    np.testing.assert_allclose(got, model.predict(sequences, verbose=0), atol=1e-5)


def test_open_batch_can_be_resized(tmp_path, random):
    import tensorflow as tf

    model = prune(keras.Sequential([keras.Input((6, 6, 1)), layers.Conv2D(8, 3)]), 0.5)
    model.add(layers.Flatten())
    x = random.normal(size=(5, 6, 6, 1)).astype("float32")
    with pytest.warns(SparsityWarning, match="take more"):
        report = deploy.to_litert(model, tmp_path / "m.tflite", inputs=x, batch_size=None)
    assert report.batch_size is None
    assert list(report.not_run) == [f"CompiledModel {mode}" for mode in KERNEL_MODES]
    interpreter = tf.lite.Interpreter(str(tmp_path / "m.tflite"))
    interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], x.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    got = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    np.testing.assert_allclose(got, model.predict(x, verbose=0), atol=1e-5)


def test_batch_that_samples_do_not_fill(tmp_path, random):
    x = random.normal(size=(7, 64))
    report = deploy.to_litert(
        prune(perceptron(), 0.9), tmp_path / "m.tflite", inputs=x, batch_size=4
    )
    assert (report.samples, report.batch_size) == (7, 4)


def test_subclassed_model_with_a_tuple(tmp_path, random):
    class TwoTower(keras.Model):
        def __init__(self):
            super().__init__()
            self.embed, self.dense = layers.Embedding(20, 4), layers.Dense(8)

        def call(self, inputs):
            numbers, tokens = inputs
            return self.dense(ops.concatenate([numbers, ops.mean(self.embed(tokens), 1)], -1))

    model = TwoTower()
    data = (random.normal(size=(4, 12)), random.integers(0, 20, (4, 3)))
    model(data)
    report = deploy.to_litert(prune(model, 0.8), tmp_path / "m.tflite", inputs=data)
    assert report.samples == 4
    assert {row.variable for row in report.tensors} == {
        model.embed.embeddings.path,
        model.dense.kernel.path,
    }


def test_mixed_precision_exports_its_float32_weights(tmp_path, random):
    inputs = keras.Input((64,))
    hidden = layers.Dense(64, dtype="mixed_float16", activation="relu")
    outputs = layers.Dense(8, dtype="mixed_float16")(hidden(inputs))
    model = prune(keras.Model(inputs, outputs), 0.9)
    policy = hidden.dtype_policy
    x = random.normal(size=(8, 64)).astype("float32")
    # In float16 the outputs would differ by about 1e-3.
    report = deploy.to_litert(model, tmp_path / "m.tflite", inputs=x, tolerance=1e-5)
    assert {row.dtype for row in report.tensors} == {"float32"}
    assert interpret(tmp_path / "m.tflite", x).dtype == np.float32
    assert hidden.dtype_policy is policy
    assert model(x).dtype == "float16"


def test_model_is_left_as_it_was(tmp_path, random):
    model = keras.Sequential(
        [
            keras.Input((6, 32)),
            layers.GRU(32, dropout=0.3),  # Advances its seed even at inference.
            layers.BatchNormalization(),
            layers.Dropout(0.5),
            layers.Dense(3),
        ]
    )
    model.compile("adam", "mse", run_eagerly=True)
    x, y = random.normal(size=(16, 6, 32)), random.normal(size=(16, 3))
    model.fit(x, y, verbose=0)
    prune(model, 0.8)
    before = [v.numpy() for v in model.variables + model.optimizer.variables]
    trainable = [layer.trainable for layer in model.layers]
    deploy.to_litert(model, tmp_path / "m.tflite", inputs=x)
    after = [v.numpy() for v in model.variables + model.optimizer.variables]
    assert all(np.array_equal(a, b) for a, b in zip(after, before, strict=True))
    assert [layer.trainable for layer in model.layers] == trainable
    assert model.compiled
    model.fit(x, y, verbose=0)
    assert not np.array_equal(model.layers[0].weights[0].numpy(), before[0])


def test_model_with_open_image_size_takes_that_of_the_inputs(tmp_path, random):
    model = keras.Sequential(
        [keras.Input((None, None, 3)), layers.Conv2D(64, 3), layers.GlobalAveragePooling2D()]
    )
    deploy.to_litert(
        prune(model, 0.9), tmp_path / "m.tflite", inputs=random.normal(size=(2, 9, 7, 3))
    )
    import tensorflow as tf

    details = tf.lite.Interpreter(str(tmp_path / "m.tflite")).get_input_details()
    assert details[0]["shape_signature"].tolist() == [1, 9, 7, 3]
