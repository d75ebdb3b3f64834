"""The variables of a model: which layer owns each, where it stands, and how it is called."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import keras

from keras_sparse.messages.arguments import instance
from keras_sparse.probe.finite import not_finite

_KERNELS = ("kernel", "recurrent_kernel", "depthwise_kernel", "pointwise_kernel")


class Place(NamedTuple):
    """Where a variable stands in a model.

    Args:
        layer: The innermost layer that owns it.
        path: Its path, which no other variable of the model has, such as `"conv1/kernel"`.
        names: All names by which it may be meant: its path, its layer and each layer around that.
    """

    layer: keras.layers.Layer
    path: str
    names: tuple[str, ...]


def places(model: keras.layers.Layer) -> dict[int, Place]:
    """The place of every variable of a model, by the variable's `id`.

    A path is the variable's own, the same before and after saving. Keras gives equal paths to
    variables of equally named layers in different sub-models; those begin with the names of the
    layers around them, and where these are equal too, the layers are numbered.

    ```python
    places(model)[id(model.trainable_variables[0])].path  # such as "dense/kernel"
    ```

    Args:
        model: A built Keras model, or any other layer.
    """
    owner = {}
    around: dict[int, tuple[str, ...]] = {}
    containers: dict[int, dict[str, None]] = {}
    for layer, chain, own in _owned(model):
        for variable in own:
            owner[id(variable)], around[id(variable)] = layer, chain
            containers.setdefault(id(variable), {}).update(dict.fromkeys(chain))
    short = {id(v): v.path.removeprefix(f"{model.name}/") for v in model.variables}
    full = {key: _through(around[key], path) for key, path in short.items()}
    path = _unique(short, full)
    return {
        key: Place(
            layer,
            path[key],
            tuple(
                dict.fromkeys(
                    (
                        *names_of(layer.name, path[key]),
                        *names_of(layer.name, full[key]),
                        *containers[key],
                    )
                )
            ),
        )
        for key, layer in owner.items()
    }


def owners(model: keras.layers.Layer) -> dict[int, keras.layers.Layer]:
    """The innermost layer that owns each variable, by the variable's `id`."""
    return {id(variable): layer for layer, _, own in _owned(model) for variable in own}


def names_of(layer: str, path: str) -> tuple[str, ...]:
    """The names of a variable that its path tells: its layer, those around it, and paths to it.

    ```python
    names_of("lstm_cell", "model/lstm/lstm_cell/kernel")
    # ("lstm_cell", "model/lstm/lstm_cell/kernel", "lstm_cell/kernel", "model/lstm/lstm_cell",
    #  "model", "lstm")
    ```
    """
    parts = path.split("/")
    paths = (path, "/".join(parts[-2:]), *(["/".join(parts[:-1])] if parts[1:] else []))
    return tuple(dict.fromkeys((layer, *paths, *parts[:-1])))


def check_built(model: keras.Model) -> None:
    """Checks that a model has its variables.

    Raises:
        ValueError: If it is not a Keras model or not built.
    """
    instance("model", model, keras.Model, "a built keras.Model")
    if not model.built or not model.variables:
        raise ValueError(
            f"Model {model.name!r} is not built: it has no weights yet. Call it on a batch, call "
            "model.build(input_shape), or give it an Input."
        )


def is_kernel_name(name: str) -> bool:
    """Whether a variable's name says that it is a kernel."""
    return name in _KERNELS or name.endswith("_kernel")


def is_weight(layer: keras.layers.Layer, variable: Any) -> bool:
    """Whether a variable is what its layer computes with, trained or not, rather than state.

    Frozen weights are weights, and so are kernels that Keras has quantized. Moving statistics,
    scales of a quantization and seeds are state.

    Args:
        layer: The layer that owns the variable.
        variable: A variable.
    """
    made_to_train = any(own is variable for own in layer._trainable_variables)
    return made_to_train or is_kernel_name(variable.name)


def broken_weights(model: keras.Model) -> list[str]:
    """The paths of the weights of a model that hold NaN or infinity."""
    place = places(model)
    return [place[id(variable)].path for variable in not_finite(model.weights)]


def _owned(
    model: keras.layers.Layer,
) -> Iterator[tuple[keras.layers.Layer, tuple[str, ...], list[Any]]]:
    """Each layer with the names of those around it and the variables that no sublayer has.

    A layer inside of several others comes once for each of them, the first of them last.
    """
    pending: list[tuple[keras.layers.Layer, tuple[str, ...]]] = [(model, ())]
    while pending:
        layer, chain = pending.pop()
        children = layer._flatten_layers(include_self=False, recursive=False)
        within = () if layer is model else (*chain, layer.name)
        pending.extend((child, within) for child in children)
        inner = {id(variable) for child in children for variable in child.variables}
        yield layer, chain, [v for v in layer.variables if id(v) not in inner]


def _through(around: Iterable[str], path: str) -> str:
    """A path with the names of the layers around it that it leaves out."""
    parts = path.split("/")
    missing = []
    for name in around:
        if name in parts:
            break
        missing.append(name)
    return "/".join([*missing, path])


def _unique(short: dict[int, str], full: dict[int, str]) -> dict[int, str]:
    """The short paths, the full ones where those are equal, and numbers where these are too."""
    of: dict[str, list[int]] = {}
    for key, path in short.items():
        of.setdefault(path, []).append(key)
    chosen = {key: path if len(of[path]) == 1 else full[key] for key, path in short.items()}
    taken = {path for path, keys in of.items() if len(keys) == 1}
    for key, path in chosen.items():
        if len(of[short[key]]) == 1:
            continue
        *before, name = path.split("/")
        number = 0
        while chosen[key] in taken:
            number += 1
            layer = [f"{before[-1]}_{number}"] if before else []
            chosen[key] = "/".join([*before[:-1], *layer, name if before else f"{name}_{number}"])
        taken.add(chosen[key])
    return chosen
