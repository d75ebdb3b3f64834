"""What the commands of `keras-sparse` do."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from keras_sparse_cli import options


def main(argv: Sequence[str] | None = None) -> int:
    """Reads a command line and runs it.

    ```python
    main(["train", "--data", "digits", "--epochs", "5", "--out", "runs/digits"])
    ```

    Args:
        argv: The arguments. Defaults to those of the process.

    Returns:
        The exit status: 0, 1 for a check that fails, 2 for an error that was explained, 130 if
        interrupted, or what a launched script ended with.
    """
    return run(options.make_parser().parse_args(argv))


def run(args: argparse.Namespace) -> int:
    """Runs a command.

    Args:
        args: What `keras_sparse_cli.options.make_parser` makes of a command line.

    Returns:
        See `main`.
    """
    stderr = Console(stderr=True, soft_wrap=True, highlight=False)

    def show(message: Any, category: type[Warning], *_: Any, **__: Any) -> None:
        stderr.print(Text(f"warning: {message}", style="yellow"))

    with warnings.catch_warnings():
        warnings.showwarning = show
        try:
            return COMMANDS[args.command](args) or 0
        except KeyboardInterrupt:
            stderr.print(_after_interrupt(args))
            return 130
        except Exception as error:
            if args.debug or not _explained(error):
                raise
            stderr.print(Text(f"error: {error}", style="bold red"))
            return 2


def _given_options(args: argparse.Namespace) -> dict[str, Any]:
    """The fields of a run's configuration that the command line gives."""
    given = {name: getattr(args, name) for name in (*options.OPTIONS, "augment") if name in args}
    given |= {name: tuple(given[name]) for name in ("keep_dense", "exclude") if name in given}
    if "model_args" in args:
        given["model_args"] = dict(args.model_args)
    return given


def _demo(args: argparse.Namespace) -> None:
    from keras_sparse.experiments.demo import demo

    demo(args.out, fresh=args.fresh)


def _train(args: argparse.Namespace) -> None:
    from keras_sparse.experiments.command import train_and_show

    out = Path(args.out).expanduser()
    train_and_show(out, _given_options(args), resume=args.resume, trained=args.trained)


def _compare(args: argparse.Namespace) -> None:
    from keras_sparse.experiments.command import compare_and_show

    given = _given_options(args)
    given.pop("sparsity", None)
    compare_and_show(
        Path(args.out).expanduser(),
        methods=args.methods,
        sparsities=args.sparsity,
        seeds=args.seeds,
        common=given,
        equal=args.equal,
        processes=args.processes,
        again=args.again,
    )


def _sweep(args: argparse.Namespace) -> None:
    from keras_sparse.experiments.sweep_command import sweep_and_show

    given = {name: getattr(args, name) for name in options.SWEEP}
    common = {n: value for n, value in _given_options(args).items() if n != "sparsity"}
    sweep_and_show(Path(args.out), **given, common=common)


def _stream(args: argparse.Namespace) -> None:
    from keras_sparse.experiments.stream_command import stream_and_show

    stream_and_show(
        Path(args.out).expanduser(),
        methods=args.method,
        seeds=args.seeds,
        common={name: getattr(args, name) for name in options.STREAM_OPTIONS if name in args},
        processes=args.processes,
    )


def _launch(args: argparse.Namespace) -> int:
    import signal

    from keras_sparse.distribute.launch import launch

    # As Ctrl-C does: whoever ends the command means the workers too.
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        return launch(args.script, args.arguments, args.workers, args.restarts, args.threads)
    finally:
        signal.signal(signal.SIGTERM, before)


def _list_methods(args: argparse.Namespace) -> None:
    from keras_sparse.experiments.command import method_table, pipeline_table, precision_table

    for table in (method_table(), precision_table(), pipeline_table()):
        Console().print(table)


def _precision_range(args: argparse.Namespace) -> None:
    from keras_sparse.experiments import precision_range

    given = {name: getattr(args, name) for name in options.RANGE_OPTIONS if name in args}
    found = precision_range.find_range(precision_range.RangeConfig(**given))
    if args.json:
        print(json.dumps(precision_range.range_result(found), indent=2))
    else:
        Console().print(precision_range.range_table(found))
    if args.picture:
        found.plot(args.picture)


def _report(args: argparse.Namespace) -> None:
    model = _load(args.file)
    from keras_sparse.sparsity.report import report

    _show(report(model, runtime=args.runtime), args.json)


