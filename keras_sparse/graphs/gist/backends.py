"""Where workers train: one after the other, in processes of this machine, or on several."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from keras_sparse.distribute.rounds import Rounds, pack, unpack
from keras_sparse.distribute.worker_processes import WorkerProcesses
from keras_sparse.graphs.gist.worker import Answer, Recipe, Worker


@dataclasses.dataclass(frozen=True)
class Part:
    """What a worker is to do in a round.

    Args:
        values: The arrays that it is given.
        like: For each array that it hands back one of the same shape and type.
    """

    values: list[np.ndarray]
    like: list[np.ndarray]


class Backend:
    """Trains the parts of a round.

    Args:
        rounds: Which it ends.
        recipe: How workers train.
        sizes: For each worker the sizes of its blocks; those that are equal may share a model.
        make: Makes the sub-network of a worker.
        threads: Of each process that is started.

    Attributes:
        traffic: Bytes that went between server and workers so far.
    """

    traffic = 0

    def __init__(
        self,
        rounds: Rounds,
        recipe: Recipe,
        sizes: Sequence[Any],
        make: Callable[[int], keras.Model],
        threads: int,
    ) -> None:
        self._rounds, self._recipe, self._sizes = rounds, recipe, list(sizes)
        self._begin(make, threads)

    def _begin(self, make: Callable[[int], keras.Model], threads: int) -> None:
        """Makes the workers."""
        raise NotImplementedError(f"{type(self).__name__} must implement _begin")

    def train(self, part: Callable[[int], Part], round: int, steps: range) -> list[Answer]:
        """Trains all parts, and ends the round.

        Args:
            part: The part of a worker, made anew at each call.
            round: Number of the round.
            steps: The steps of each worker.

        Returns:
            The answers by the numbers of the workers.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement train")

    def critical_seconds(self, answers: Sequence[Answer]) -> float:
        """How long a round's computing takes here: the slowest worker's."""
        return max(answer.seconds for answer in answers)

    def close(self) -> None:
        """Ends what was started."""


class Sequential(Backend):
    """One worker after the other in this process; sub-networks of one size share a graph.

    Its traffic is what would be sent if they were apart.
    """

    def _begin(self, make: Callable[[int], keras.Model], threads: int) -> None:
        self._workers = {
            size: Worker(make(self._sizes.index(size)), self._recipe) for size in self._sizes
        }

    def train(self, part: Callable[[int], Part], round: int, steps: range) -> list[Answer]:
        """Trains all parts, and ends the round."""
        answers = []
        for rank, size in enumerate(self._sizes):
            values = part(rank).values
            answers.append(self._workers[size].train(values, round, rank, steps))
            self.traffic += sum(each.nbytes for each in (*values, *answers[-1].values))
        self._rounds.exchange([], [[]])
        return answers

    def critical_seconds(self, answers: Sequence[Answer]) -> float:
        """All of theirs, as they wait for each other."""
        return sum(answer.seconds for answer in answers)


class Processes(Backend):
    """A process for each worker; this one is their server and holds the whole model."""

    def _begin(self, make: Callable[[int], keras.Model], threads: int) -> None:
        count = len(self._sizes)
        models = [keras.saving.serialize_keras_object(make(rank)) for rank in range(count)]
        function = f"{__name__}:answering"
        self._processes = WorkerProcesses(count, function, (models, self._recipe), threads)

    def train(self, part: Callable[[int], Part], round: int, steps: range) -> list[Answer]:
        """Trains all parts, and ends the round."""
        parts = [part(rank) for rank in range(self._processes.count)]
        span = [steps.start, steps.stop]
        said = self._processes.ask(
            [
                ({"rank": rank, "round": round, "steps": span}, pack(each.values))
                for rank, each in enumerate(parts)
            ]
        )
        self.traffic = self._processes.traffic
        self._rounds.exchange([], [[]])
        return [
            Answer(unpack(payload, each.like), words["loss"], words["seconds"])
            for each, (words, payload) in zip(parts, said, strict=True)
        ]

    def close(self) -> None:
        """Ends the processes."""
        self._processes.close()


def answering(setup: tuple[list[Any], Recipe]) -> Any:
    """What a process of `Processes` answers: its trained part.

    Args:
        setup: For each worker Keras's configuration of its model, and how it is trained.
    """
    models, recipe = setup
    workers: dict[int, Worker] = {}

    def answer(words: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
        rank = words["rank"]
        if rank not in workers:
            model = keras.saving.deserialize_keras_object(models[rank])
            workers[rank] = Worker(model, recipe)
        values = unpack(payload, workers[rank].taken)
        found = workers[rank].train(values, words["round"], rank, range(*words["steps"]))
        return {"loss": found.loss, "seconds": found.seconds}, pack(found.values)

    return answer


class Collective(Backend):
    """Workers that give each other what they have trained, of which this process is one.

    Each holds the whole model, draws the cuts itself and merges all parts, so that every part
    comes to all of the others: `m (m - 1)` of them a round, and nothing comes from a server.
    """

    def _begin(self, make: Callable[[int], keras.Model], threads: int) -> None:
        self._worker = Worker(make(self._rounds.workers.rank), self._recipe)

    def train(self, part: Callable[[int], Part], round: int, steps: range) -> list[Answer]:
        """Trains this worker's part, hands it over and waits for the others'."""
        parts = [part(rank) for rank in range(len(self._sizes))]
        rank = self._rounds.workers.rank
        self._rounds.workers.check()
        mine = self._worker.train(parts[rank].values, round, rank, steps)
        told = np.array([mine.loss, mine.seconds])
        said = self._rounds.exchange([*mine.values, told], [[*p.like, told] for p in parts])
        self.traffic = self._rounds.traffic
        return [Answer(values, *map(float, words)) for *values, words in said]


BACKENDS: dict[str, type[Backend]] = {
    "sequential": Sequential,
    "process": Processes,
    "tf.distribute": Collective,
}


def described(optimizer: keras.optimizers.Optimizer) -> dict[str, Any]:
    """An optimizer's configuration as JSON has it, without its name, for workers to compare."""
    config = {**optimizer.get_config(), "class": type(optimizer).__name__}
    config.pop("name", None)
    return json.loads(json.dumps(config, default=str))
