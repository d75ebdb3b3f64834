"""States of a pass over a stream in files, each of which goes with a position in it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from keras_sparse.messages.arguments import integer, wrong
from keras_sparse.storage.states import StateFiles
from keras_sparse.streaming.evaluation.events import StreamHistory

State = tuple[dict[str, Any], list[np.ndarray]]


class Stateful(Protocol):
    """What can be written down and become again what it was."""

    def state(self) -> State:
        """All that its future depends on: what JSON can hold, and arrays."""

    def restore(self, description: dict[str, Any], arrays: list[np.ndarray]) -> None:
        """Becomes what `state` described."""


class StreamStates:
    """Writes states of what learns from a stream, and finds the last one again.

    Args:
        learner: What learns.
        folder: Where the states are; `None` for nowhere, so that nothing is written.
        every: Examples between two states.
        stream: What tells this stream from others: the order of its examples.

    Raises:
        ValueError: If `every` is not a positive integer.
    """

    def __init__(
        self, learner: Stateful, folder: str | os.PathLike[str] | None, every: int, stream: bytes
    ) -> None:
        self.learner, self.every = learner, integer("backup_every", every)
        self.files = None if folder is None else StateFiles(Path(folder).expanduser(), "step")
        self.stream = hashlib.sha256(stream).hexdigest()

    def resumed(self) -> tuple[int, StreamHistory]:
        """Gives the learner its last state, if there is one.

        Returns:
            The examples that it had met, and the testing events until then.

        Raises:
            ValueError: If the states are of another stream, or cannot be read.
        """
        found = None if self.files is None else self.files.newest()
        if self.files is None or found is None:
            # By this state, files of examples that come later are known to be left of this stream.
            self._write(0, StreamHistory())
            return 0, StreamHistory()
        description, arrays = found
        if description["stream"] != self.stream:
            raise wrong("backup", str(self.files.folder), "a folder with states of this stream")
        self.learner.restore(description["learner"], arrays)
        return description["position"], StreamHistory.from_json(description["events"])

    def after(self, position: int, history: StreamHistory) -> None:
        """Writes a state, if it is time.

        Args:
            position: The examples that were met.
            history: The testing events until then.
        """
        if position % self.every == 0:
            self._write(position, history)

    def _write(self, position: int, history: StreamHistory) -> None:
        if self.files is None:
            return
        description, arrays = self.learner.state()
        mine = {"position": position, "stream": self.stream, "events": history.to_json()}
        self.files.write(position, {**mine, "learner": description}, arrays)

    def delete(self) -> None:
        """Removes all states."""
        if self.files is not None:
            self.files.delete()
