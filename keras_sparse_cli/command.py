"""Starts `keras-sparse`.

It stands beside the package `keras_sparse`, so that it runs before that, and so TensorFlow, is
imported: that takes seconds, in which TensorFlow's C++ code logs what no option silences.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

_CHATTER = re.compile(
    r"WARNING: All log messages before absl|[IWE]\d{4} \d\d:\d\d|To enable the|\s*$"
)
_stderr = 2  # Where the user reads, while that of the process is held back.


def main() -> int:
    """Runs the command line and returns its exit status."""
    # Of a KeyboardInterrupt within an import some C++ extensions make other errors.
    before = signal.signal(signal.SIGINT, _interrupted_at_once)
    from keras_sparse_cli.options import make_parser

    args = make_parser().parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if not sys.stdout.isatty():
        # A file or another program takes lines of any length, where rich would break them.
        os.environ.setdefault("COLUMNS", "1000")
    with without_chatter():
        from keras_sparse.cli import run
    try:
        signal.signal(signal.SIGINT, before)
        return run(args)
    except KeyboardInterrupt:
        return _interrupted()


def _interrupted_at_once(*_: Any) -> None:
    """Ends a process that has done nothing yet."""
    os._exit(_interrupted())


def _interrupted() -> int:
    os.write(_stderr, b"Interrupted; nothing was written.\n")
    return 130


@contextlib.contextmanager
def without_chatter() -> Iterator[None]:
    """Holds back what TensorFlow's C++ code writes to the standard error stream."""
    global _stderr
    with tempfile.TemporaryFile() as held:
        sys.stderr.flush()
        _stderr = saved = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(saved, 2)
            _stderr = 2
            os.close(saved)
            held.seek(0)
            for line in held.read().decode(errors="replace").splitlines():
                if not _CHATTER.match(line):
                    print(line, file=sys.stderr)
