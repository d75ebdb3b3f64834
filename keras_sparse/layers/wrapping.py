"""Wrapping the layers of a model in `PruneWrapper`, and taking the wrappers away again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from keras_sparse.layers.prune_wrapper import PruneWrapper
from keras_sparse.messages.arguments import instance
from keras_sparse.probe.copies import copy_states
from keras_sparse.sparsity.selection import Which, kernels_of, select


def prune_wrappers(model: keras.layers.Layer) -> list[PruneWrapper]:
    """The wrappers in a model of any kind, in the order of its layers."""
    instance("model", model, keras.layers.Layer, "a Keras model")
    place = {id(variable): i for i, variable in enumerate(model.variables)}
    found = [x for x in model._flatten_layers() if isinstance(x, PruneWrapper)]
    return sorted(found, key=lambda x: place[id(x.kernels[0])] if x.built else len(place))


def prune_wrap(model: keras.Model, *, exclude: Which = (), keep_dense: Any = ()) -> keras.Model:
    """A copy of a model with a `PruneWrapper` around each layer that has kernels.

    ```python
    model = ks.prune_wrap(model, keep_dense="last")
    ```

    Args:
        model: A built functional or sequential model; models inside it are taken over as well.
            In a subclassed model, wrap the layers where they are made.
        exclude: Layers, names, globs or a predicate of what is not wrapped. Of a layer with
            several kernels, either all are left out or none.
        keep_dense: Any of `"first"`, `"last"`, `"depthwise"`.

    Returns:
        A new model with the same weights; compiled if the model is, with an optimizer of its own.

    Raises:
        ValueError: If the model is of another kind, wrapped already, unbuilt or has nothing to
            prune, or a layer has kernels of both kinds.
    """
    if prune_wrappers(model):
        raise ValueError(f"Model {model.name!r} has PruneWrappers already. Take it as it is.")
    selection = select(model, exclude=exclude, keep_dense=keep_dense)
    chosen = {id(variable) for variable in selection.variables(model)}

    def wrapped(layer: keras.layers.Layer, copy: keras.layers.Layer) -> keras.layers.Layer:
        own = [id(kernel) in chosen for kernel, _ in kernels_of(layer)]
        if not any(own):
            return copy
        if not all(own):
            raise ValueError(
                f"Layer {layer.name!r} has kernels that are to be pruned and others that are not. "
                "Leave the layer out, or prune all of it."
            )
        return PruneWrapper(copy)

    return copied(model, wrapped, "prune_wrap")


def strip_pruning(model: keras.Model) -> keras.Model:
    """A copy of a model without its wrappers, which holds the sparse weights.

    Args:
        model: A functional or sequential model with `PruneWrapper`s, nested ones included.

    Returns:
        A new model, plain Keras; compiled if the model is, with an optimizer of its own.

    Raises:
        ValueError: If the model is of another kind.
    """
    instance("model", model, keras.Model, "a keras.Model")
    for wrapper in prune_wrappers(model):
        wrapper.apply_masks()
    return copied(model, lambda _, copy: copy, "strip_pruning")


def copied(
    model: keras.Model,
    change: Callable[[keras.layers.Layer, keras.layers.Layer], keras.layers.Layer],
    caller: str,
    wrapper: type[keras.layers.Wrapper] = PruneWrapper,
) -> keras.Model:
    """Clones a model layer by layer, without its wrappers, and takes its weights over.

    Args:
        model: A functional or sequential model.
        change: Makes of a layer and its copy what stands in the new model.
        caller: The name of the public function, for errors.
        wrapper: The kind of wrapper that is left out.
    """
    inner = [x for x in model._flatten_layers() if isinstance(x, keras.Model)]
    # Functional models, whose class has no public name, are graphs of operations.
    others = [x for x in inner if not isinstance(x, keras.Sequential) and not _is_graph(x)]
    if others:
        raise ValueError(
            f"{caller} copies functional and sequential models. {others[0].name!r} is a "
            f"{type(others[0]).__name__}: in a subclassed model, put {wrapper.__name__} around "
            "layers, or take it away, where they are made."
        )
    pairs: list[tuple[keras.layers.Layer, keras.layers.Layer]] = []

    def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
        plain = layer.layer if isinstance(layer, wrapper) else layer
        copy = plain.__class__.from_config(plain.get_config())
        shapes = plain.get_build_config() if plain.built else None
        if shapes and "shapes_dict" in shapes:
            # A wrapper passes on one shape only; layers of several inputs are built before.
            copy.build_from_config(shapes)
        pairs.append((plain, copy))
        return change(layer, copy)

    new = keras.models.clone_model(model, clone_function=clone, recursive=True)
    if not new.built:
        new.build_from_config(model.get_build_config())
    for plain, copy in pairs:
        copy.set_weights(plain.get_weights())
    copy_states(*zip(*pairs, strict=True))
    return new


def _is_graph(model: keras.Model) -> bool:
    return isinstance(model, keras.Function)
