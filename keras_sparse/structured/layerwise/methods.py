"""The methods that prune layer by layer, by name."""

from __future__ import annotations

from typing import Any

from keras_sparse.structured.layerwise.greedy_forward import GreedyForwardSelection
from keras_sparse.structured.layerwise.i_spasp import ISpaSP
from keras_sparse.structured.layerwise.method import Layerwise

LAYERWISE: dict[str, type[Layerwise]] = {"i_spasp": ISpaSP, "greedy": GreedyForwardSelection}


def layerwise_method(given: Any) -> Layerwise | None:
    """The method that is given, or whose name is; `None` if it is another criterion.

    Args:
        given: An instance, or `"i_spasp"` or `"greedy"`.
    """
    if isinstance(given, Layerwise):
        return given
    found = LAYERWISE.get(given) if isinstance(given, str) else None
    return None if found is None else found()
