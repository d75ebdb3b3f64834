"""The head of a model, found or named, and models with a new one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from keras_sparse.backend.random_state import undisturbed_random
from keras_sparse.messages.arguments import instance, integer, optional, random_seed, wrong
from keras_sparse.messages.names import unknown_name
from keras_sparse.probe.convolutions import CONVOLUTIONS
from keras_sparse.probe.copies import copy_states
from keras_sparse.probe.layer_graph import Call, LayerGraph, layer_graph
from keras_sparse.probe.variables import check_built

_SHOWN = 8


def replace_head(
    model: keras.Model,
    classes: int | None = None,
    *,
    head: Any = None,
    initializer: Any = "he_uniform",
    seed: int | None = 0,
) -> keras.Model:
    """A copy of a model with a new head, which is dense and not trained yet.

    Everything else has the weights of the given model, which stays as it is. The new head is of
    the old one's kind, with as many outputs as there are classes; what stands behind the old one,
    such as a softmax, stands behind the new one.

    ```python
    model = replace_head(sparse_model, classes=10)
    print(model.layers[-1].name)
    ```

    Args:
        model: A built model. Of a subclassed one the head must be named.
        classes: Outputs of the new head.
        head: The layer to replace or its name. Defaults to the last layer with weights, if it is
            a dense layer or 1x1 convolution. Or a mapping from names to new layers, for other
            heads or several of them; `classes` is then left out.
        initializer: Of the new head's kernel: a Keras initializer or its name. The default draws
            from `[-b, b]` with `b = sqrt(6 / fan_in)`. Biases start at 0.
        seed: Of an initializer by name.

    Returns:
        The new model, all of it trainable.

    Raises:
        ValueError: If the head cannot be found or is unknown, naming the candidates, or the new
            one does not fit in its place.

    Source: Peste (2023), 4.3.1 and B.1 (Kaiming uniform; fan-in and gain 2 are read into it).
    """
    return with_new_heads(model, classes, head, initializer, seed)[0]


def with_new_heads(
    model: keras.Model, classes: int | None, head: Any, initializer: Any, seed: int | None
) -> tuple[keras.Model, list[keras.layers.Layer]]:
    """The copy that `replace_head` makes, and the new layers in it."""
    check_built(model)
    optional(random_seed, "seed", seed)
    if isinstance(head, Mapping):
        if classes is not None or not head:
            raise ValueError(
                "head as a mapping names each new layer: leave classes out, and give one layer at "
                f"least. Received: classes={classes}, head={dict(head)}"
            )
        new = {named_layer(model, name): _given(name, layer) for name, layer in head.items()}
    else:
        old = find_head(model, head)
        new = {old: _of_classes(old, integer("classes", classes, 2), initializer, seed)}
    copy = _copied(model, new)
    for layer in copy._flatten_layers():
        # Layer by layer: on TensorFlow, Keras passes on to inner layers only a value that changes.
        layer.trainable = True
    return copy, list(new.values())


def find_head(model: keras.Model, head: Any = None) -> keras.layers.Layer:
    """The layer of a model that gives its classes.

    Args:
        model: A built model.
        head: The layer or its name; `None` to look for it.

    Raises:
        ValueError: If it cannot be found, with the layers that may be meant.
    """
    if head is not None:
        return named_layer(model, head)
    cure = (
        "Name it by head=..., or put one on the features: keras.Model(inputs, "
        "keras.layers.Dense(classes)(features)), with GlobalAveragePooling2D before it for maps."
    )
    try:
        graph = layer_graph(model)
    except ValueError as error:
        raise ValueError(
            f"The head of model {model.name!r} cannot be found, because it is subclassed. "
            f"{_candidates(model)} {cure}"
        ) from error
    call = classifier_call(graph)
    if call is None or len(graph.outputs) != 1:
        raise ValueError(
            f"The head of model {model.name!r} cannot be found: of its {len(graph.outputs)} "
            "output(s) the last layer with weights is no dense layer or 1x1 convolution, or "
            f"there are several. {_candidates(model)} {cure}"
        )
    return call.operation


def classifier_call(graph: LayerGraph) -> Call | None:
    """The call of the dense layer or 1x1 convolution that no other layer with weights follows.

    Args:
        graph: Of a model; models inside it are looked into.
    """
    for call in reversed(graph.calls):
        if call.graph is not None:
            return classifier_call(call.graph)
        if getattr(call.operation, "weights", None):
            return call if _classifies(call.operation) else None
    return None


def named_layer(model: keras.Model, which: Any) -> keras.layers.Layer:
    """A layer of a model by its name or itself, wherever it stands.

    Raises:
        ValueError: If the model has no such layer.
    """
    instance("head", which, (str, keras.layers.Layer), "a layer of the model or its name")
    layers = list(model._flatten_layers(include_self=False))
    found = [layer for layer in layers if layer is which or layer.name == which]
    if not found:
        known = [layer.name for layer in candidates(model)]
        name = which if isinstance(which, str) else which.name
        raise unknown_name(f"head of model {model.name!r}", name, known)
    return found[0]


def candidates(model: keras.Model) -> list[keras.layers.Layer]:
    """The layers of a model that may be heads, the last ones first."""
    layers = model._flatten_layers(include_self=False)
    kinds = (keras.layers.Dense, keras.layers.EinsumDense, *CONVOLUTIONS)
    return [layer for layer in layers if isinstance(layer, kinds)][::-1]


def _classifies(layer: Any) -> bool:
    kernel = getattr(layer, "kernel", None)
    kinds = (keras.layers.Dense, *CONVOLUTIONS)
    return isinstance(layer, kinds) and kernel is not None and set(kernel.shape[:-2]) <= {1}


def _candidates(model: keras.Model) -> str:
    names = [layer.name for layer in candidates(model)]
    if not names:
        return "None of its layers is one that could be it."
    shown = ", ".join(repr(name) for name in names[:_SHOWN])
    return f"Candidates, the last first: {shown}{', ...' if len(names) > _SHOWN else ''}."


def _given(name: str, layer: Any) -> keras.layers.Layer:
    kind = keras.layers.Layer
    instance(f"head[{name!r}]", layer, kind, "a Keras layer that is not built yet")
    if layer.built:
        cure = "Make a new layer: a head is trained from its own initial weights."
        raise wrong(f"head[{name!r}]", layer, "a Keras layer that is not built yet", cure)
    return layer


def _of_classes(
    old: keras.layers.Layer, classes: int, initializer: Any, seed: int | None
) -> keras.layers.Layer:
    """A new head of the old one's kind."""
    size = "filters" if isinstance(old, CONVOLUTIONS) else "units"
    config = old.get_config()
    if size not in config:
        raise ValueError(
            f"A {type(old).__name__} such as {old.name!r} is not told by a number of classes. "
            f"Give the new layer itself: head={{{old.name!r}: layer}}."
        )
    with undisturbed_random():
        made = keras.initializers.get(initializer)
    if isinstance(initializer, str) and "seed" in made.get_config():
        made = type(made).from_config({**made.get_config(), "seed": seed})
    return type(old).from_config(
        {
            **config,
            size: classes,
            "name": f"{old.name}_{classes}",
            "kernel_initializer": made,
            "bias_initializer": "zeros",
            "trainable": True,
            **{name: None for name in ("lora_rank", "lora_alpha") if name in config},
        }
    )


