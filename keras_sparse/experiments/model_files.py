"""What the commands do that make a file of a model's file."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from rich.console import Console

from keras_sparse.deploy import to_litert, to_onnx
from keras_sparse.experiments.saving import load_model, load_samples, save_packed
from keras_sparse.storage.files import check_destination, replace_file


def export_file(args: argparse.Namespace) -> None:
    """Exports a model to LiteRT or, by the ending of the file, to ONNX.

    Args:
        args: The arguments of `keras-sparse export`.

    Raises:
        ValueError: For options of LiteRT with ONNX, or samples that are no array.
    """
    file = Path(args.file).expanduser()
    common: dict[str, Any] = {"batch_size": args.batch_size or None}
    if args.tolerance is not None:
        common["tolerance"] = args.tolerance
    if Path(args.out).suffix == ".onnx":
        if args.dense or args.quantize or args.kernels != "all":
            raise ValueError(
                "--dense, --quantize and --kernels are for LiteRT. Leave them out for an .onnx "
                "file, which holds float32 weights, zeros included."
            )
        to_onnx(load_model(file), args.out, load_samples(args.inputs), **common).print()
        return
    to_litert(
        load_model(file),
        args.out,
        sparse=not args.dense,
        inputs=load_samples(args.inputs),
        quantize=args.quantize,
        kernels=args.kernels,
        **common,
    ).print()


def make_model(
    args: argparse.Namespace,
    ending: str,
    names: Iterable[str],
    config: Callable[..., Any],
    make: Callable[[Any, Any, Console], tuple[Any, dict[str, Any]]],
    table: Callable[..., Any],
) -> None:
    """Makes a model of a model, and says in a table what has become of it.

    Args:
        args: The command's arguments: `file`, `out`, `json` and those of `names`.
        ending: What is added to the file's name where `out` is not given.
        names: The arguments that `config` takes, where they are given.
        config: Makes the settings of them.
        make: Called with the model, the settings and a console; gives the new model and its
            numbers.
        table: Makes the table of the numbers.
    """
    how = config(**{name: getattr(args, name) for name in names if name in args})
    file = Path(args.file)
    out = check_destination(args.out or file.with_name(f"{file.stem}_{ending}.keras"), ".keras")
    told = args.json and check_destination(args.json, ".json")
    model, console = load_model(file.expanduser()), Console()
    made, result = make(model, how, console)
    save_packed(made, out)
    sizes = file.expanduser().stat().st_size, out.stat().st_size
    result["keras_bytes"] = dict(zip(("before", "after"), sizes, strict=True))
    console.print(table(result, title=f"{file.name}, {how.method}"))
    console.print(f"The new model: {out}", highlight=False, soft_wrap=True)
    if told:
        replace_file(told, (json.dumps(result, indent=1) + "\n").encode())
