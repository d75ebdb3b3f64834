"""A failed export names what the model suffers from, and the cure."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_sparse import deploy
from tests.deploy.pruned import interpret, perceptron, prune
from tests.deploy.test_litert_errors import build

# The tests' own interpreters; the package's say nothing.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated"),
    pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize`"),
    pytest.mark.filterwarnings("ignore:.*is a dense file:keras_sparse.SparsityWarning"),
]


def refused(path, model, kind=deploy.LiteRTConversionError, **arguments):
    """The message of a refused export, which leaves no file."""
    with pytest.raises(kind) as error:
        deploy.to_litert(model, path / "m.tflite", **arguments)
    assert not list(path.iterdir())
    return str(error.value)


def quantized(mode, *stack, shape=(12,)):
    model = build(*(stack or [layers.Dense(16, name="first"), layers.Dense(4)]), shape=shape)
    model.quantize(mode)
    return model


def weights_alone():
    model = prune(perceptron(), 0.9)
    by_column = keras.quantizers.AbsMaxQuantizer(axis=0)
    model.quantize(config=keras.quantizers.Int8QuantizationConfig(by_column, None))
    return model


needs_weights_alone = pytest.mark.skipif(
    not hasattr(keras.quantizers, "Int8QuantizationConfig"),
    reason="this version of Keras quantizes weights and inputs together",
)


def low_rank():
    model = perceptron()
    model.layers[0].enable_lora(2)
    model.layers[0].lora_kernel_b.assign(np.ones((2, 64)))
    return model


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: quantized("int8"), "'first' (int8)"),
        (lambda: quantized("float8"), "(float8)"),
        (
            lambda: quantized("int8", layers.EinsumDense("abc,cd->abd", (None, 7)), shape=(5, 6)),
            "'einsum_dense' (int8)",
        ),
        (
            lambda: quantized(
                "int8", layers.Conv1D(4, 3), layers.Dense(3, name="head"), shape=(6, 2)
            ),
            "'head' (int8)",
        ),
        (
            lambda: build(quantized("int8", layers.Dense(8, name="deep")), shape=(12,)),
            "'deep' (int8)",
        ),
    ],
)
def test_quantized_layers_are_named(tmp_path, make, named):
    message = refused(tmp_path, make())
    assert "quantized layers" in message
    assert named in message
    assert "as it was before `quantize`" in message


def test_quantized_layers_of_reduced_precision_are_named(tmp_path):
    model = build(layers.Dense(4, dtype="int8_from_mixed_bfloat16", name="first"))
    message = refused(tmp_path, model, ValueError)
    assert "'first' is quantized" in message
    assert "as it was before `quantize`" in message


def test_only_the_quantized_layer_of_a_model_is_blamed(tmp_path):
    model = build(layers.Dense(8, name="first"), layers.Dense(4, name="second"), shape=(12,))
    model.layers[0].quantize("int8")
    message = refused(tmp_path, model)
    assert "'first' (int8)" in message
    assert "second" not in message


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(weights_alone, marks=needs_weights_alone, id="int8 weights"),
        pytest.param(low_rank, id="LoRA"),
        pytest.param(
            lambda: quantized("int4", layers.Dense(8), shape=(64,)),
            marks=needs_weights_alone,
            id="int4",
        ),
    ],
)
def test_other_quantized_and_adapted_models_export_as_they_are(tmp_path, make):
    model = make()
    x = np.random.default_rng(0).normal(size=(6, 64)).astype("float32")
    deploy.to_litert(model, tmp_path / "m.tflite", inputs=x)
    wanted = model.predict(x, verbose=0)
    np.testing.assert_allclose(interpret(tmp_path / "m.tflite", x), wanted, atol=1e-4)


class Noise(layers.Layer):
    """Draws anew at each call."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.seeds = keras.random.SeedGenerator(0)

    def call(self, x):
        return x + keras.random.normal(ops.shape(x), seed=self.seeds)


class InPython(layers.Layer):
    """Leaves the graph."""

    def call(self, x):
        import tensorflow as tf

        doubled = tf.numpy_function(lambda a: 2 * a, [x], tf.float32)
        return ops.reshape(doubled, ops.shape(x))


class InFloat64(layers.Layer):
    """Computes in more digits than LiteRT has."""

    def call(self, x):
        exact = ops.cast(x, "float64")
        return ops.cast(ops.matmul(exact, ops.transpose(exact)), "float32")


@pytest.mark.parametrize(
    ("layer", "arguments", "named", "cure"),
    [
        (Noise(name="noise"), {}, "noise", "in training only"),
        (InPython(name="python"), {}, "PyFunc at", "write the computation with `keras.ops`"),
        (InFloat64(name="exact"), {}, "exact", "cast to it"),
        (
            layers.IntegerLookup(vocabulary=[1, 2]),
            {"dtype": "int32"},
            "table of layer",
            "behind it",
        ),
        (layers.Hashing(4), {"dtype": "int32"}, "StringToHash", "in the application"),
        (layers.CategoryEncoding(5), {"dtype": "int32"}, "DenseBincount", "in the application"),
        (layers.MaxPooling3D(2), {"shape": (4, 4, 4, 1)}, "MaxPool3D", "common operations"),
    ],
)
def test_operations_are_named_with_the_cure_of_their_kind(tmp_path, layer, arguments, named, cure):
    message = refused(tmp_path, build(layer, **arguments))
    assert named in message
    assert cure in message