def _copied(
    model: keras.Model, new: Mapping[keras.layers.Layer, keras.layers.Layer]
) -> keras.Model:
    """A copy with some layers replaced, and the weights of all others."""
    by_id = {id(old): layer for old, layer in new.items()}

    def cloned(layer: keras.layers.Layer) -> keras.layers.Layer:
        return by_id.get(id(layer)) or type(layer).from_config(layer.get_config())

    names = ", ".join(repr(old.name) for old in new)
    try:
        if is_subclassed(model):
            copy = _subclassed_copy(model, new)
        else:
            copy = keras.models.clone_model(model, clone_function=cloned, recursive=True)
        _copy_weights(model, copy, new)
    except Exception as error:
        raise ValueError(f"Model {model.name!r} cannot be given a new {names}: {error}") from error
    return copy


def is_subclassed(model: keras.Model) -> bool:
    """Whether a model's call is Python code and no graph of layers."""
    try:
        layer_graph(model)
    except ValueError:
        return True
    return False


def _copy_weights(
    model: keras.Model,
    copy: keras.Model,
    new: Mapping[keras.layers.Layer, keras.layers.Layer],
) -> None:
    gone = {id(variable) for old in new for variable in old.variables}
    added = {id(variable) for layer in new.values() for variable in layer.variables}
    before = [variable for variable in model.variables if id(variable) not in gone]
    after = [variable for variable in copy.variables if id(variable) not in added]
    for source, target in zip(before, after, strict=True):
        # Not the buffer itself, which JAX gives away in training.
        target.assign(ops.convert_to_numpy(source).copy())
    heads = {id(layer) for layer in (*new, *new.values())}
    kept, copied = (
        [layer for layer in each._flatten_layers() if id(layer) not in heads]
        for each in (model, copy)
    )
    copy_states(kept, copied)


def _subclassed_copy(
    model: keras.Model, new: Mapping[keras.layers.Layer, keras.layers.Layer]
) -> keras.Model:
    """A copy of a subclassed model, made by its `get_config`, with attributes replaced."""
    copy = type(model).from_config(model.get_config())
    copy.build_from_config(model.get_build_config())
    layers = zip(model._flatten_layers(), copy._flatten_layers(), strict=True)
    twins = {id(one): other for one, other in layers}
    for old, layer in new.items():
        places = [
            (holder, name)
            for holder in model._flatten_layers()
            for name, value in vars(holder).items()
            if value is old
        ]
        if not places:
            raise ValueError(f"{old.name!r} is the value of no attribute")
        layer.build_from_config(old.get_build_config())
        for holder, name in places:
            twin = twins[id(holder)]
            twin._tracker.untrack(getattr(twin, name))
            setattr(twin, name, layer)
    copy.built = True
    return copy
