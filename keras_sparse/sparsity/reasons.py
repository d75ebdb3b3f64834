"""Why a variable of a model is not pruned."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras

from keras_sparse.messages.arguments import one_of
from keras_sparse.probe.layout import is_depthwise
from keras_sparse.probe.variables import is_kernel_name

STATE = "state, not a weight"
OF_NORMALIZATION = "normalization parameter"
KEEP_DENSE = ("first", "last", "depthwise")

_NORMALIZATION = (
    keras.layers.BatchNormalization,
    keras.layers.LayerNormalization,
    keras.layers.GroupNormalization,
    keras.layers.UnitNormalization,
)


def check_keep_dense(keep_dense: str | Iterable[str]) -> tuple[str, ...]:
    """Checks `keep_dense` and returns it as a tuple.

    Raises:
        ValueError: If a word in it is not one of `KEEP_DENSE`.
    """
    several = isinstance(keep_dense, Iterable) and not isinstance(keep_dense, str)
    words = keep_dense if several else (() if keep_dense is None else (keep_dense,))
    return tuple(one_of("keep_dense", word, KEEP_DENSE) for word in words)


def not_trainable(layer: keras.layers.Layer, variable: Any) -> str:
    """Why a weight is not trained.

    Args:
        layer: The layer that owns it.
        variable: A weight that is not trainable.
    """
    mode = getattr(layer, "quantization_mode", None)
    if mode is not None and "int" in variable.dtype:
        return f"quantized ({mode})"
    if getattr(layer, "lora_enabled", False) and layer.trainable:
        return "frozen by LoRA"
    return "frozen (trainable=False)"


def default_reason(
    layer: keras.layers.Layer, variable: Any, keep_dense: tuple[str, ...]
) -> str | None:
    """Why a trainable weight is not pruned unless it is asked for, `None` if it is.

    Args:
        layer: The layer that owns it.
        variable: The weight.
        keep_dense: Checked words of `keep_dense`.
    """
    name = variable.name
    if isinstance(layer, _NORMALIZATION):
        return OF_NORMALIZATION
    if name == "bias" or len(variable.shape) < 2:
        return "bias or scale"
    if isinstance(layer, keras.layers.Embedding):
        return "embedding (prune it with include=...)"
    if "depthwise" in keep_dense and is_depthwise(layer, name):
        return "depthwise kernel kept dense (keep_dense)"
    if is_kernel_name(name):
        return None
    return f"not known to be a kernel: {name!r} (prune it with include=...)"
