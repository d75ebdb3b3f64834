"""Each kind of layer: with many bits as before, with few bits rounded in the right places."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_sparse as ks
from keras_sparse.backend.gradients import gradient
from keras_sparse.backend.sparse_tensors import dense, is_sparse
from keras_sparse.precision.choice import choose
from keras_sparse.precision.fitting import LowPrecisionLayers
from keras_sparse.precision.force import Bits, Precision
from keras_sparse.precision.quantizers import Quantization

ATTENTION = {
    "MultiHeadAttention": lambda **kwargs: layers.MultiHeadAttention(2, 3, **kwargs),
    "GroupQueryAttention": lambda **kwargs: layers.GroupQueryAttention(3, 4, 2, **kwargs),
}


def attending(kind="MultiHeadAttention", **kwargs):
    class Self(layers.Layer):
        def __init__(self):
            super().__init__()
            self.inner = ATTENTION[kind](name="attention", **kwargs.get("make", {}))

        def build(self, shape):
            self.inner.build(shape, shape)

        def call(self, x, training=False):
            return self.inner(x, x, training=training, **kwargs.get("call", {}))

    return Self()


SEQUENCE, IMAGE, VOLUME = (6, 4), (6, 6, 4), (4, 4, 4, 2)
KINDS = {
    "dense": (lambda: layers.Dense(3, activation="tanh"), (5,)),
    "einsum": (lambda: layers.EinsumDense("abc,cd->abd", (6, 3), bias_axes="d"), SEQUENCE),
    "conv1d": (lambda: layers.Conv1D(3, 2, padding="causal", activation="relu"), SEQUENCE),
    "conv2d": (lambda: layers.Conv2D(4, 3, strides=2, groups=2), IMAGE),
    "conv3d": (lambda: layers.Conv3D(3, 2), VOLUME),
    "depthwise1d": (lambda: layers.DepthwiseConv1D(3), SEQUENCE),
    "depthwise2d": (lambda: layers.DepthwiseConv2D(3, activation="relu"), IMAGE),
    "transposed": (lambda: layers.Conv2DTranspose(3, 2, strides=2), IMAGE),
    "separable1d": (lambda: layers.SeparableConv1D(3, 2, padding="same"), SEQUENCE),
    "separable2d": (lambda: layers.SeparableConv2D(3, 3, activation="relu"), IMAGE),
    "attention": (attending, SEQUENCE),
    "causal": (lambda: attending(call={"use_causal_mask": True}), SEQUENCE),
    "grouped": (
        lambda: attending("GroupQueryAttention", call={"use_causal_mask": True}),
        SEQUENCE,
    ),
    "lstm": (lambda: layers.LSTM(3, return_sequences=True), SEQUENCE),
    "gru": (lambda: layers.GRU(3), SEQUENCE),
    "gru before": (lambda: layers.GRU(3, reset_after=False), SEQUENCE),
    "simple": (lambda: layers.SimpleRNN(3), SEQUENCE),
    "unrolled": (lambda: layers.LSTM(3, unroll=True), SEQUENCE),
    "both ways": (lambda: layers.Bidirectional(layers.LSTM(2)), SEQUENCE),
    "stacked": (lambda: layers.RNN([layers.LSTMCell(3), layers.GRUCell(2)]), SEQUENCE),
    "in time": (lambda: layers.TimeDistributed(layers.Dense(3)), SEQUENCE),
}


def loss_and_slopes(model, x):
    """The sum of squares of a model's outputs, its gradient by the weights, and the outputs."""
    variables = model.trainable_variables
    outputs = []

    def loss(tensors):
        with keras.StatelessScope(state_mapping=list(zip(variables, tensors, strict=True))):
            outputs.append(model(x, training=True))
            return ops.sum(ops.square(outputs[-1]))

    slopes = gradient(loss, [ops.copy(ops.convert_to_tensor(v)) for v in variables])
    shown = ops.convert_to_numpy(model(x, training=True))
    return shown, [ops.convert_to_numpy(slope) for slope in slopes]


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[pytest.mark.jax] * (kind == "gru")) for kind in KINDS]
)
def test_each_kind_of_layer(kind):
    make, shape = KINDS[kind]
    model = keras.Sequential([keras.Input(shape), make()])
    x = np.random.default_rng(0).normal(size=(3, *shape)).astype("float32")
    plain, plain_slopes = loss_and_slopes(model, x)
    choice = choose(model)
    assert choice.report.quantized
    found = {}
    for bits in (20, 3):
        precision = Precision(Quantization(stochastic=False), None)
        low = LowPrecisionLayers(model, choice, precision, "full")
        with precision.inside(Bits(bits, bits, ops.convert_to_tensor(0))):
            found[bits] = loss_and_slopes(model, x)
        again, _ = loss_and_slopes(model, x)
        np.testing.assert_array_equal(again, plain)
        low.give_back()
    np.testing.assert_allclose(found[20][0], plain, atol=2e-4)
    for one, two in zip(found[20][1], plain_slopes, strict=True):
        np.testing.assert_allclose(one, two, atol=5e-3 * max(1, np.abs(two).max()))
    assert 1e-3 < np.abs(found[3][0] - plain).max() < 1.5 * np.abs(plain).max() + 1
    # Each weight's gradient is another one too.
    for one, two in zip(found[3][1], plain_slopes, strict=True):
        assert not np.allclose(one, two, atol=1e-6)


