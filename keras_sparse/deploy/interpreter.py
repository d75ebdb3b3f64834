"""LiteRT's interpreter, without what it writes to the terminal."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from keras_sparse.deploy.native_log import native_log


@contextlib.contextmanager
def interpreting(
    contents: bytes, resolver: str = "AUTO", threads: int | None = None
) -> Iterator[Any]:
    """An interpreter of a file's contents.

    Args:
        contents: Of a `.tflite` file.
        resolver: A name of `tf.lite.experimental.OpResolverType`.
        threads: Threads to compute with. Defaults to LiteRT's choice.
    """
    with interpreting_all([contents], resolver, threads) as (interpreter,):
        yield interpreter


@contextlib.contextmanager
def interpreting_all(
    files: Sequence[bytes], resolver: str = "AUTO", threads: int | None = None
) -> Iterator[list[Any]]:
    """Interpreters of several files' contents, side by side.

    Args:
        files: Contents of `.tflite` files.
        resolver: As for `interpreting`.
        threads: Threads that each computes with.
    """
    import tensorflow as tf

    with native_log(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"\s*Warning: tf.lite.Interpreter is deprecated")
        yield [
            tf.lite.Interpreter(
                model_content=contents,
                num_threads=threads,
                experimental_op_resolver_type=tf.lite.experimental.OpResolverType[resolver],
            )
            for contents in files
        ]