def _inspect(args: argparse.Namespace) -> None:
    from keras_sparse.deploy import inspect

    _show(inspect(args.file), args.json)


def _eligibility(args: argparse.Namespace) -> int:
    from keras_sparse.deploy import eligibility

    of = args.file if args.file.endswith(".tflite") else _load(args.file)
    found = eligibility(of, args.runtime, args.quantize)
    _show(found, args.json)
    return int(args.check and not found.all_fast())


def _benchmark(args: argparse.Namespace) -> None:
    from keras_sparse.deploy import benchmark

    found = benchmark(
        args.files, args.runs, kernels=args.kernels, threads=args.threads, cold=args.cold
    )
    _show(found, args.json)
    if args.picture:
        found.plot(args.picture)


def _show(found: Any, as_json: bool) -> None:
    """Prints what was found as JSON or as a table."""
    if as_json:
        print(json.dumps(found.to_dict(), indent=2))
    else:
        found.print()


def _export(args: argparse.Namespace) -> None:
    from keras_sparse.experiments.model_files import export_file

    export_file(args)


def _shrink(args: argparse.Namespace) -> None:
    from keras_sparse.experiments import model_files, shrinking

    names = (*options.SHRINK_OPTIONS, "keep_zeros")
    made = shrinking.ShrinkConfig, shrinking.shrink_classifier, shrinking.shrink_table
    model_files.make_model(args, "shrunk", names, *made)


def _prune(args: argparse.Namespace) -> None:
    from keras_sparse.experiments import model_files, pruning

    made = pruning.PruneConfig, pruning.prune_classifier, pruning.prune_table
    model_files.make_model(args, "pruned", options.PRUNE_OPTIONS, *made)


def _transfer(args: argparse.Namespace) -> None:
    from keras_sparse.experiments import model_files, transferring

    names = (*options.TRANSFER_OPTIONS, "dense")
    made = transferring.TransferConfig, transferring.transfer_classifier
    model_files.make_model(args, "transferred", names, *made, transferring.transfer_table)


def _compare_transfer(args: argparse.Namespace) -> None:
    from keras_sparse.experiments.transfer_command import compare_transfer_and_show

    compare_transfer_and_show(
        Path(args.out).expanduser(),
        methods=args.methods,
        sparsities=args.sparsity,
        seeds=args.seeds,
        common={n: getattr(args, n) for n in options.COMPARE_TRANSFER_OPTIONS if n in args},
        processes=args.processes,
    )


def _load(file: str) -> Any:
    from keras_sparse.experiments.saving import load_model

    return load_model(Path(file).expanduser())


def _explained(error: Exception) -> bool:
    """Whether an error's message is meant for users: a wrong input, or one of this package's."""
    own = type(error).__module__.startswith("keras_sparse.")
    return own or isinstance(error, (ValueError, OSError, FloatingPointError))


def _after_interrupt(args: argparse.Namespace) -> str:
    out = getattr(args, "out", "")
    if args.command == "demo":
        return f"Interrupted. To go on: keras-sparse demo --out {shlex.quote(out)}"
    if args.command in ("compare", "compare-transfer", "stream", "sweep"):
        kept = "epochs" if args.command == "sweep" else "runs"
        return f"Interrupted; finished {kept} are kept. To go on, give the same command again."
    if args.command == "launch":
        return "Interrupted; all workers are ended. With a backup folder, the same command goes on."
    looks = ("list-methods", "report", "inspect", "eligibility", "benchmark", "precision-range")
    if args.command in looks:
        return "Interrupted."
    if args.command == "train" and (Path(out).expanduser() / "config.json").exists():
        return f"Interrupted. To go on: keras-sparse train --out {shlex.quote(out)} --resume"
    return "Interrupted; nothing was written."


COMMANDS: Mapping[str, Callable[[argparse.Namespace], int | None]] = {
    "demo": _demo,
    "train": _train,
    "compare": _compare,
    "sweep": _sweep,
    "stream": _stream,
    "launch": _launch,
    "list-methods": _list_methods,
    "precision-range": _precision_range,
    "report": _report,
    "export": _export,
    "shrink": _shrink,
    "prune": _prune,
    "transfer": _transfer,
    "compare-transfer": _compare_transfer,
    "inspect": _inspect,
    "eligibility": _eligibility,
    "benchmark": _benchmark,
}

if __name__ == "__main__":
    sys.exit(main())