def test_each_cause_has_its_own_cure(tmp_path):
    inverse = layers.Lambda(lambda x: ops.erfinv(ops.tanh(x)))
    message = refused(tmp_path, build(Noise(name="noise"), inverse))
    assert "in training only" in message
    assert "Erfinv" in message
    assert "common operations" in message


class Branch(layers.Layer):
    """Branches in Python on a tensor."""

    def call(self, x):
        return x if ops.max(x) > 0 else -x


class Model(keras.Model):
    """A layer, behind which nothing is known."""

    def __init__(self, layer):
        super().__init__(name="branching")
        self.layer = layer

    def call(self, x):
        return self.layer(x)


def called(model, *inputs):
    model(*inputs)
    return model


def test_python_that_decides_by_a_tensor_is_named(tmp_path):
    x = np.ones((2, 3), "float32")
    message = refused(tmp_path, called(Model(Branch()), x), inputs=x)
    assert "'branching' runs in Python but cannot be made a graph" in message
    assert "Branch.call()" in message
    assert "`cond`" in message


def test_error_of_the_models_own_is_passed_on(tmp_path):
    """Where the model cannot be called at all, no graph is to blame."""
    model = called(Model(layers.Dense(2)), np.ones((2, 3), "float32"))
    message = refused(tmp_path, model, ValueError, inputs=np.ones((2, 4), "float32"))
    assert "incompatible with the layer" in message


class Count(layers.Layer):
    """Keeps state in Python."""

    calls = 0

    def call(self, x):
        self.calls += 1
        return x * self.calls


class Counter(layers.Layer):
    """Keeps state in a variable, at inference too."""

    def build(self, shape):
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, x):
        self.calls.assign(self.calls + 1.0)
        return x + self.calls


@pytest.mark.parametrize("layer", [Count(name="count"), Counter(name="count")])
def test_inference_that_changes_from_call_to_call_is_named(tmp_path, layer):
    message = refused(tmp_path, build(layers.Dense(3), layer), deploy.LiteRTVerificationError)
    assert "something else each time it is called" in message
    assert "Look at 'count'" in message
    assert "dense" not in message


def test_samples_that_depend_on_their_batch_are_named(tmp_path):
    centred = layers.Lambda(lambda x: x - ops.mean(x, axis=0))
    message = refused(tmp_path, build(layers.Dense(3), centred), deploy.LiteRTVerificationError)
    assert "depends on the other samples in its batch" in message
    assert "each sample by itself" in message


@pytest.mark.parametrize(
    ("output", "kind"),
    [(lambda x: (x, None), "NoneType"), (lambda x: {"y": x, "unit": "mm"}, "str")],
)
def test_outputs_that_are_no_numbers_are_named(tmp_path, output, kind):
    x = np.ones((2, 3), "float32")
    message = refused(tmp_path, called(Model(output), x), ValueError, inputs=x)
    assert f"is of type {kind}, but an exported file gives numbers only" in message


def test_text_is_named_where_it_goes_in_and_where_it_comes_out(tmp_path):
    words = layers.StringLookup(vocabulary=["a", "b"])
    message = refused(tmp_path, build(words, dtype="string"), ValueError)
    assert "is a string, but an exported file takes dense numbers only" in message
    words = layers.StringLookup(vocabulary=["a", "b"], invert=True)
    message = refused(tmp_path, build(words, dtype="int32"), ValueError)
    assert "is of type string" in message


def test_models_of_several_arguments_are_told_to_take_one(tmp_path):
    class Sum(keras.Model):
        def call(self, first, second, training=None):
            return first + second

    x = np.ones((2, 3), "float32")
    message = refused(tmp_path, called(Sum(), x, x), ValueError, inputs=[x, x])
    assert "further arguments second" in message
    assert "one tuple or dict" in message


def test_subclassed_model_that_was_never_called_is_told_to_be(tmp_path):
    message = refused(tmp_path, Model(layers.Dense(2)), ValueError, inputs=np.ones((2, 3)))
    assert "call it once on a batch" in message


@needs_weights_alone
def test_pruned_zeros_survive_the_quantization_of_weights(tmp_path):
    report = deploy.to_litert(weights_alone(), tmp_path / "m.tflite")
    # The converter computes small kernels back to float32 beforehand.
    assert "int8" in {row.dtype for row in report.tensors}
    assert len(report.tensors) == 2
    assert min(row.sparsity for row in report.tensors) > 0.88
