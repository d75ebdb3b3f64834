"""Starts `keras-sparse`.

It stands beside the package `keras_sparse`, so that it runs before that, and so TensorFlow, is
imported: that takes seconds, in which TensorFlow's C++ code logs what no option silences.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator

from keras_sparse_cli.options import make_parser

_CHATTER = re.compile(
    r"WARNING: All log messages before absl|[IWE]\d{4} \d\d:\d\d|To enable the|\s*$"
)


def main() -> int:
    """Runs the command line and returns its exit status."""
    args = make_parser().parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with without_chatter():
        from keras_sparse.cli import run
    return run(args)


@contextlib.contextmanager
def without_chatter() -> Iterator[None]:
    """Holds back what TensorFlow's C++ code writes to the standard error stream."""
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
