"""What TensorFlow's C++ code writes to the standard error, kept from drowning a report."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator

# glog's information and warning lines, and the TFLite logger's information lines.
_CHATTER = re.compile(r"WARNING: All log messages before absl|[IW]\d{4} \d\d:\d\d|INFO: |\s*$")
# The standard error belongs to the process: two threads must not exchange it at once.
_LOCK = threading.Lock()


class NativeLog:
    """The text that was written to the standard error under `native_log`."""

    text: str = ""


@contextlib.contextmanager
def native_log() -> Iterator[NativeLog]:
    """Holds back what the process writes to its standard error, and passes on what matters.

    The converter logs from C++, which no Python logger can quieten. On success, lines that are not
    known chatter are written out again, so a warning from another thread is only late; on an
    exception they stay in the log object, from which the caller makes its message.

    Yields:
        A `NativeLog`, whose `text` is filled when the block ends.
    """
    log = NativeLog()
    # A named file: should the converter abort the process, its last words are still on the disk.
    with _LOCK, tempfile.NamedTemporaryFile(prefix="keras_sparse_", suffix=".log") as file:
        sys.stderr.flush()
        saved = os.dup(2)
        os.dup2(file.fileno(), 2)
        succeeded = False
        try:
            yield log
            succeeded = True
        finally:
            sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)
            file.seek(0)
            log.text = file.read().decode(errors="replace")
            if succeeded:
                for line in log.text.splitlines():
                    if not _CHATTER.match(line):
                        print(line, file=sys.stderr)
