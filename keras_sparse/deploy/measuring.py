"""Times inferences of one LiteRT file: a program that imports the runtime and nothing else.

It is run as a process of its own, so that the memory it takes is that of the file's inferences.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

_WARM_UPS = 3
# More than the caches of a processor hold.
_CACHES = 128 * 1024 * 1024


def peak_bytes() -> int | None:
    """The most memory that this process has held, where the system tells it."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def measure(file: str, resolver: str, runs: int, threads: int, cold: bool) -> dict[str, Any]:
    """CPU seconds of each inference, and the peak of memory that loading and running adds.

    Args:
        file: The `.tflite` file.
        resolver: A name of `OpResolverType`.
        runs: How many inferences.
        threads: Threads to compute with.
        cold: Whether all that the caches hold is replaced before each inference.
    """
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    other = np.ones(_CACHES // 8 if cold else 0)
    before = peak_bytes()
    interpreter = Interpreter(
        file, num_threads=threads, experimental_op_resolver_type=OpResolverType[resolver]
    )
    interpreter.allocate_tensors()
    random = np.random.default_rng(0)
    for detail in interpreter.get_input_details():
        values = random.normal(size=detail["shape"])
        whole = not np.issubdtype(detail["dtype"], np.floating)
        values = np.zeros(detail["shape"]) if whole else values
        interpreter.set_tensor(detail["index"], values.astype(detail["dtype"]))
    times = []
    for _ in range(_WARM_UPS + runs):
        other += 1
        start = time.process_time()
        interpreter.invoke()
        times.append(time.process_time() - start)
    after = peak_bytes()
    grown = None if before is None or after is None else after - before
    return {"seconds": times[_WARM_UPS:], "bytes": grown}


if __name__ == "__main__":
    file, resolver, runs, threads, caches = sys.argv[1:]
    print(json.dumps(measure(file, resolver, int(runs), int(threads), caches == "cold")))
