"""What workers tell each other: one exchange of bytes that all of them take part in."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from keras_sparse.messages.arguments import function, integer, strings

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
        self.names = tuple(strings("names", names))
        self.rank = integer("rank", rank, 0, len(self.names) - 1)
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
        self.count = count
        self.changed = threading.Condition()
        self.said: dict[int, dict[int, bytes]] = {}
        self.ended: set[int] = set()

    def exchange(self, number: int, rank: int, payload: bytes) -> list[bytes] | None:
        """What all say in the exchange of a number; `None` if one of them has ended before it."""
        with self.changed:
            said = self.said.setdefault(number, {})
            said[rank] = payload
            self.said.pop(number - 2, None)  # All have read it, or they would not be so far.
            self.changed.notify_all()
            self.changed.wait_for(lambda: len(said) == self.count or self.ended - said.keys())
            return [said[i] for i in range(self.count)] if len(said) == self.count else None

    def end(self, rank: int) -> None:
        with self.changed:
            self.ended.add(rank)
            self.changed.notify_all()


class _ThreadCommunicator(Communicator):
    def __init__(self, rank: int, meeting: _Meeting) -> None:
        super().__init__(rank, [f"thread {i}" for i in range(meeting.count)])
        self._meeting, self._exchanges = meeting, 0

    def _exchange(self, payload: bytes) -> list[bytes]:
        self._exchanges += 1
        payloads = self._meeting.exchange(self._exchanges, self.rank, payload)
        if payloads is None:
            raise WorkerLostError(sorted(self._meeting.ended), self.names)
        return payloads

    def check(self) -> None:
        if self._meeting.ended:
            raise WorkerLostError(sorted(self._meeting.ended), self.names)


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
    function("work", work)
    meeting = _Meeting(integer("count", count))
    results: list[Any] = [None] * count
    errors: list[BaseException] = []

    def run(rank: int) -> None:
        try:
            results[rank] = work(_ThreadCommunicator(rank, meeting))
        except BaseException as error:
            errors.append(error)
        finally:
            meeting.end(rank)

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results
