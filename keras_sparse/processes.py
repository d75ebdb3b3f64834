"""The environment of processes that train side by side on one machine."""

from __future__ import annotations

import os

# glibc would give TensorFlow's temporaries back to the system after each operation.
_QUIET = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "4000000000",
}


def environment(threads: int) -> dict[str, str]:
    """The variables of this process, and what is not set yet for one of few threads.

    Args:
        threads: Threads that the process computes with.
    """
    names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
    return {**dict.fromkeys(names, str(threads)), **_QUIET, **os.environ}
