"""The environment of processes that train."""

from __future__ import annotations

import os

_DEFAULTS = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    # On some processors TensorFlow leaves oneDNN's convolutions alone unless it is told.
    "TF_ENABLE_ONEDNN_OPTS": "1",
    # glibc would give TensorFlow's temporaries back to the system after each operation.
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "4000000000",
}


def environment(threads: int | None = None) -> dict[str, str]:
    """The variables of this process, and what is not set yet for one that trains.

    Args:
        threads: Threads that the process computes with. Defaults to its own choice.
    """
    names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
    limits = {} if threads is None else dict.fromkeys(names, str(threads))
    return {**limits, **_DEFAULTS, **os.environ}
