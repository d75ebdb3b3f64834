"""What an export came to: sizes, errors, and how every weight is stored."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from keras_sparse.deploy.eligibility import Eligibility
from keras_sparse.deploy.encoding import TensorEncoding


@dataclass(frozen=True)
class LiteRTReport:
    """Sizes, errors and encodings of an exported LiteRT file.

    Sizes are in bytes. `gzip_bytes` is the size after gzip at level 9, as an application store or
    a web server would send the file; the device stores and maps the raw one.

    ```python
    import keras
    from keras_sparse import deploy

    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    report = deploy.to_litert(model, "model.tflite", sparse=False)
    print(report.bytes, report.ratio, report.max_error)
    ```

    Args:
        path: The file.
        bytes: Its size.
        gzip_bytes: Its size after gzip.
        dense_bytes: The size of the same model exported without sparse encoding.
        dense_gzip_bytes: That file's size after gzip.
        ratio: `dense_bytes / bytes`.
        sparse: Whether a sparse encoding was asked for.
        replaced: Why the file is stored dense although a sparse encoding was asked for, or `""`.
        quantize: What weights are stored as, None for float32.
        kernels: `"all"`, `"built-in"` if the file is only right with XNNPACK turned off, or
            `"xnnpack"` if it is only right with it.
        batch_size: The batch size fixed in the file, or None if it may vary.
        max_error: The error against Keras with each set of kernels, relative to the output's scale.
        not_run: Why LiteRT 2's `CompiledModel` does not run the file, by its kernel modes.
        tolerance: The error that would have been accepted.
        samples: The number of samples the file was verified on.
        synthetic: Whether those were random numbers rather than the user's data.
        informative: Whether Keras's outputs on them differ from one another at all. If not, that
            the file agrees says little.
        tensors: How each weight is stored.
        densify_ops: The number of DENSIFY operations, by each of which most runtimes expand a
            sparse weight when they load the file.
        eligibility: For each runtime what it does with the zeros of each weight of the file.
        runtime: The names and versions of the runtimes that the file was verified with.
    """

    path: str
    bytes: int
    gzip_bytes: int
    dense_bytes: int
    dense_gzip_bytes: int
    ratio: float
    sparse: bool
    replaced: str
    quantize: str | None
    kernels: str
    batch_size: int | None
    max_error: dict[str, float]
    not_run: dict[str, str]
    tolerance: float
    samples: int
    synthetic: bool
    informative: bool
    tensors: tuple[TensorEncoding, ...]
    densify_ops: int
    eligibility: dict[str, Eligibility]
    runtime: str

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values for `json.dump`.

        ```python
        import json
        import keras
        from keras_sparse import deploy

        model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
        report = deploy.to_litert(model, "model.tflite", sparse=False)
        print(json.dumps(report.to_dict(), indent=2))
        ```

        Returns:
            A dict by the fields' names; `tensors` is a list of dicts, and `eligibility` has one for
            each runtime.
        """
        return dataclasses.asdict(self) | {
            "tensors": [
                dataclasses.asdict(row) | {"shape": list(row.shape)} for row in self.tensors
            ],
            "eligibility": {name: found.to_dict() for name, found in self.eligibility.items()},
        }

    def print(self, console: Console | None = None) -> None:
        """Prints the table of weights and a summary.

        ```python
        import keras
        from keras_sparse import deploy

        model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
        report = deploy.to_litert(model, "model.tflite", sparse=False)
        report.print()
        ```

        Args:
            console: Where to print. Defaults to the standard output.
        """
        console = console or Console()
        console.print(self._table())
        for line in self._summary():
            console.print(Text(line))

    def _table(self) -> Table:
        table = Table(title=Text(f"Weights in {self.path}"), title_justify="left")
        table.add_column("weight", overflow="fold")
        table.add_column("shape")
        table.add_column("zeros", justify="right")
        table.add_column("stored", overflow="fold")
        table.add_column("bytes", justify="right")
        for row in self.tensors:
            stored = row.encoding + (", then DENSIFY" if row.densify else "")
            table.add_row(
                Text(row.variable or row.tensor),
                "x".join(map(str, row.shape)),
                f"{row.sparsity:.1%}",
                Text(f"{stored} ({row.note})" if row.note else stored),
                f"{row.bytes:,}",
            )
        rest = self.bytes - sum(row.bytes for row in self.tensors)
        table.add_section()
        table.add_row("graph, biases, names", "", "", "", f"{rest:,}")
        table.add_row("file", "", "", "", f"{self.bytes:,}")
        return table

    def _errors(self) -> list[str]:
        own = "CompiledModel "
        found = [f"{e:.1e} with {name}" for name, e in self.max_error.items() if own not in name]
        modes = {n.removeprefix(own): e for n, e in self.max_error.items() if own in n}
        if modes:
            found.append(f"{max(modes.values()):.1e} with {own}({', '.join(modes)})")
        return found

    def _summary(self) -> list[str]:
        errors = ", ".join(self._errors())
        kind = "synthetic" if self.synthetic else "given"
        lines = [
            f"{self.bytes:,} bytes ({self.gzip_bytes:,} gzip); dense {self.dense_bytes:,} "
            f"({self.dense_gzip_bytes:,} gzip), {self.ratio:.2f} times as much. Equal to Keras on "
            f"{self.samples} {kind} samples within {errors} (tolerance {self.tolerance:g}, "
            f"{self.runtime})."
        ]
        if self.kernels == "built-in":
            lines.append(
                "Run it with built-in kernels only: it was not verified with XNNPACK, which is "
                "LiteRT's default."
            )
        if self.kernels == "xnnpack":
            lines.append(
                "Run it with XNNPACK, LiteRT's default: it was not verified with built-in kernels."
            )
        lines += [f"Not run by {name}: {reason}." for name, reason in self.not_run.items()]
        if self.replaced:
            lines.append(f"Stored dense: {self.replaced}")
        if any(row.encoding != "dense" for row in self.tensors):
            counts = ", ".join(
                f"{len(found.fast)} of {len(found.asked)} weights on {name}"
                for name, found in self.eligibility.items()
            )
            lines.append(
                f"Zeros save time in {counts}; `keras_sparse.deploy.eligibility` of the file says "
                "why not in the others."
            )
        if self.densify_ops:
            lines.append(
                f"DENSIFY operations: {self.densify_ops}. Most runtimes expand these weights on "
                "loading, so the file is smaller but memory and time are not, and TFLite Micro and "
                "some converters do not take it. Dense kernels pruned in blocks of (4, 1) need "
                "none."
            )
        if self.synthetic:
            lines.append("Pass `inputs=` real samples to verify the file on what it will meet.")
        return lines
