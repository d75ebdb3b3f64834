"""Runs a LiteRT file by LiteRT 2's `CompiledModel`, in each of its kernel modes.

Run as a program it imports the runtime and nothing else. It is a process of its own because the
runtime writes to the terminal until that ends, and because a crash is then not the caller's.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

# XNNPACK; LiteRT's optimized kernels; and plain loops.
KERNEL_MODES = ("DELEGATE", "BUILTIN", "REFERENCE")
# What Python can write to its buffers and read from them.
_TYPES = ("float32", "float16", "int32", "int8", "uint8", "bool")


def run_compiled(
    contents: bytes,
    modes: Sequence[str],
    inputs: Mapping[str, np.ndarray],
    outputs: Mapping[str, np.ndarray],
    sizes: Sequence[int],
) -> dict[str, list[dict[str, np.ndarray]] | str]:
    """Runs a file of one signature.

    Args:
        contents: Of a `.tflite` file.
        modes: Some of `KERNEL_MODES`.
        inputs: Samples by the names of the inputs, so many that they fill batches of each size.
        outputs: Arrays of the outputs' shapes and types, by their names.
        sizes: The batch sizes to run it at.

    Returns:
        For each mode the outputs at each size, or the reason why it does not run.
    """
    wrong = {x.dtype.name for x in (*inputs.values(), *outputs.values())} - {*_TYPES}
    if wrong:
        return dict.fromkeys(modes, f"Python cannot pass it {' or '.join(sorted(wrong))}")
    with tempfile.TemporaryDirectory(prefix="keras_sparse_") as name:
        folder = Path(name)
        (folder / "model.tflite").write_bytes(contents)
        given: dict[str, Any] = {f"input {name}": x for name, x in inputs.items()}
        np.savez(folder / "inputs.npz", **given)
        kinds = {name: (x.shape[1:], x.dtype.name) for name, x in outputs.items()}
        (folder / "job.json").write_text(json.dumps({"outputs": kinds, "sizes": sizes}))
        left, found = list(modes), dict[str, Any]()
        while left:
            status = subprocess.run(
                [sys.executable, __file__, name, *left], stderr=subprocess.DEVNULL
            ).returncode
            while left and (result := _result(folder, left[0], kinds, sizes)) is not None:
                found[left.pop(0)] = result
            if left:
                found[left.pop(0)] = f"its process ended with status {status}"
        return found


def _result(
    folder: Path, mode: str, outputs: Mapping[str, Any], sizes: Sequence[int]
) -> list[dict[str, np.ndarray]] | str | None:
    """What the program left of a mode, if it came so far."""
    failure, arrays = folder / f"{mode}.txt", folder / f"{mode}.npz"
    if failure.exists():
        return " ".join(failure.read_text("utf-8").split())
    if not arrays.exists():
        return None
    with np.load(arrays) as found:
        return [{name: found[f"{size} {name}"] for name in outputs} for size in sizes]


def _main(folder: Path, mode: str) -> None:
    from ai_edge_litert.compiled_model import CompiledModel
    from ai_edge_litert.cpu_kernel_mode import CpuKernelMode
    from ai_edge_litert.cpu_options import CpuOptions
    from ai_edge_litert.options import Options

    options = Options(cpu_options=CpuOptions(num_threads=1, kernel_mode=CpuKernelMode[mode]))
    job: dict[str, Any] = json.loads((folder / "job.json").read_text())
    arrays, found = np.load(folder / "inputs.npz"), dict[str, Any]()
    inputs = {name.removeprefix("input "): x for name, x in arrays.items()}
    for size in job["sizes"]:
        model = CompiledModel.from_file(str(folder / "model.tflite"), options=options)
        key = model.get_signature_by_index(0)["key"]
        known = model.get_input_tensor_details(key)
        for name, x in inputs.items():
            if tuple(known[name]["shape"]) != (size, *x.shape[1:]):
                model.resize_input_tensor_by_name(key, name, [size, *x.shape[1:]])
        given = {name: model.create_input_buffer_by_name(key, name) for name in inputs}
        made = {name: model.create_output_buffer_by_name(key, name) for name in job["outputs"]}
        rows: dict[str, list[np.ndarray]] = {name: [] for name in made}
        for start in range(0, len(next(iter(inputs.values()))), size):
            for name, x in inputs.items():
                given[name].write(x[start : start + size])
            model.run_by_name(key, given, made)
            for name, (shape, dtype) in job["outputs"].items():
                numbers = made[name].read(size * int(np.prod(shape)), np.dtype(dtype))
                rows[name].append(numbers.reshape((size, *shape)))
        found |= {f"{size} {name}": np.concatenate(each) for name, each in rows.items()}
    np.savez(folder / f"{mode}.npz", **found)


if __name__ == "__main__":
    for each in sys.argv[2:]:
        try:
            _main(Path(sys.argv[1]), each)
        except RuntimeError as error:
            (Path(sys.argv[1]) / f"{each}.txt").write_text(str(error), "utf-8")
