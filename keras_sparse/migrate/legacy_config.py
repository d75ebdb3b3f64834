"""Configurations of Keras 2 models as Keras 3 reads them, without the wrappers of tfmot."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import keras

from keras_sparse.migrate.legacy_operations import LAYERS, as_operation

_MODELS = ("Sequential", "Functional", "Model")
_PRUNING = "PruneLowMagnitude"
# Settings that Keras 3 has no more, with the values by which a layer computes as one without them.
_ANY = object()
_GONE = {
    "groups": (1,),
    "time_major": (False,),
    "implementation": (_ANY,),
    "input_length": (_ANY,),
    "batch_input_shape": (_ANY,),
    "query_shape": (_ANY,),
    "key_shape": (_ANY,),
    "value_shape": (_ANY,),
    "softmax_robust_masking": (False,),
    "ragged": (False,),
}
_KEPT = {"groups": ("Conv1D", "Conv2D", "Conv3D"), "batch_input_shape": ("InputLayer",)}
# What Keras 2 writes for every layer of a kind and these do not compute with.
_SEPARABLE = ("kernel_initializer", "kernel_regularizer", "kernel_constraint")
_SPATIAL = ("trainable", "noise_shape")
_UNUSED = {
    "SeparableConv1D": _SEPARABLE,
    "SeparableConv2D": _SEPARABLE,
    **dict.fromkeys(("SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D"), _SPATIAL),
}
_RENAMED = {
    ("InputLayer", "batch_input_shape"): "batch_shape",
    ("LeakyReLU", "alpha"): "negative_slope",
}
_CURES = {
    "TensorFlowOpLayer": "write the operation as a layer, such as Rescaling, Add or Multiply",
    "QuantizeWrapper": "bring over the model as it was before quantize_model",
    "QuantizeWrapperV2": "bring over the model as it was before quantize_model",
    "QuantizeLayer": "bring over the model as it was before quantize_model",
    "ClusterWeights": "call tfmot.clustering.keras.strip_clustering",
}


class Wrapped(NamedTuple):
    """A layer that `prune_low_magnitude` had wrapped.

    Args:
        top: The name, in the old model, of the layer of the whole model that it is or is in.
        wrapper: The wrapper's name.
        layers: The names of the new layer and of those around it, the outermost first.
    """

    top: str
    wrapper: str
    layers: tuple[str, ...]


class Converted(NamedTuple):
    """A model's configuration.

    Args:
        class_name: `"Sequential"` or `"Functional"`.
        config: Its configuration for Keras 3.
        names: The new names of its layers by the old ones.
        wrapped: The layers that were wrapped.
    """

    class_name: str
    config: dict[str, Any]
    names: dict[str, str]
    wrapped: list[Wrapped]

    def build(self) -> keras.Model:
        """The model, with weights of its own."""
        kind = keras.Sequential if self.class_name == "Sequential" else keras.Model
        return kind.from_config(copy.deepcopy(self.config))


def converted(model: Mapping[str, Any], around: tuple[str, ...] = (), top: str = "") -> Converted:
    """The configuration of a Keras 2 model for Keras 3.

    Args:
        model: Its class and configuration.
        around: The names of the models that it stands in.
        top: The name of the layer of the whole model that it is in.

    Raises:
        ValueError: If it is subclassed, or has a layer that Keras 3 has not.
    """
    class_name, config = model["class_name"], copy.deepcopy(model["config"])
    if class_name not in _MODELS or "layers" not in config:
        raise ValueError(
            f"The file holds a {class_name}, which only its own code can build: functional and "
            "sequential models are brought over. Build it in Keras 3, and copy the weights."
        )
    wrapped, names, first = list[Wrapped](), dict[str, str](), dict[str, int]()
    inner_names = [_unwrapped(layer)["config"]["name"] for layer in config["layers"]]
    layers: list[dict[str, Any]] = []
    for entry in config["layers"]:
        old = entry["config"]["name"]
        layer, is_wrapped = _unwrapped(entry), _is_pruning(entry)
        plain = layer["config"]["name"]
        name = (plain if inner_names.count(plain) == 1 else old).replace("/", "_")
        names[old] = name
        if is_wrapped:
            wrapped.append(Wrapped(top or old, old, (*around, name)))
        if layer["class_name"] in _MODELS:
            inner = converted(layer, (*around, name), top or old)
            wrapped += inner.wrapped
            made: dict[str, Any] = {
                "class_name": inner.class_name,
                "config": inner.config | {"name": name},
            }
            # Keras 2 counts what a model was made with as its first call, where it knew its input.
            first[old] = int(layer["config"]["layers"][0]["class_name"] == "InputLayer")
        else:
            made = _operation(layer, name) if _is_operation(layer) else _layer(layer, name)
        if "inbound_nodes" in entry:
            made |= {"name": name, "inbound_nodes": entry["inbound_nodes"]}
        if class_name == "Sequential" and not layers and made["class_name"] != "InputLayer":
            layers += _input_of(entry, layer)
        layers.append(made)

    def reference(to: list[Any]) -> list[Any]:
        return [names[to[0]], to[1] - first.get(to[0], 0), to[2]]

    for made in layers:
        if "inbound_nodes" in made:
            made["inbound_nodes"] = [_call(node, reference) for node in made["inbound_nodes"]]
    layers = [as_operation(made) if _is_operation(made) else made for made in layers]
    ends = {
        key: _single(_with_references(config[key], reference)) for key in _ENDS if key in config
    }
    kind = "Sequential" if class_name == "Sequential" else "Functional"
    new = {key: config[key] for key in ("name", "trainable") if key in config}
    return Converted(kind, {**new, "layers": layers, **ends}, names, wrapped)


# What stands in the place of a layer's name before a number.
_CONSTANT = "_CONSTANT_VALUE"
_ENDS = ("input_layers", "output_layers")


def _is_operation(layer: Mapping[str, Any]) -> bool:
    return layer["class_name"] in LAYERS


def _operation(layer: Mapping[str, Any], name: str) -> dict[str, Any]:
    """An operation as Keras 2 has it, before its inputs are known."""
    return {"class_name": layer["class_name"], "config": layer["config"] | {"name": name}}


def _is_pruning(layer: Mapping[str, Any]) -> bool:
    return layer["class_name"].rpartition(">")[2] == _PRUNING


def _unwrapped(layer: Mapping[str, Any]) -> Mapping[str, Any]:
    return _unwrapped(layer["config"]["layer"]) if _is_pruning(layer) else layer


def _input_of(entry: Mapping[str, Any], layer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The input that older files only tell in the first layer."""
    for config in (entry["config"], layer["config"]):
        if config.get("batch_input_shape"):
            shape = {"batch_shape": config["batch_input_shape"], "dtype": _dtype(config["dtype"])}
            name = f"{layer['config']['name']}_input".replace("/", "_")
            return [{"class_name": "InputLayer", "config": {**shape, "name": name}}]
    raise ValueError(
        "The file does not say what shape the model's input has: the model was not built when it "
        "was saved. Call it on a batch, and save it again."
    )


