"""Which layers of a model compute in low precision, and for every other one the reason why not."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import keras
from rich.console import Console
from rich.table import Table

from keras_sparse.graphs.layers.base import GraphLayer
from keras_sparse.graphs.layers.gat_conv import GATConv
from keras_sparse.messages.arguments import one_of
from keras_sparse.precision.layers.products import ONE_PRODUCT
from keras_sparse.precision.layers.recurrent import CELLS
from keras_sparse.probe.convolutions import SEPARABLE
from keras_sparse.probe.flops import ATTENTION
from keras_sparse.probe.layout import is_depthwise
from keras_sparse.probe.variables import check_built, places
from keras_sparse.sparsity.selection import Which, check_layers, variables_meant

KEEP_FLOAT = ("first", "last", "depthwise")
_IN_LOOPS = (keras.layers.RNN, keras.layers.TimeDistributed)


def products_of(layer: keras.layers.Layer) -> int:
    """How many products of a layer can be computed in low precision."""
    if isinstance(layer, ATTENTION):
        return 4  # Two products of two activations each.
    if isinstance(layer, GATConv):
        return 3  # The attention's vectors are multiplied as well.
    if isinstance(layer, (*SEPARABLE, *CELLS, GraphLayer)):
        return 2
    return 1 if isinstance(layer, ONE_PRODUCT) else 0


@dataclasses.dataclass(frozen=True)
class PrecisionReport:
    """What of a model computes in low precision.

    Args:
        quantized: The paths of the layers that do.
        float32: Those of the others that have weights, with the reason.
        quantizer: What weights are rounded by.
    """

    quantized: tuple[str, ...]
    float32: dict[str, str]
    quantizer: str = "affine"

    def print(self) -> None:
        """Prints a table."""
        table = Table("layer", "precision", title=f"low precision ({self.quantizer})")
        for path in self.quantized:
            table.add_row(path, "low")
        for path, reason in self.float32.items():
            table.add_row(path, f"float: {reason}")
        Console().print(table)


@dataclasses.dataclass(frozen=True)
class Choice:
    """What of a model is to compute in low precision.

    Args:
        layers: The layers, in the order of the model's weights.
        looped: The `id`s of those that are called in a loop that the backend compiles.
        report: What `layers` are called, and why others are not among them.
    """

    layers: tuple[keras.layers.Layer, ...]
    looped: frozenset[int]
    report: PrecisionReport


def check_keep_float(keep_float: str | Iterable[str]) -> tuple[str, ...]:
    """Checks `keep_float` and returns it as a tuple.

    Raises:
        ValueError: If a word in it is not one of `KEEP_FLOAT`.
    """
    several = isinstance(keep_float, Iterable) and not isinstance(keep_float, str)
    words: Any = keep_float if several else (keep_float,)
    return tuple(one_of("keep_float", word, KEEP_FLOAT) for word in words)


def choose(model: keras.Model, exclude: Which = (), keep_float: Iterable[str] = ()) -> Choice:
    """Finds the layers that can compute in low precision.

    Args:
        model: A built model.
        exclude: Layers, names, globs or a predicate of what stays float.
        keep_float: Any of `"first"`, `"last"` (layers with a kernel) and `"depthwise"`.

    Raises:
        ValueError: If the model is unbuilt, a name means nothing, or nothing is left.
    """
    check_built(model)
    keep_float = check_keep_float(keep_float)
    place = places(model)
    excluded = variables_meant(check_layers("exclude", exclude), "exclude", place, model)
    order = {id(variable): i for i, variable in enumerate(model.variables)}
    layers = [x for x in model._flatten_layers(include_self=False) if x.variables and x.weights]
    layers = list({id(x): x for x in layers}.values())
    layers.sort(key=lambda x: min(order.get(id(v), len(order)) for v in x.variables))
    with_kernel = [x for x in layers if products_of(x) and x._trainable_variables]
    ends = {id(x): "first" for x in with_kernel[:1] if "first" in keep_float}
    ends |= {id(x): "last" for x in with_kernel[-1:] if "last" in keep_float}
    chosen, reasons = [], {}
    for layer in layers:
        path = _path(layer, place)
        reason = _reason(layer, ends.get(id(layer)), keep_float, excluded)
        if reason is None:
            chosen.append((path, layer))
        elif reason:
            reasons[path] = reason
    if not chosen:
        shown = "\n".join(f"  {path}: {reason}" for path, reason in reasons.items())
        raise ValueError(f"Nothing in model {model.name!r} can compute in low precision:\n{shown}")
    looped = frozenset(
        id(inner)
        for layer in model._flatten_layers()
        if isinstance(layer, _IN_LOOPS)
        for inner in layer._flatten_layers(include_self=False)
    )
    report = PrecisionReport(tuple(path for path, _ in chosen), reasons)
    return Choice(tuple(layer for _, layer in chosen), looped, report)


def _path(layer: keras.layers.Layer, place: dict[int, Any]) -> str:
    paths = [place[id(v)].path for v in layer.variables if id(v) in place]
    own = [path for path in paths if f"{layer.name}/" in f"{path}"]
    if not own:
        return layer.name
    return own[0].partition(f"{layer.name}/")[0] + layer.name


def _reason(
    layer: keras.layers.Layer, end: str | None, keep_float: Iterable[str], excluded: set[int]
) -> str | None:
    """Why a layer stays float, `None` if it does not, empty if there is nothing to say."""
    own = layer._trainable_variables + layer._non_trainable_variables
    if not products_of(layer):
        if not own:
            return ""  # Its weights are those of layers inside of it.
        return f"the products of a {type(layer).__name__} are not known"
    names = [v.name for v in own]
    if layer.variables and all(id(v) in excluded for v in (own or layer.variables)):
        return "excluded"
    if end:
        return f"{end} layer kept float (keep_float)"
    if "depthwise" in keep_float and any(is_depthwise(layer, name) for name in names):
        return "depthwise kernel kept float (keep_float)"
    if getattr(layer, "lora_enabled", False):
        return "LoRA adds to its kernel"
    if getattr(layer, "quantization_mode", None) is not None:
        return f"quantized by Keras ({layer.quantization_mode})"
    return None
