"""Will it be faster: what a runtime does with the zeros of each layer."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from typing import Any

import keras
from rich.console import Console
from rich.table import Table
from rich.text import Text

from keras_sparse.deploy.file_graph import file_runtime_graph
from keras_sparse.deploy.inspection import read_file
from keras_sparse.deploy.quantizing import STORED_DENSE, why_not_encoded
from keras_sparse.messages.arguments import one_of, wrong
from keras_sparse.probe.runtime.keras_graph import keras_runtime_graph
from keras_sparse.probe.runtime.verdicts import MIN_STORED, RUNTIMES, Verdict, verdicts

# What the rules were read from and measured with.
_SOURCES = {
    "xnnpack-arm": "LiteRT 1.4.0 with XNNPACK, 64-bit Arm",
    "xnnpack-x86": "LiteRT 2.3.0 with XNNPACK, x86 with AVX",
    "litert-builtin": "LiteRT 2.3.0, built-in kernels",
    "litert-micro": "LiteRT for Microcontrollers",
}


@dataclass(frozen=True)
class Eligibility:
    """What a runtime does with the zeros of each weight of a model. Made by `eligibility`.

    ```python
    import keras
    from keras_sparse import deploy

    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(64)])
    assert deploy.eligibility(model, runtime="xnnpack-x86").all_fast()
    ```

    Args:
        name: The model's name, or the file's.
        runtime: The runtime's name.
        rows: A verdict for each weight of two or more dimensions.
    """

    name: str
    runtime: str
    rows: tuple[Verdict, ...]

    @property
    def asked(self) -> tuple[Verdict, ...]:
        """The weights that count: those that are pruned, which is 30 % zeros or more; in a model
        without such, all Dense kernels and 1x1 convolutions, which are what can be fast somewhere.
        """
        pruned = tuple(row for row in self.rows if row.sparsity >= MIN_STORED)
        return pruned or tuple(row for row in self.rows if row.kind != "other")

    @property
    def fast(self) -> tuple[Verdict, ...]:
        """Those of `asked` whose zeros save time."""
        return tuple(row for row in self.asked if row.fast)

    @property
    def slow(self) -> tuple[Verdict, ...]:
        """Those of `asked` whose zeros save no time, each with the rule that fails and the cure."""
        return tuple(row for row in self.asked if not row.fast)

    def all_fast(self) -> bool:
        """Whether the zeros of every weight in `asked` save time, of which there is at least one.

        ```python
        import keras_sparse as ks

        assert ks.deploy.eligibility(ks.models.mobilenet(), runtime="xnnpack-arm").all_fast()
        ```
        """
        return bool(self.asked) and not self.slow

    def to_dict(self) -> dict[str, Any]:
        """The verdicts as plain values for `json.dump`."""
        rows = [dataclasses.asdict(row) | {"shape": list(row.shape)} for row in self.rows]
        return dataclasses.asdict(self) | {"all_fast": self.all_fast(), "rows": rows}

    def print(self, console: Console | None = None) -> None:
        """Prints a table of the weights, what happens to each, and why.

        Args:
            console: Where to print. Defaults to the standard output.
        """
        console = console or Console()
        title = f"Zeros of {self.name} on {self.runtime} ({_SOURCES[self.runtime]})"
        table = Table(title=Text(title), title_justify="left")
        table.add_column("weight", overflow="fold")
        table.add_column("zeros", justify="right")
        for name in ("fast", "what happens", "rule that fails", "cure"):
            table.add_column(name, overflow="fold")
        asked = {row.weight for row in self.asked}
        for row in self.rows:
            cells = (row.happens, row.rule, row.cure)
            table.add_row(
                Text(row.weight),
                f"{row.sparsity:.1%}",
                "yes" if row.fast else "no",
                *map(Text, cells),
                style=None if row.weight in asked else "dim",
            )
        console.print(table)
        shown = f"{len(self.fast)} of the {len(self.asked)} weights that count"
        console.print(Text(f"{shown} have zeros that save time on {self.runtime}."))


def eligibility(
    model_or_path: keras.Model | str | os.PathLike[str],
    runtime: str = "xnnpack-arm",
    quantize: str | None = None,
) -> Eligibility:
    """Says of each layer whether a runtime will leave its zeros out, and if not, why and the cure.

    It is asked of a model before training, where the zeros are still to come; of a pruned model;
    or of a file. The rules are those of the runtimes' sources, see "Will it be faster?" in the
    documentation. Other versions of a runtime may have others.

    ```python
    import keras_sparse as ks

    ks.deploy.eligibility(ks.models.mobilenet(), runtime="xnnpack-arm").print()
    ```

    Args:
        model_or_path: A built functional or Sequential model, or a `.tflite` file.
        runtime: `"xnnpack-arm"`, LiteRT's default on phones and other 64-bit Arm devices;
            `"xnnpack-x86"`; `"litert-builtin"`, its kernels without XNNPACK; or `"litert-micro"`.
        quantize: How a model is going to be exported: `None`, `"float16"`, `"dynamic"`, `"int8"`,
            or one of `to_litert`'s formats of four bits. Of a file it is read.

    Returns:
        An `Eligibility`.

    Raises:
        ValueError: If the model is subclassed or not built, the file is none of LiteRT's, or an
            argument is wrong.
        OSError: If the file cannot be read.

    Source: XNNPACK's `subgraph.c`, LiteRT's `fully_connected.cc` and `dense_to_sparse_pass.cc`.
    """
    one_of("runtime", runtime, RUNTIMES)
    if quantize is not None:
        one_of("quantize", quantize, ("float16", "dynamic", "int8", *STORED_DENSE))
    if isinstance(model_or_path, keras.Model):
        name, graph = model_or_path.name, keras_runtime_graph(model_or_path)
    elif isinstance(model_or_path, (str, os.PathLike)):
        name = os.fspath(model_or_path)
        graph = file_runtime_graph(read_file(name), repr(name))
    else:
        raise wrong("model_or_path", model_or_path, "a keras.Model or the path of a .tflite file")
    int8 = quantize in ("dynamic", "int8")
    found = verdicts(graph, runtime, int8, why_not_encoded(quantize))
    return Eligibility(name, runtime, found)


def file_eligibility(contents: bytes, name: str) -> dict[str, Eligibility]:
    """What each runtime does with the zeros of a file.

    Args:
        contents: The file.
        name: Its name.
    """
    graph = file_runtime_graph(contents, repr(name))
    return {runtime: Eligibility(name, runtime, verdicts(graph, runtime)) for runtime in RUNTIMES}
