"""TensorFlow operations in the graphs of Keras 2 models, as operations of Keras 3."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

# The classes by which Keras 2 writes them.
LAYERS = ("TFOpLambda", "SlicingOpLambda")
# Where Keras 3 has its operations, by the names that stand in its files.
_MODULES = tuple(f"keras.src.ops.{name}" for name in ("numpy", "nn", "math", "core"))
_TENSOR = "__keras_tensor__"


class _Operation(NamedTuple):
    """An operation of Keras 3 and a call of it, as its files hold them."""

    class_name: str
    args: list[Any]
    config: dict[str, Any]
    kwargs: dict[str, Any]


def _made(class_name: str, *args: Any, **config: Any) -> _Operation:
    return _Operation(class_name, list(args), config, {})


def _unary(class_name: str) -> Callable[..., _Operation]:
    return lambda x: _made(class_name, x)


def _binary(class_name: str) -> Callable[..., _Operation]:
    return lambda x, y: _made(class_name, _value(x), _value(y))


def _reduced(class_name: str) -> Callable[..., _Operation]:
    def made(x: Any, axis: Any = None, keepdims: bool = False) -> _Operation:
        return _made(class_name, x, axis=axis, keepdims=keepdims)

    return made


def _transposed(x: Any, perm: Any = None, conjugate: bool = False) -> _Operation:
    if conjugate:
        raise TypeError("conjugate=True")
    return _made("Transpose", x, axes=perm)


def _padded(
    x: Any, paddings: Any, mode: str = "CONSTANT", constant_values: float = 0
) -> _Operation:
    made = _made("Pad", x, pad_width=paddings, mode=mode.lower())
    return made._replace(kwargs={"constant_values": constant_values} if constant_values else {})


def _cast(x: Any, dtype: str) -> _Operation:
    return _made("Cast", x, dtype=re.sub(r"<dtype: '(\w+)'>", r"\1", dtype))


def _item(x: Any, slice_spec: Any = None) -> _Operation:
    return _made("GetItem", x, _key(slice_spec))


def _key(spec: Any) -> Any:
    """What stands in the brackets."""
    if isinstance(spec, list):
        return [_key(each) for each in spec]
    if not isinstance(spec, Mapping):
        return spec
    if spec.get("class_name") == "__ellipsis__":
        return {**spec, "config": {}}
    if _holds_tensor(dict(spec)):
        raise TypeError("a computed index")
    return {"class_name": "__slice__", "config": dict(spec)}


def _value(x: Any) -> Any:
    """A number or a tensor as it is, numbers in lists as an array."""
    if not isinstance(x, list):
        return x
    array = np.asarray(x)
    dtype = "float32" if array.dtype.kind == "f" else "int32"
    return {"class_name": "__numpy__", "config": {"value": x, "dtype": dtype}}


# Arguments have TensorFlow's names, the first one apart.
_OPERATIONS: dict[str, Callable[..., _Operation]] = {
    "__operators__.add": _binary("Add"),
    "__operators__.getitem": _item,
    "cast": _cast,
    "clip_by_value": lambda x, clip_value_min, clip_value_max: _made(
        "Clip", x, x_min=clip_value_min, x_max=clip_value_max
    ),
    "concat": lambda x, axis: _made("Concatenate", x if isinstance(x, list) else [x], axis=axis),
    "expand_dims": lambda x, axis: _made("ExpandDims", x, axis=axis),
    "linalg.matmul": lambda x, b: _made("Matmul", _value(x), _value(b)),
    "math.abs": _unary("Absolute"),
    "math.add": _binary("Add"),
    "math.divide": _binary("TrueDivide"),
    "math.exp": _unary("Exp"),
    "math.log": _unary("Log"),
    "math.maximum": _binary("Maximum"),
    "math.minimum": _binary("Minimum"),
    "math.multiply": _binary("Multiply"),
    "math.negative": _unary("Negative"),
    "math.pow": _binary("Power"),
    "math.reduce_max": _reduced("Max"),
    "math.reduce_mean": _reduced("Mean"),
    "math.reduce_min": _reduced("Min"),
    "math.reduce_sum": _reduced("Sum"),
    "math.rsqrt": _unary("Rsqrt"),
    "math.sigmoid": _unary("Sigmoid"),
    "math.softplus": _unary("Softplus"),
    "math.sqrt": _unary("Sqrt"),
    "math.square": _unary("Square"),
    "math.subtract": _binary("Subtract"),
    "math.tanh": _unary("Tanh"),
    "math.truediv": _binary("TrueDivide"),
    "nn.elu": _unary("Elu"),
    "nn.gelu": lambda x, approximate=False: _made("Gelu", x, approximate=approximate),
    "nn.leaky_relu": lambda x, alpha=0.2: _made("LeakyRelu", x, negative_slope=alpha),
    "nn.relu": _unary("Relu"),
    "nn.relu6": _unary("Relu6"),
    "nn.silu": _unary("Silu"),
    "nn.softmax": lambda x, axis=-1: _made("Softmax", x, axis=axis),
    "pad": _padded,
    "reshape": lambda x, shape: _made("Reshape", x, newshape=shape),
    "squeeze": lambda x, axis=None: _made("Squeeze", x, axis=axis),
    "stack": lambda x, axis=0: _made("Stack", x if isinstance(x, list) else [x], axis=axis),
    "tile": lambda x, multiples: _made("Tile", x, repeats=multiples),
    "transpose": _transposed,
}


def as_operation(layer: Mapping[str, Any]) -> dict[str, Any]:
    """An operation of Keras 3 in the place of one of TensorFlow.

    Args:
        layer: One of `LAYERS`, with the inputs of its calls as Keras 3 writes them.

    Raises:
        ValueError: If Keras 3 has none, or not with these settings.
    """
    name, function = layer["name"], layer["config"]["function"]
    plain = function.removeprefix("compat.v1.")
    make = _OPERATIONS.get(plain)
    if make is None:
        raise ValueError(
            f"Layer {name!r} computes tf.{function}, for which no operation of Keras 3 is known. "
            "In the Keras that wrote the file, write it as a layer, such as Resizing, Rescaling or "
            "UnitNormalization, or by some of these, and save the model again: "
            f"{', '.join(f'tf.{known}' for known in sorted(_OPERATIONS) if known[0] != '_')}, + "
            "and slices."
        )
    calls = []
    for node in layer["inbound_nodes"]:
        given = {key: value for key, value in node["kwargs"].items() if key != "name"}
        try:
            made = make(*node["args"], **given)
            if _holds_tensor(made.config):
                raise TypeError("settings that are computed")
        except TypeError as error:
            raise ValueError(
                f"Layer {name!r} computes tf.{function} with {', '.join(given) or 'no settings'} "
                f"({error}), for which Keras 3 has no operation. In the Keras that wrote the file, "
                "write it as a layer or with plain numbers (-1 for the batch in a shape), and save "
                "the model again."
            ) from error
        calls.append(made)
    first = calls[0]
    if any(call.config != first.config for call in calls):
        raise ValueError(
            f"Layer {name!r} computes tf.{function} in several places with settings of their own. "
            "In the Keras that wrote the file, make each a layer of its own, and save again."
        )
    return {
        "module": next(m for m in _MODULES if hasattr(importlib.import_module(m), first[0])),
        "class_name": first.class_name,
        "registered_name": first.class_name,
        "config": {"name": name, **first.config},
        "name": name,
        "inbound_nodes": [{"args": call.args, "kwargs": call.kwargs} for call in calls],
    }


def _holds_tensor(value: Any) -> bool:
    if isinstance(value, Mapping):
        return value.get("class_name") == _TENSOR or any(map(_holds_tensor, value.values()))
    return isinstance(value, list) and any(map(_holds_tensor, value))
