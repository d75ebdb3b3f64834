"""LiteRT's interpreter, without what it writes to the terminal."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
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
    import tensorflow as tf

    with native_log(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"\s*Warning: tf.lite.Interpreter is deprecated")
        yield tf.lite.Interpreter(
            model_content=contents,
            num_threads=threads,
            experimental_op_resolver_type=tf.lite.experimental.OpResolverType[resolver],
        )
