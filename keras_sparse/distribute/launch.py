"""Starting the workers of a training on one machine."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from rich.console import Console
from rich.text import Text

from keras_sparse.distribute.cluster import tf_config
from keras_sparse.messages.arguments import file_path, integer, optional, strings
from keras_sparse.storage.processes import environment

COLORS = ("cyan", "magenta", "green", "yellow", "blue", "red")
_GRACE_SECONDS = 10.0
_POLL_SECONDS = 0.05


def launch(
    script: str | os.PathLike[str],
    arguments: Sequence[str] = (),
    workers: int = 2,
    restarts: int = 0,
    threads: int | None = None,
    console: Console | None = None,
) -> int:
    """Runs a Python script as several workers of one training on this machine.

    Each is a process with a `TF_CONFIG` of its own; what they print comes out line by line with
    the worker's number before it. When one fails the others are ended, and so they are by Ctrl-C.

    ```python
    status = launch("train.py", ["--epochs", "30"], workers=4)
    ```

    Args:
        script: The file.
        arguments: The script's arguments.
        workers: How many processes.
        restarts: How often all workers are started again after one has failed; a training with
            a backup folder then goes on from its last combined round.
        threads: Threads that each worker computes with. Defaults to an equal share of the
            machine's cores.
        console: Where the output goes. Defaults to the standard output.

    Returns:
        0, or the exit status of the first worker that failed; of one that a signal ended, 128
        more than its number.

    Raises:
        ValueError: If a number is out of range.
        FileNotFoundError: If there is no such script.
    """
    file_path("script", script)
    strings("arguments", arguments)
    integer("workers", workers)
    integer("restarts", restarts, 0)
    optional(integer, "threads", threads)
    if not Path(script).is_file():
        raise FileNotFoundError(f"There is no script {os.fspath(script)!r} to launch.")
    console = console or Console(soft_wrap=True, highlight=False)
    threads = threads or max(1, (os.cpu_count() or 1) // workers)
    words = [sys.executable, "-u", os.fspath(script), *arguments]
    for attempt in range(restarts + 1):
        failed, status = _run(words, workers, environment(threads), console)
        if status == 0:
            break
        left = f"; all start again, restart {attempt + 1} of {restarts}"
        told = f"worker {failed} ended with status {status}{left if attempt < restarts else ''}"
        console.print(Text(told, style="bold red"))
    return status


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody listens on.

    Args:
        count: How many.
    """
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _run(
    words: Sequence[str], workers: int, variables: dict[str, str], console: Console
) -> tuple[int, int]:
    """Runs all workers once; returns the first that failed and its status."""
    addresses = [f"127.0.0.1:{port}" for port in free_ports(workers)]
    processes, readers = [], []
    try:
        for rank in range(workers):
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**variables, "TF_CONFIG": tf_config(addresses, rank)},
            )
            processes.append(process)
            prefix = Text(f"[worker {rank}] ", style=COLORS[rank % len(COLORS)])
            readers.append(_reader(process.stdout, prefix, console))
        return _first_failure(processes)
    finally:
        _end(processes)
        for reader in readers:
            reader.join()


def _reader(stream: IO[bytes] | None, prefix: Text, console: Console) -> threading.Thread:
    """Shows a worker's lines as they come; of a line that is written over, what it ends as."""

    def read() -> None:
        for line in stream or ():
            text = line.decode(errors="replace").rstrip("\r\n")
            console.print(prefix + Text(text.rpartition("\r")[2]))

    thread = threading.Thread(target=read)
    thread.start()
    return thread


def _first_failure(processes: Sequence[subprocess.Popen[bytes]]) -> tuple[int, int]:
    """Waits until one fails or all are done."""
    while True:
        codes = [process.poll() for process in processes]
        for rank, code in enumerate(codes):
            if code:
                return rank, code if code > 0 else 128 - code
        if None not in codes:
            return 0, 0
        time.sleep(_POLL_SECONDS)


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Asks what still runs to end, and after a while makes it."""
    running = [process for process in processes if process.poll() is None]
    for process in running:
        process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + _GRACE_SECONDS
    for process in running:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