def _layer(layer: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A layer that is no model, checked to be one of Keras 3."""
    class_name = layer["class_name"].rpartition(">")[2]
    kind = getattr(keras.layers, class_name, None) or keras.saving.get_registered_object(class_name)
    cure = _CURES.get(class_name)
    if kind is None or cure:
        raise ValueError(
            f"Layer {name!r} is a {class_name}, which Keras 3 does not have. In the Keras that "
            f"wrote the file, {cure or 'replace it by a layer that both have'}, and save the model "
            "again; a layer class of your own is registered in Keras 3 with "
            "keras.saving.register_keras_serializable() before the file is read."
        )
    config = _cleaned(layer)["config"] | {"name": name}
    if class_name != "InputLayer":
        try:
            kind.from_config(copy.deepcopy(config))
        except Exception as error:
            said = str(error).rpartition("Exception encountered: ")[2].partition("\n")[0]
            raise ValueError(
                f"Layer {name!r}, a {class_name}, cannot be made in Keras 3: {said}. In the Keras "
                "that wrote the file, replace it by a layer that both have, and save the model "
                "again."
            ) from error
    return {"class_name": class_name, "config": config}


def _cleaned(value: Any, kind: str = "") -> Any:
    """A configuration without what Keras 3 does not know, layers inside it included."""
    if isinstance(value, list):
        return [_cleaned(each) for each in value]
    if not isinstance(value, Mapping):
        return value
    if "class_name" in value and "config" in value:
        if value["class_name"].endswith("Policy"):
            return _dtype(value)
        kind = value["class_name"]
        module = {"module": "keras.layers"} if hasattr(keras.layers, kind) else {}
        return {"class_name": kind, "config": _cleaned(value["config"], kind), **module}
    known = {
        _RENAMED.get((kind, key), key): _cleaned(each)
        for key, each in value.items()
        if not _is_gone(kind, key, each)
    }
    if kind == "BatchNormalization" and isinstance(known.get("axis"), list):
        (known["axis"],) = known["axis"]
    return known


def _is_gone(kind: str, key: str, value: Any) -> bool:
    if key in _UNUSED.get(kind, ()):
        return True
    if key not in _GONE or kind in _KEPT.get(key, ()):
        return False
    return _ANY in _GONE[key] or value in _GONE[key]


def _dtype(value: Any) -> Any:
    """A type or a policy by its name."""
    return value["config"]["name"] if isinstance(value, Mapping) else value


def _call(node: Any, reference: Callable[[list[Any]], list[Any]]) -> dict[str, Any]:
    """A call of a layer, with its inputs as Keras 3 writes them.

    Args:
        node: As Keras 2 writes it: an input, `[layer, node, tensor, keywords]`, or several.
        reference: What is now in the place of the first three.
    """
    kwargs: dict[str, Any] = {}

    def tensor(to: list[Any]) -> Any:
        kwargs.update(to[3] if len(to) > 3 else {})
        if to[0] == _CONSTANT:
            return to[2]
        history = {"shape": [None], "dtype": "float32", "keras_history": reference(to)}
        return {"class_name": "__keras_tensor__", "config": history}

    inputs = _single(_with_references(node, tensor))
    given = {key: _with_references(each, tensor) for key, each in kwargs.items()}
    return {
        "args": [inputs],
        "kwargs": {key: each for key, each in given.items() if each is not None},
    }


def _single(value: Any) -> Any:
    """What a list of one holds: Keras 2 does not tell one tensor from a list of one."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _with_references(value: Any, change: Callable[[list[Any]], Any]) -> Any:
    """A structure in which each `[layer, node, tensor, ...]` is changed."""
    if isinstance(value, Mapping):
        return {key: _with_references(each, change) for key, each in value.items()}
    if not isinstance(value, list):
        return value
    if len(value) > 2 and isinstance(value[0], str) and isinstance(value[1], int):
        return change(value)
    return [_with_references(each, change) for each in value]
