"""The side of onnxsim in `shrink.py`: its structured pruning, through Keras's ONNX export."""

import resource
import textwrap
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np

_MEMORY = 10  # GiB that a run may ask for, on a machine with others on it.
IMPLEMENTATIONS = {"Python": "apply_structured_pruning", "C++": "apply_structured_pruning_cpp"}


def of_onnxsim(model: keras.Model, x: np.ndarray, path: Path) -> dict[str, Any]:
    """What each of onnxsim's implementations makes of a network, or what is said instead.

    Batch normalization is first fused into convolutions, as its documentation expects.
    """
    import onnx
    import onnxsim

    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY * 2**30,) * 2)
    signature = [keras.InputSpec(shape=x.shape, dtype="float32")]
    try:
        model.export(path, format="onnx", input_signature=signature, verbose=False)
        whole, _ = onnxsim.simplify(onnx.load(path))
    except Exception as error:
        return {"message": f"no ONNX file within {_MEMORY} GiB: {_first_line(error)}"}
    finally:
        path.unlink(missing_ok=True)
    try:
        _outputs(whole, x)
    except Exception as error:
        return {"message": f"Keras's ONNX file does not run: {_first_line(error)}"}
    found = {}
    for name, function in IMPLEMENTATIONS.items():
        began = time.perf_counter()
        try:
            pruned = getattr(onnxsim, function)(whole, sparsity=0.5, importance_norm="l1")
            seconds = time.perf_counter() - began
            kept = _size(pruned) / _size(whole)
            mine, theirs = _outputs(pruned, x), _outputs(_masked(whole, pruned), x)
        except Exception as error:
            found[name] = {"message": _first_line(error)}
            continue
        error = float(np.abs(mine - theirs).max() / np.abs(theirs).max())
        found[name] = {"kept": kept, "error": error, "seconds": seconds}
    return found


def cells(found: dict[str, Any]) -> list[str]:
    """What a table says of a network: parts of the parameters, difference and seconds of each."""
    if "message" in found:
        return [textwrap.shorten(found["message"], 100), *[""] * 5]
    row = []
    for one in (found[name] for name in IMPLEMENTATIONS):
        if "message" in one:
            row += [textwrap.shorten(one["message"], 100), "", ""]
        else:
            row += [f"{one['kept']:.2f}", f"{one['error']:.0e}", f"{one['seconds']:.1f}"]
    return row


def _masked(whole: Any, pruned: Any) -> Any:
    """The whole network with zeros in what the pruned one lacks.

    Numbers are random: which rows of a weight are left shows in the numbers that are.
    """
    import onnx
    from onnx.numpy_helper import from_array, to_array

    left = {each.name: to_array(each) for each in pruned.graph.initializer}
    masked = onnx.ModelProto()
    masked.CopyFrom(whole)
    for tensor in masked.graph.initializer:
        values, less = to_array(tensor), left.get(tensor.name)
        if less is None or less.shape == values.shape:
            continue
        seen = np.zeros(2**28, bool)
        seen[_marks(less)] = True
        there = seen[_marks(values)]
        keep = np.ones(values.shape, bool)
        for axis, size in enumerate(less.shape):
            rest = tuple(a for a in range(values.ndim) if a != axis)
            # Some marks come by chance in other rows as well.
            rows = np.argsort(-there.sum(axis=rest), kind="stable")[:size]
            shape = [-1 if a == axis else 1 for a in range(values.ndim)]
            keep &= np.isin(np.arange(values.shape[axis]), rows).reshape(shape)
        if not np.array_equal(values[keep], less.ravel()):
            raise ValueError(f"{tensor.name} of the pruned network is no part of the whole one's")
        tensor.CopyFrom(from_array(np.where(keep, values, 0), tensor.name))
    return masked


def _marks(values: np.ndarray) -> np.ndarray:
    """28 bits that tell most numbers apart."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    return (bits * np.uint32(2654435761)) >> np.uint32(4)


def _outputs(model: Any, x: np.ndarray) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def _size(model: Any) -> int:
    return sum(int(np.prod(each.dims)) for each in model.graph.initializer)


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:120]
