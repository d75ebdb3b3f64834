"""Weights that the converter's block encoding would truncate, put back whole."""

from __future__ import annotations

from typing import Any

from keras_sparse.deploy.flatbuffer import blocks_of, open_model, operator_names, pack_model


def restore_truncated(contents: bytes, dense_contents: bytes) -> tuple[bytes, dict[str, str]]:
    """Stores densely each tensor whose shape its block does not divide.

    The converter measures how well a 1x4 block fits a Dense kernel without checking that 4 divides
    the kernel's inputs: for three features it keeps no column at all, finds that very sparse, and
    writes a file that loads and computes wrongly (seen in TensorFlow 2.21; `FormatConverter` rounds
    the number of blocks down). Such a kernel is taken from the dense file instead.

    Args:
        contents: The sparse file.
        dense_contents: The same model converted without sparsity.

    Returns:
        The corrected file, which is `contents` itself when nothing was wrong, and for each
        corrected tensor the reason by its name.
    """
    file = open_model(contents)
    dense_file = None
    notes: dict[str, str] = {}
    for number, graph in enumerate(file.subgraphs):
        for index, tensor in enumerate(graph.tensors):
            block = blocks_of(tensor)
            if block is None or all(n % b == 0 for n, b in zip(tensor.shape, block, strict=True)):
                continue
            dense_file = dense_file or open_model(dense_contents)
            whole = _counterpart(index, file, dense_file, number)
            if whole is None:  # Verification tells whether it matters.
                continue
            tensor.sparsity = None
            file.buffers[tensor.buffer].data = dense_file.buffers[whole.buffer].data
            notes[tensor.name.decode()] = (
                f"its {tensor.shape[-1]} inputs are no multiple of {block[-1]}: a 1x{block[-1]} "
                "block would lose the last ones"
            )
    return (pack_model(file) if notes else contents), notes


def _counterpart(index: int, file: Any, dense_file: Any, number: int) -> Any:
    """The dense file's tensor for one of the sparse file: the same operand of the same operator.

    Names do not tell, as the converter numbers them anew in each file.
    """
    operators = _operators(file, number)
    dense_operators = _operators(dense_file, number)
    shape = list(file.subgraphs[number].tensors[index].shape)
    for op, dense_op in zip(operators, dense_operators, strict=False):
        for position, operand in enumerate(op.inputs):
            if operand == index and position < len(dense_op.inputs):
                whole = dense_file.subgraphs[number].tensors[dense_op.inputs[position]]
                if list(whole.shape) == shape and whole.sparsity is None:
                    return whole
    return None


def _operators(file: Any, number: int) -> list[Any]:
    names = operator_names(file)
    return [op for op in file.subgraphs[number].operators if names[op.opcodeIndex] != "DENSIFY"]
