"""Which of a model's inputs are tokens, and how many an embedding knows."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops


class Reader(NamedTuple):
    """An embedding that reads an input of a model as it is.

    Args:
        place: Which of the model's inputs.
        name: The input's name.
        layer: The embedding.
    """

    place: int
    name: str
    layer: keras.layers.Embedding


def embeddings(model: keras.Model) -> list[Reader]:
    """The embeddings that read a model's inputs, of a functional or sequential model."""
    graph = getattr(model, "_functional", None) or model
    if not hasattr(graph, "_nodes_by_depth"):
        return []
    places = {id(tensor): i for i, tensor in enumerate(graph.inputs)}
    found = []
    for node in itertools.chain(*graph._nodes_by_depth.values()):
        taken = [places.get(id(tensor)) for tensor in node.input_tensors]
        if isinstance(node.operation, keras.layers.Embedding):
            inner = [(0, node.operation)]
        elif isinstance(node.operation, keras.Model):
            inner = [(reader.place, reader.layer) for reader in embeddings(node.operation)]
        else:
            continue
        for argument, layer in inner:
            place = taken[argument]
            if place is not None:
                found.append(Reader(place, graph.inputs[place].name, layer))
    return found


def check_tokens(readers: Sequence[Reader], leaves: Sequence[Any]) -> None:
    """Checks that embeddings know the tokens that they are given.

    Some backends say nothing of others, and look up zeros, NaN or the last token.

    Args:
        readers: The model's `embeddings`.
        leaves: A batch of each of the model's inputs, arrays or tensors.

    Raises:
        ValueError: If a token is below zero or not below an embedding's `input_dim`.
    """
    for place, name, layer in readers:
        values = np.asarray(ops.convert_to_numpy(leaves[place]))
        unknown = values[(values < 0) | (values >= layer.input_dim)]
        if len(unknown):
            raise ValueError(
                f"The calibration data has {unknown[0]:g} for the input {name!r}, and "
                f"{layer.name!r}, which reads it, knows tokens from 0 to {layer.input_dim - 1}. "
                "Use the tokenizer that the model was trained with."
            )
