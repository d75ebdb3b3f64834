"""The command line, `keras-sparse`.

Keras and TensorFlow are imported by the commands that need them, so that help comes at once.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shlex
import sys
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.text import Text

# What Keras raises for a damaged file (as zlib does for a compressed one) or an unknown class.
_UNREADABLE = (TypeError, ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile, zlib.error)
_CHATTER = re.compile(r"WARNING: All log messages before absl|[IWE]\d{4} \d\d:\d\d|\s*$")


class _Option(NamedTuple):
    """An option of `train`: a field of `RunConfig`, whose default is repeated here.

    Reading it from there would take the seconds that importing Keras takes.
    """

    default: Any
    type: Callable[[str], Any]
    help: str
    many: bool = False


_OPTIONS = {
    "data": _Option("mnist", str, "data set: mnist, cifar10 or digits (8x8, embedded)"),
    "model": _Option("lenet5", str, "network: lenet300, lenet5, resnet20 or mobilenet"),
    "method": _Option("acdc", str, "a name that list-methods shows, or dense"),
    "sparsity": _Option(
        None, float, "fraction of weights to remove, below 1 (default: 0.95, or as n:m says)"
    ),
    "epochs": _Option(30, int, "passes over the images"),
    "batch_size": _Option(64, int, "images in a batch"),
    "learning_rate": _Option(0.05, float, "peak of SGD's learning rate, which falls to 0"),
    "momentum": _Option(0.9, float, "SGD's momentum"),
    "weight_decay": _Option(5e-4, float, "SGD's decoupled weight decay"),
    "seed": _Option(0, int, "seed of weights, order of images and random masks"),
    "limit": _Option(None, int, "training images to take (default: all)"),
    "granularity": _Option(
        None,
        str,
        "what is pruned as one: unstructured, channel, 2:4, 4x1, ... (default: the method's own)",
    ),
    "allocation": _Option(
        None,
        str,
        "sparsity of layers: global, uniform, er or erk (default: the method's own)",
    ),
    "keep_dense": _Option((), str, "layers to leave dense: first, last, depthwise", many=True),
    "exclude": _Option((), str, "names or globs of layers to leave dense", many=True),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line.

    ```python
    main(["train", "--data", "digits", "--epochs", "5", "--out", "runs/digits"])
    ```

    Args:
        argv: The arguments. Defaults to those of the process.

    Returns:
        The exit status: 0, 2 for an error that was explained, 130 if interrupted.
    """
    args = _parser().parse_args(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    stderr = Console(stderr=True, soft_wrap=True, highlight=False)

    def show(message: Any, category: type[Warning], *_: Any, **__: Any) -> None:
        stderr.print(Text(f"warning: {message}", style="yellow"))

    with warnings.catch_warnings():
        warnings.showwarning = show
        try:
            args.command(args)
        except KeyboardInterrupt:
            stderr.print(_after_interrupt(args))
            return 130
        except Exception as error:
            if args.debug or not _explained(error):
                raise
            stderr.print(Text(f"error: {error}", style="bold red"))
            return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show where an error comes from")
    parser = argparse.ArgumentParser(
        prog="keras-sparse",
        description="Train sparse Keras models, look into them, and export them to devices.",
        epilog="keras-sparse COMMAND --help tells more. Begin with: keras-sparse demo",
    )
    parser.add_argument("--version", action="version", version=version("keras-sparse"))
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    demo = commands.add_parser(
        "demo",
        parents=[common],
        help="compare dense training with AC/DC at 95 %% sparsity, in minutes",
        description="Trains LeNet-5 on MNIST (or the embedded digits, where there is neither data "
        "nor network) densely and with AC/DC to 95 % sparsity, and compares the two.",
    )
    demo.add_argument("--out", default="demo", help="folder to write (default: %(default)s)")
    demo.add_argument("--fresh", action="store_true", help="train anew what is there already")
    demo.set_defaults(command=_demo)

    train = commands.add_parser(
        "train",
        parents=[common],
        help="train a model and leave it in a folder",
        description="Trains a model and leaves model.keras, model.tflite, history.csv, curve.png "
        "and result.json in a folder. Ctrl-C leaves a run that --resume goes on with.",
        epilog="keras-sparse train --data mnist --model lenet5 --method acdc --sparsity 0.95 "
        "--epochs 30 --out runs/lenet5",
    )
    train.add_argument("--out", required=True, help="folder of the run, made if need be")
    train.add_argument(
        "--resume",
        action="store_true",
        help="go on with the run in the folder; its settings are known and need not be given",
    )
    for name, option in _OPTIONS.items():
        shown = f" (default: {option.default})" if option.default not in (None, ()) else ""
        train.add_argument(
            "--" + name.replace("_", "-"),
            type=option.type,
            nargs="+" if option.many else None,
            # What is not given is left out, so that --resume can tell.
            default=argparse.SUPPRESS,
            metavar=option.type.__name__.upper().replace("STR", "NAME"),
            help=option.help + shown,
        )
    train.add_argument(
        "--augment",
        action="store_true",
        default=argparse.SUPPRESS,
        help="crop and flip images at random, as is usual for CIFAR-10",
    )
    train.add_argument(
        "--model-arg",
        dest="model_args",
        type=_name_and_value,
        action="append",
        default=argparse.SUPPRESS,
        metavar="NAME=VALUE",
        help="argument of the network, such as width=8 for resnet20; may be repeated",
    )
    train.set_defaults(command=_train)

    report = commands.add_parser(
        "report",
        parents=[common],
        help="count the zeros of a saved model",
        description="Prints what of a saved model is zero, layer by layer, and what that saves.",
    )
    report.add_argument("file", metavar="FILE.keras")
    report.add_argument("--json", action="store_true", help="print JSON instead of a table")
    report.set_defaults(command=_report)

    export = commands.add_parser(
        "export",
        parents=[common],
        help="write a saved model as a LiteRT file that leaves zeros out",
        description="Writes a LiteRT (TensorFlow Lite) file that leaves pruned weights out, and "
        "checks that it computes what the model computes.",
    )
    export.add_argument("file", metavar="FILE.keras")
    export.add_argument("out", metavar="OUT.tflite")
    export.add_argument("--dense", action="store_true", help="store the zeros like any weight")
    export.set_defaults(command=_export)
    return parser


def _name_and_value(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE, such as width=8")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def _demo(args: argparse.Namespace) -> None:
    with _no_chatter():
        from keras_sparse.demo import demo

    demo(args.out, fresh=args.fresh)


def _train(args: argparse.Namespace) -> None:
    with _no_chatter():
        from keras_sparse import run_config, runs
        from keras_sparse.demo import Progress
    console = Console()
    given = {name: getattr(args, name) for name in (*_OPTIONS, "augment") if name in args}
    given |= {name: tuple(given[name]) for name in ("keep_dense", "exclude") if name in given}
    if "model_args" in args:
        given["model_args"] = dict(args.model_args)
    out = Path(args.out).expanduser()
    if args.resume:
        config = run_config.read_config(out)
        run_config.check_settings(given, config, out)
    else:
        config = run_config.RunConfig(**given)
    if run_config.read_result(out) is not None and args.resume:
        console.print(f"The run in {out} is finished.", highlight=False)
    with Progress(config.method, console) as progress:
        result = runs.train(config, out, args.resume, [progress])
    console.print(
        f"{config.model} on {config.data}, {config.method}: {result['accuracy']:.2%} test "
        f"accuracy with {result['sparsity']:.2%} zeros ({result['nonzeros']:,} of "
        f"{result['weights']:,} weights left), {result['tflite_bytes']:,} bytes as LiteRT "
        f"({result['tflite_gzip_bytes']:,} gzip), {result['seconds']:.0f} s.\n"
        f"In {out}: model.keras, model.tflite, history.csv, curve.png, result.json",
        highlight=False,
        soft_wrap=True,
    )


def _report(args: argparse.Namespace) -> None:
    model = _load(args.file)
    from keras_sparse.sparsity.report import report

    counted = report(model)
    if args.json:
        print(json.dumps(counted.to_dict(), indent=2))
    else:
        counted.print()


def _export(args: argparse.Namespace) -> None:
    model = _load(args.file)
    from keras_sparse.deploy import to_litert

    to_litert(model, args.out, sparse=not args.dense).print()


def _load(file: str) -> Any:
    path = Path(file).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {file!r}. Give a model saved as .keras.")
    if path.suffix != ".keras" or not zipfile.is_zipfile(path):
        raise ValueError(
            f"{file!r} is not a whole .keras file. Save the model with model.save('NAME.keras'); "
            "if writing it was cut short, save it again."
        )
    with _no_chatter():
        import keras

        # A file written during training names the optimizer's class, which is registered there.
        import keras_sparse  # noqa: F401
    try:
        return keras.saving.load_model(path, compile=False)
    except _UNREADABLE as error:
        # Keras prints the whole configuration before it comes to the point.
        reason = str(error).rpartition("Exception encountered: ")[2] or type(error).__name__
        raise ValueError(
            f"{file!r} cannot be loaded: {reason.splitlines()[0]} A damaged file must be saved "
            "again; a model with layers of your own is loaded in Python, where they are defined, "
            "and given to keras_sparse.report or keras_sparse.deploy.to_litert."
        ) from error


def _explained(error: Exception) -> bool:
    """Whether an error's message is meant for users: a wrong input, or one of this package's."""
    own = type(error).__module__.startswith("keras_sparse.")
    return own or isinstance(error, (ValueError, OSError, FloatingPointError))


def _after_interrupt(args: argparse.Namespace) -> str:
    out = getattr(args, "out", "")
    if args.command is _demo:
        return f"Interrupted. To go on: keras-sparse demo --out {shlex.quote(out)}"
    if args.command is _train and (Path(out).expanduser() / "config.json").exists():
        return f"Interrupted. To go on: keras-sparse train --out {shlex.quote(out)} --resume"
    return "Interrupted; nothing was written."


@contextlib.contextmanager
def _no_chatter() -> Iterator[None]:
    """Holds back what TensorFlow's C++ code logs while it is imported, which no option silences."""
    with tempfile.TemporaryFile() as held:
        sys.stderr.flush()
        saved = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)
            held.seek(0)
            for line in held.read().decode(errors="replace").splitlines():
                if not _CHATTER.match(line):
                    print(line, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