@pytest.mark.parametrize("kind", ATTENTION)
def test_all_products_of_attention_are_rounded(kind):
    """The probabilities take at most four values at 2 bits."""
    x = np.random.default_rng(0).normal(size=(2, 6, 4)).astype("float32")
    model = keras.Sequential([keras.Input((6, 4)), attending(kind)])
    choice = choose(model)
    names = [path.split("/")[-1] for path in choice.report.quantized]
    assert {"query", "key", "value", "attention_output"} < set(names)
    seen = []
    mha = model.layers[-1].inner
    precision = Precision(Quantization(), Bits(2, 2))
    low = LowPrecisionLayers(model, choice, precision, "full")
    own = ops.einsum

    def einsum(equation, *operands):
        seen.append((equation, [len(np.unique(ops.convert_to_numpy(o))) for o in operands]))
        return own(equation, *operands)

    ops.einsum = einsum
    try:
        model(x)
    finally:
        ops.einsum = own
        low.give_back()
    assert [equation for equation, _ in seen] == [
        mha._dot_product_equation,
        mha._combine_equation,
    ]
    assert all(count <= 4 for _, counts in seen for count in counts)


@pytest.mark.parametrize("aggregation", ["full", "quantized"])
@pytest.mark.parametrize("layer", ["GraphConv", "SAGEConv", "GATConv"])
def test_aggregation_of_graph_layers(aggregation, layer):
    """What is summed over neighbors is as it was, or takes at most 2^q values."""
    graph = ks.graphs.load("synthetic-sbm")
    data = next(iter(ks.graphs.FullGraph(graph, "gcn")))[0]
    keras.utils.set_random_seed(0)
    features = keras.Input((graph.num_features,))
    adjacency = keras.Input((None,), sparse=True)
    output = getattr(ks.graphs, layer)(4, name="conv")(features, adjacency)
    model = keras.Model((features, adjacency), output)
    conv, seen = model.get_layer("conv"), []
    own = conv.gather

    def gather(adjacency, x):
        seen.append(ops.convert_to_numpy(x))
        return own(adjacency, x)

    object.__setattr__(conv, "gather", gather)
    scored = []
    if layer == "GATConv":
        own_score = conv.score

        def score(x, vectors):
            scored.append(len(np.unique(ops.convert_to_numpy(x))))
            return own_score(x, vectors)

        object.__setattr__(conv, "score", score)
    x = ops.convert_to_tensor(dense(data[0]) if is_sparse(data[0]) else data[0])
    found = {None: model((x, data[1]))}
    for bits in (20, 3):
        seen.clear()
        scored.clear()
        precision = Precision(Quantization(), Bits(bits, 8))
        low = LowPrecisionLayers(model, choose(model), precision, aggregation)
        found[bits] = model((x, data[1]))
        low.give_back()
    np.testing.assert_allclose(*map(ops.convert_to_numpy, (found[20], found[None])), atol=1e-3)
    (summed,) = seen
    assert (len(scored), all(count <= 8 for count in scored)) == (2 * (layer == "GATConv"), True)
    if aggregation == "quantized":
        assert len(np.unique(summed)) <= 8
    elif layer == "SAGEConv":
        np.testing.assert_array_equal(summed, ops.convert_to_numpy(x))
    else:
        assert len(np.unique(summed)) > 8


def test_what_stays_float_says_why():
    model = keras.Sequential(
        [
            keras.Input((8,)),
            layers.Dense(6, name="first"),
            layers.BatchNormalization(name="norm"),
            layers.Dense(6, name="lora"),
            layers.Dense(6, name="out"),
            layers.Dense(3, name="last"),
        ]
    )
    model.get_layer("lora").enable_lora(2)
    report = choose(model, exclude="out", keep_float="last").report
    assert report.quantized == ("first",)
    assert report.float32 == {
        "norm": "the products of a BatchNormalization are not known",
        "lora": "LoRA adds to its kernel",
        "out": "excluded",
        "last": "last layer kept float (keep_float)",
    }


def test_running_ranges_follow_the_batches():
    from keras_sparse.precision.force import Range, Site

    variable = keras.Variable([0.0, 0.0, 0.0], trainable=False)
    precision = Precision(Quantization(momentum=0.5), Bits(1, 8))
    site = Site(precision, 0, Range(variable))
    x = ops.convert_to_tensor(np.array([0.0, 0.4, 1.0], "float32"))
    # No batch yet: the tensor's own.
    np.testing.assert_allclose(ops.convert_to_numpy(site.activation(x)), [0, 0, 1])
    for top in (2.0, 4.0):
        with precision.inside(Bits(8, 8, 0)):
            site.activation(x * top)
    np.testing.assert_allclose(ops.convert_to_numpy(variable), [0, 3, 1])
    np.testing.assert_allclose(ops.convert_to_numpy(site.activation(4 * x)), [0, 3, 3])
