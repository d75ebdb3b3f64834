"""Rounds of local training, each ended by combining what the workers made of the model."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from keras import ops

from keras_sparse.distribute.communicator import Communicator
from keras_sparse.messages.arguments import file_path, instance, optional
from keras_sparse.storage.states import StateFiles

# What goes before the arrays of a round: whether the worker goes on, and the number of the round.
_RECORD = struct.Struct("<ii")
RECORD_BYTES = _RECORD.size


class WorkersDifferError(ValueError):
    """The workers, or a backup, are not of the same training."""


class Rounds:
    """Keeps the workers of a training in step and the state after each round on the disk.

    Between `begin` and `finish` the workers train by themselves. `exchange` ends a round: what
    its caller makes of the answers is the same everywhere, and `save` makes that the state with
    which an interrupted training goes on. This knows nothing of what is trained or combined.

    Args:
        workers: The workers.
        identity: What must be the same on all of them and in a backup, by names for people;
            values are what JSON can hold. Of lists the first element that differs is named.
        folder: Where worker 0 keeps the states of the last two rounds. Defaults to nowhere.

    Attributes:
        number: Rounds that are finished.
        traffic: Bytes that all workers have received in the exchanges of the rounds: with m
            workers, `m - 1` times what they had to say, `RECORD_BYTES` each included.
    """

    def __init__(
        self,
        workers: Communicator,
        identity: Mapping[str, Any],
        folder: str | os.PathLike[str] | None = None,
    ) -> None:
        self.workers = instance("workers", workers, Communicator, "a Communicator")
        instance("identity", identity, Mapping, "a mapping")
        optional(file_path, "folder", folder)
        self.identity = json.loads(json.dumps(identity))
        self._files = None if folder is None else StateFiles(Path(folder).expanduser(), "round")
        self.number, self.traffic = 0, 0

    def begin(self, shared: Sequence[Any], own: Sequence[Any], facts: Any = None) -> list[Any]:
        """Makes the workers equal: as worker 0 is, or as they were after the latest round.

        Args:
            shared: Variables that are the same on all workers after a round.
            own: Variables of which each worker has its own values.
            facts: What else the workers should know of each other; JSON can hold it.

        Returns:
            The facts of all workers.

        Raises:
            WorkersDifferError: If they are not of the same training, or the backup is not.
        """
        self._own = list(own)
        said = {"identity": self.identity, "facts": facts}
        heard = [json.loads(text) for text in self.workers.exchange(json.dumps(said).encode())]
        for rank, other in enumerate(heard[1:], start=1):
            difference = _difference(heard[0]["identity"], other["identity"])
            if difference:
                name, one, two = difference
                raise WorkersDifferError(
                    f"Worker {rank} ({self.workers.names[rank]}) is not in the same training as "
                    f"worker 0: {name} is {two!r} there and {one!r} on worker 0. Run the same "
                    "script, arguments and versions on all workers."
                )
        state = self._latest() if self.workers.rank == 0 else b""
        state = self.workers.exchange(state)[0]
        if state:
            self._restore(state, shared)
        else:
            _assign(shared, unpack(self.workers.exchange(self._first(shared))[0], shared))
        return [other["facts"] for other in heard]

    def _first(self, shared: Sequence[Any]) -> bytes:
        return pack(shared) if self.workers.rank == 0 else b""

    def _latest(self) -> bytes:
        """The state in the newest backup, empty without one."""
        found = None if self._files is None else self._files.newest()
        if found is None or self._files is None:
            return b""
        description, (state,) = found
        difference = _difference(self.identity, description["identity"])
        if difference:
            name, one, two = difference
            raise WorkersDifferError(
                f"The backup in {os.fspath(self._files.folder)!r} is of another training: {name} "
                f"is {two!r} there and {one!r} here. Go on with what it was made with, or give "
                "another folder."
            )
        return _RECORD.pack(1, description["rounds"]) + state.tobytes()

    def _restore(self, state: bytes, shared: Sequence[Any]) -> None:
        _, self.number = _RECORD.unpack_from(state)
        everyone = [*shared, *self._own * self.workers.count]
        values = unpack(state[RECORD_BYTES:], everyone)
        _assign(shared, values[: len(shared)])
        first = len(shared) + len(self._own) * self.workers.rank
        _assign(self._own, values[first : first + len(self._own)])

    def exchange(self, mine: Sequence[Any], like: Sequence[Sequence[Any]]) -> list[list[Any]]:
        """Gives every worker what all of them have made in this round.

        Args:
            mine: Variables or arrays that this worker hands over.
            like: For each worker what has the shapes and types of what it hands over.

        Returns:
            Arrays by the numbers of the workers that they come from.

        Raises:
            RuntimeError: If a worker has stopped training before all rounds were over.
            WorkerLostError: If one has ended.
        """
        said = _RECORD.pack(1, self.number) + pack([*mine, *self._own])
        before = self.workers.traffic
        heard = self._heard(said)
        self.traffic += self.workers.traffic - before
        values = [
            unpack(text[RECORD_BYTES:], [*shapes, *self._own])
            for text, shapes in zip(heard, like, strict=True)
        ]
        self.number += 1
        self._owned = [value[len(value) - len(self._own) :] for value in values]
        return [value[: len(value) - len(self._own)] for value in values]

    def _heard(self, said: bytes) -> list[bytes]:
        heard = self.workers.exchange(said)
        for rank, text in enumerate(heard):
            goes_on, number = _RECORD.unpack_from(text)
            if not goes_on or number != self.number:
                did = "stopped training" if not goes_on else "was in another round,"
                raise RuntimeError(
                    f"Worker {rank} ({self.workers.names[rank]}) {did} after {number} rounds, "
                    f"and worker {self.workers.rank} is at the end of round {self.number + 1}. "
                    "Callbacks that stop training, such as EarlyStopping, are for fine-tuning."
                )
        return heard

    def save(self, shared: Sequence[Any]) -> None:
        """Writes the state after a round, whole or not at all, if a folder was given.

        Args:
            shared: The variables given to `begin`.
        """
        if self._files is None or self.workers.rank != 0:
            return
        own = [value for values in self._owned for value in values]
        state = np.frombuffer(pack([*shared, *own]), np.uint8)
        description = {"identity": self.identity, "rounds": self.number}
        self._files.write(self.number, description, [state])

    def stop(self) -> None:
        """Tells workers that wait for the end of a round that this one will not come."""
        self.workers.exchange(_RECORD.pack(0, self.number))

    def finish(self, shared: Sequence[Any]) -> None:
        """Gives all workers what worker 0 has in the end, and removes the backup.

        Args:
            shared: Variables.
        """
        _assign(shared, unpack(self.workers.exchange(self._first(shared))[0], shared))
        if self._files is not None and self.workers.rank == 0:
            self._files.delete()


def pack(values: Sequence[Any]) -> bytes:
    """The bytes of some variables or arrays, one after the other."""
    return b"".join(_array(value).tobytes() for value in values)


def unpack(data: bytes, like: Sequence[Any]) -> list[np.ndarray]:
    """The arrays in some bytes.

    Args:
        data: What `pack` returned.
        like: Variables or arrays of the same shapes and types.

    Raises:
        ValueError: If these are not as many bytes as the arrays have.
    """
    arrays, at = [], 0
    for value in like:
        model = _array(value)
        arrays.append(np.frombuffer(data, model.dtype, model.size, at).reshape(model.shape))
        at += model.nbytes
    if at != len(data):
        raise ValueError(f"{len(data)} bytes cannot hold exactly {len(arrays)} arrays, of {at}.")
    return arrays


def _array(value: Any) -> np.ndarray:
    return np.asarray(value if isinstance(value, np.ndarray) else ops.convert_to_numpy(value))


def _assign(variables: Sequence[Any], values: Sequence[np.ndarray]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _difference(one: Any, other: Any, name: str = "") -> tuple[str, Any, Any] | None:
    """The name of what differs, and the two values of it."""
    if one == other:
        return None
    if isinstance(one, dict) and isinstance(other, dict):
        key = next(key for key in (*one, *other) if one.get(key) != other.get(key))
        return _difference(one.get(key), other.get(key), f"{name} {key}".strip())
    if isinstance(one, list) and isinstance(other, list):
        pairs = enumerate(zip(one, other, strict=False))
        at = next((i for i, (a, b) in pairs if a != b), None)
        if at is not None:
            return _difference(one[at], other[at], f"{name} {at}")
        return f"the number of {name}", len(one), len(other)
    return name, one, other
