"""Formats of weights that `ai-edge-quantizer` makes of a dense float file."""

from __future__ import annotations

import contextlib
import io
import warnings
from typing import Any

import numpy as np

from keras_sparse.deploy.flatbuffer import open_model, pack_model, stored_values
from keras_sparse.messages.extras import check_extra

# By the name in `to_litert`: the quantizer's recipe.
RECIPES = {
    "weight_only_int8": "weight_only_wi8_afp32",
    "weight_only_int4": "weight_only_wi4_afp32",
    "dynamic_int4": "dynamic_wi4c_afp32",
    "dynamic_int4_blocks": "dynamic_wi4b32_afp32",
}
# Formats whose weights are stored dense, whatever their zeros.
STORED_DENSE = ("weight_only_int4", "dynamic_int4", "dynamic_int4_blocks")


def check_quantizer(quantize: str | None) -> None:
    """Checks that the quantizer is installed, if a format is of its making.

    Raises:
        MissingExtraError: If it is not.
    """
    if quantize in RECIPES:
        check_extra("quantizer", "ai_edge_quantizer.quantizer", "ai_edge_quantizer.recipe")


def why_not_encoded(quantize: str | None) -> str:
    """Why weights of a format are stored dense, whatever their zeros, or `""`."""
    return (
        "LiteRT's sparse encoder takes no weights of four bits" if quantize in STORED_DENSE else ""
    )


def kernels_cure(quantize: str | None) -> str:
    """What to do if a format is computed wrongly by some kernels, or `""`."""
    if quantize != "dynamic_int4_blocks":
        return ""
    return (
        "Blocks of four bits are for XNNPACK, LiteRT's default: pass kernels='xnnpack' if the "
        "application leaves it on, or quantize='dynamic_int4', which has no blocks."
    )


def quantized(contents: bytes, quantize: str) -> bytes:
    """Quantizes the weights of a file.

    Args:
        contents: A dense float32 file: of one that is sparse the quantizer changes nothing.
        quantize: One of `RECIPES`.

    Returns:
        The dense quantized file.
    """
    from ai_edge_quantizer import quantizer, recipe

    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        # It divides by the scale of blocks that are all zero.
        warnings.simplefilter("ignore", RuntimeWarning)
        made = quantizer.Quantizer(bytearray(contents), getattr(recipe, RECIPES[quantize])())
        return _scaled(bytes(made.quantize().quantized_model))


def sparsely_encoded(contents: bytes) -> bytes:
    """Stores the weights of a file that have enough zeros in a sparse encoding."""
    from tensorflow.lite.python.convert import mlir_sparsify

    return bytes(mlir_sparsify(contents))


def _scaled(contents: bytes) -> bytes:
    """A scale of one for blocks that are all zero, whose own, zero, XNNPACK refuses."""
    file = open_model(contents)
    changed = False
    for graph in file.subgraphs:
        for tensor in graph.tensors:
            scales = _scales_of_blocks(graph, tensor)
            values = None if scales is None else stored_values(file, scales)
            if values is not None and not values.all():
                ones = np.where(values == 0, 1, values).astype(values.dtype)
                file.buffers[scales.buffer].data = ones.view(np.uint8)
                changed = True
    return pack_model(file) if changed else contents


def _scales_of_blocks(graph: Any, tensor: Any) -> Any:
    """The tensor that holds a scale for each block of another, or None."""
    details = None if tensor.quantization is None else tensor.quantization.details
    place = getattr(details, "scales", None)
    return None if place is None else graph.tensors[place]
