"""What workers tell each other: one exchange of bytes that all of them take part in."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

Result = TypeVar("Result")


class WorkerLostError(RuntimeError):
    """A worker has ended, or cannot be reached any more.

    Args:
        workers: The numbers of the workers; empty if it is not known which.
        names: What the workers are called in the message, by number.
    """

    def __init__(self, workers: Sequence[int], names: Sequence[str]) -> None:
        self.workers = tuple(workers)
        lost = " and ".join(f"worker {i} ({names[i]})" for i in workers) or "another worker"
        super().__init__(
            f"Lost {lost}: it has ended or cannot be reached any more; its own output says why. "
            "Start all workers again (keras-sparse launch --restarts does so by itself); a "
            "training with a backup folder goes on from its last combined round."
        )


class Communicator:
    """The workers of a training, seen from one of them.

    Args:
        rank: The number of this worker, from 0.
        names: What the workers are called in messages, such as their addresses.

    Attributes:
        traffic: Bytes that all workers together have received from others so far: an exchange
            brings each payload to `count - 1` workers.
    """

    def __init__(self, rank: int, names: Sequence[str]) -> None:
        self.rank, self.names = rank, tuple(names)
        self.traffic = 0

    @property
    def count(self) -> int:
        """The number of workers."""
        return len(self.names)

    def exchange(self, payload: bytes = b"") -> list[bytes]:
        """Gives every worker everybody's payload. All workers call it, in the same order.

        It waits for the slowest worker, however long that trains.

        Args:
            payload: What this worker has to say.

        Returns:
            The payloads by the numbers of their workers.

        Raises:
            WorkerLostError: If a worker ends meanwhile.
        """
        payloads = self._exchange(payload) if self.count > 1 else [payload]
        self.traffic += (self.count - 1) * sum(map(len, payloads))
        return payloads

    def _exchange(self, payload: bytes) -> list[bytes]:
        raise NotImplementedError(f"{type(self).__name__} must implement _exchange")

    def check(self) -> None:
        """Looks, without waiting, whether all workers are there; to be called during training.

        Raises:
            WorkerLostError: If one has ended.
        """


def alone() -> Communicator:
    """A training of one worker, this process."""
    return Communicator(0, ("this process",))


class _Meeting:
    """Where the threads of one process hand over what they have to say."""

    def __init__(self, count: int) -> None:
        self.barrier = threading.Barrier(count)
        self.payloads = [b""] * count
        self.lost: list[int] = []


class _ThreadCommunicator(Communicator):
    def __init__(self, rank: int, meeting: _Meeting) -> None:
        super().__init__(rank, [f"thread {i}" for i in range(meeting.barrier.parties)])
        self._meeting = meeting

    def _exchange(self, payload: bytes) -> list[bytes]:
        meeting = self._meeting
        try:
            meeting.payloads[self.rank] = payload
            meeting.barrier.wait()
            payloads = list(meeting.payloads)
            meeting.barrier.wait()  # Nobody hands over anew before all have read.
        except threading.BrokenBarrierError:
            raise WorkerLostError(meeting.lost, self.names) from None
        return payloads

    def check(self) -> None:
        if self._meeting.lost:
            raise WorkerLostError(self._meeting.lost, self.names)


def in_threads(work: Callable[[Communicator], Result], count: int) -> list[Result]:
    """Runs workers as threads of this process, to try out on one machine what several will do.

    Keras's and NumPy's global random seeds are shared by threads: give layers seeds of their own.

    ```python
    def train(workers):
        model = build()
        gap = ks.ParallelGaP(0.9, workers)
        model.fit(x, y, epochs=20, callbacks=[gap])
        return model

    models = ks.distribute.in_threads(train, 2)
    ```

    Args:
        work: A function of a worker's `Communicator`.
        count: How many workers.

    Returns:
        What each of them returns, by number.

    Raises:
        Exception: What the first worker to fail raised; the others then lose it.
    """
    meeting = _Meeting(count)
    results: list[Any] = [None] * count
    errors: list[BaseException] = []

    def run(rank: int) -> None:
        try:
            results[rank] = work(_ThreadCommunicator(rank, meeting))
        except BaseException as error:
            errors.append(error)
            meeting.lost.append(rank)
            meeting.barrier.abort()

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results
