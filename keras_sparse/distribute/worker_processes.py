"""Processes of this machine that one process, their server, gives work to."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, cast

from keras_sparse.distribute.answering import read_frame, write_frame
from keras_sparse.distribute.communicator import WorkerLostError
from keras_sparse.messages.arguments import integer, text
from keras_sparse.storage.processes import environment
from keras_sparse.storage.shared import save_shared

# Not with -m: the package imports the module before that would run it.
_MAIN = "import sys; from keras_sparse.distribute.answering import main; main(*sys.argv[1:])"
_SHOWN = 2000
_GRACE_SECONDS = 10.0


class WorkerFailedError(RuntimeError):
    """A worker could not do what it was asked; the message is its own."""


class WorkerProcesses:
    """Processes that are asked at once and answer when they are done.

    What they answer depends on nothing but the request and the setup, so that a worker that has
    ended is started again and asked once more. They share the arrays of the setup in memory.

    Args:
        count: How many.
        function: `"module:name"` of a function that is given the setup and returns the function
            that answers: of words (what JSON can hold) and bytes, in the same form.
        setup: What pickle knows.
        threads: That each computes with.
        restarts: How often workers may be started again in all.

    Attributes:
        traffic: Bytes that went to workers and came back, without the words.
        restarted: How often workers were started again.
    """

    def __init__(
        self, count: int, function: str, setup: Any, threads: int = 1, restarts: int = 3
    ) -> None:
        self.count = integer("count", count)
        self.function = text("function", function)
        self.threads = integer("threads", threads)
        self.restarts = integer("restarts", restarts, 0)
        self.traffic, self.restarted = 0, 0
        self._folder = tempfile.TemporaryDirectory(prefix="keras_sparse_")
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._streams: dict[int, tuple[IO[bytes], IO[bytes]]] = {}
        try:
            save_shared(setup, Path(self._folder.name) / "setup")
            for rank in range(count):
                self._start(rank)
            for rank in range(count):
                self._greet(rank)
        except BaseException:
            self.close()
            raise

    def _start(self, rank: int) -> None:
        folder = Path(self._folder.name)
        root = Path(__file__).parents[2]
        path = os.pathsep.join([os.fspath(root), *filter(None, [os.environ.get("PYTHONPATH")])])
        with (folder / f"log{rank}").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", _MAIN, os.fspath(folder / "setup"), self.function],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**environment(self.threads), "PYTHONPATH": path},
            )
        self._processes[rank] = process
        self._streams[rank] = cast("IO[bytes]", process.stdin), cast("IO[bytes]", process.stdout)

    def processes(self) -> list[int]:
        """The numbers that the operating system has for the workers, by theirs."""
        return [self._processes[rank].pid for rank in range(self.count)]

    def ask(self, requests: Sequence[tuple[Any, bytes]]) -> list[tuple[Any, bytes]]:
        """Asks each worker something, and waits for all answers.

        Args:
            requests: For each worker words and bytes.

        Returns:
            The answers in the same form.

        Raises:
            WorkerFailedError: If one could not do it.
            WorkerLostError: If workers end more often than they may be started again.
        """
        sent = [self._send(rank, request) for rank, request in enumerate(requests)]
        return [
            self._answer(rank, request, went)
            for (rank, request), went in zip(enumerate(requests), sent, strict=True)
        ]

    def _send(self, rank: int, request: tuple[Any, bytes]) -> bool:
        try:
            write_frame(self._streams[rank][0], *request)
        except OSError:
            return False
        self.traffic += len(request[1])
        return True

    def _answer(self, rank: int, request: tuple[Any, bytes], went: bool) -> tuple[Any, bytes]:
        found = self._read(rank) if went else None
        while found is None:
            self._again(rank)
            found = self._read(rank) if self._send(rank, request) else None
        self.traffic += len(found[1])
        return found

    def _read(self, rank: int) -> tuple[Any, bytes] | None:
        """What a worker says; `None` if it has ended."""
        try:
            words, payload = read_frame(self._streams[rank][1])
        except EOFError:
            return None
        if "failed" in words:
            raise WorkerFailedError(f"Worker {rank} failed: {words['failed']}\n{self._log(rank)}")
        return words, payload

    def _again(self, rank: int) -> None:
        """Starts a worker that has ended once more."""
        process = self._processes[rank]
        process.kill()
        status = process.wait()
        self._close(rank)
        if self.restarted == self.restarts:
            names = [f"process {pid}" for pid in self.processes()]
            told = f"Worker {rank} ended with status {status}. Its output:\n{self._log(rank)}"
            raise WorkerLostError([rank], names) from WorkerFailedError(told)
        self.restarted += 1
        self._start(rank)
        self._greet(rank)

    def _greet(self, rank: int) -> None:
        """Waits until a worker is ready."""
        if self._read(rank) is None:
            self._again(rank)

    def _log(self, rank: int) -> str:
        path = Path(self._folder.name) / f"log{rank}"
        return path.read_text(encoding="utf-8", errors="replace")[-_SHOWN:]

    def close(self) -> None:
        """Ends the workers."""
        for process in self._processes.values():
            # Without questions they end by themselves; who works on one is not waited for.
            process.terminate()
        for process in self._processes.values():
            try:
                process.wait(_GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for rank in self._processes:
            self._close(rank)
        self._processes = {}
        self._folder.cleanup()

    def _close(self, rank: int) -> None:
        for stream in self._streams.pop(rank, ()):
            with contextlib.suppress(OSError):
                stream.close()

    def __enter__(self) -> WorkerProcesses:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
