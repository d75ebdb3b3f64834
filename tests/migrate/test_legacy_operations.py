"""Each operation of Keras 3 computes what TensorFlow's does, from a configuration of Keras 2."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_sparse.migrate.legacy_config import converted
from keras_sparse.migrate.legacy_operations import as_operation

A, B = np.random.default_rng(0).normal(size=(2, 3, 4, 6)).astype("float32")
# By name: what follows the first argument in a file; `"b"` stands for a second input.
CALLS = {
    "cast": [{"dtype": "float16"}],
    "clip_by_value": [{"clip_value_min": -0.5, "clip_value_max": 1.0}],
    "expand_dims": [{"axis": 1}],
    "linalg.matmul": [{"b": [[1.0, 2.0]] * 6}],
    "math.abs": [{}],
    "math.add": [{"y": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]}],
    "math.divide": [{"y": "b"}],
    "math.exp": [{}],
    "math.log": [{}],
    "math.maximum": [{"y": "b"}],
    "math.minimum": [{"y": 0.1}],
    "math.multiply": [{"y": [[2.0], [1.0], [0.0], [3.0]]}],
    "math.negative": [{}],
    "math.pow": [{"y": 2}],
    "math.reduce_max": [{"axis": 1}, {"axis": -1, "keepdims": True}],
    "math.reduce_mean": [{"axis": [1, 2]}],
    "math.reduce_min": [{"axis": -1}],
    "math.reduce_sum": [{"axis": 2}],
    "math.rsqrt": [{}],
    "math.sigmoid": [{}],
    "math.softplus": [{}],
    "math.sqrt": [{}],
    "math.square": [{}],
    "math.subtract": [{"y": "b"}],
    "math.tanh": [{}],
    "math.truediv": [{"y": 3.0}],
    "nn.elu": [{}],
    "nn.gelu": [{}, {"approximate": True}],
    "nn.leaky_relu": [{}, {"alpha": 0.1}],
    "nn.relu": [{}],
    "nn.relu6": [{}],
    "nn.silu": [{}],
    "nn.softmax": [{}, {"axis": 1}],
    "pad": [
        {"paddings": [[0, 0], [1, 0], [2, 1]], "constant_values": 3.0},
        {"paddings": [[0, 0], [1, 0], [2, 1]], "mode": "REFLECT"},
    ],
    "reshape": [{"shape": [-1, 2, 12]}],
    "squeeze": [{}],
    "tile": [{"multiples": [1, 2, 1]}],
    "transpose": [{"perm": [0, 2, 1]}],
}


def model_of(calls):
    """A model that two inputs are given, with an output for each call."""
    layers = [
        {
            "class_name": "InputLayer",
            "config": {"batch_input_shape": [None, 4, 6], "dtype": "float32", "name": name},
            "name": name,
            "inbound_nodes": [],
        }
        for name in "ab"
    ]
    for i, (kind, function, node) in enumerate(calls):
        config = {"name": f"op_{i}", "dtype": "float32", "function": function}
        layer = {"class_name": kind, "config": config, "name": f"op_{i}", "inbound_nodes": [node]}
        layers.append(layer)
    config = {
        "name": "net",
        "layers": layers,
        "input_layers": [["a", 0, 0], ["b", 0, 0]],
        "output_layers": [[f"op_{i}", 0, 0] for i in range(len(calls))],
    }
    return converted({"class_name": "Functional", "config": config}).build()


def test_operations():
    flat = [(function, given) for function, each in CALLS.items() for given in each]
    calls, wanted = [], []
    for function, given in flat:
        source = functools.reduce(getattr, function.split("."), tf)
        kwargs = {k: ["b", 0, 0] if v == "b" else v for k, v in given.items()}
        calls.append(("TFOpLambda", function, ["a", 0, 0, {**kwargs, "name": None}]))
        wanted.append(source(A, **{k: B if v == "b" else v for k, v in given.items()}))
    found = model_of(calls)([A, B])
    for (function, _), got, expected in zip(flat, found, wanted, strict=True):
        np.testing.assert_allclose(got, expected, rtol=2e-5, atol=1e-6, err_msg=function)


def test_constants_several_tensors_and_slices():
    """What has another place than a first argument and keywords."""
    whole = {"start": None, "stop": None, "step": None}
    both = [["a", 0, 0, {"axis": 1}], ["b", 0, 0, {"axis": 1}]]
    ellipsis = {"class_name": "__ellipsis__"}
    slices = {"slice_spec": [whole, {"start": 1, "stop": None, "step": 2}, -1]}
    model = model_of(
        [
            ("TFOpLambda", "math.subtract", ["_CONSTANT_VALUE", -1, 1.0, {"y": ["a", 0, 0]}]),
            ("TFOpLambda", "concat", both),
            ("TFOpLambda", "stack", both),
            ("SlicingOpLambda", "__operators__.getitem", ["a", 0, 0, slices]),
            (
                "SlicingOpLambda",
                "__operators__.getitem",
                ["a", 0, 0, {"slice_spec": [ellipsis, 2, None]}],
            ),
        ]
    )
    wanted = [1 - A, np.concatenate([A, B], 1), np.stack([A, B], 1), A[:, 1::2, -1]]
    for got, expected in zip(model([A, B]), [*wanted, A[..., 2, None]], strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("function", "given", "said"),
    [
        ("nn.l2_loss", {}, r"tf.nn.l2_loss, for which no operation.*tf.math.add"),
        ("transpose", {"perm": [0, 2, 1], "conjugate": True}, r"tf.transpose with perm, conjugate"),
        ("reshape", {"shape": [-1, ["b", 0, 0]]}, r"tf.reshape with shape \(settings that are"),
        ("math.reduce_sum", {"axis": 1, "odd": 2}, r"tf.math.reduce_sum with axis, odd"),
    ],
)
def test_what_is_not_known_is_named(function, given, said):
    with pytest.raises(ValueError, match=said):
        model_of([("TFOpLambda", function, ["a", 0, 0, given])])


def test_a_computed_index_is_refused():
    spec = {"slice_spec": [{"start": ["b", 0, 0], "stop": None, "step": None}]}
    with pytest.raises(ValueError, match="a computed index"):
        model_of([("SlicingOpLambda", "__operators__.getitem", ["a", 0, 0, spec])])


def test_calls_with_settings_of_their_own_are_refused():
    nodes = [{"args": ["x"], "kwargs": {"axis": axis}} for axis in (1, 2)]
    config = {"function": "squeeze"}
    with pytest.raises(ValueError, match="in several places"):
        as_operation({"name": "op", "config": config, "inbound_nodes": nodes})


def test_it_is_saved_as_plain_keras(tmp_path):
    model = model_of([("TFOpLambda", "nn.relu6", ["a", 0, 0, {}])])
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(again([A, B]), np.clip(A, 0, 6))
