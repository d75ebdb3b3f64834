"""Weights of a model that no memory needs to hold: in files, changed a part at a time."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_sparse.graphs.gist.partition import Places, grid
from keras_sparse.storage.files import read_json, replace_file
from keras_sparse.storage.states import StateFiles

_STATE = "state.json"
_CHUNK_BYTES = 64 * 1024 * 1024


class WeightFiles:
    """Weights in memory-mapped files, which rounds change whole or not at all.

    The parts of a round are written beside the weights before they are written into them, so
    that a round which was interrupted on the way is finished when the folder is opened again.

    Args:
        folder: Where the files are; it is made if need be.
        identity: What must be the same when the folder is opened again; JSON can hold it.
        shapes: Of the weights.

    Attributes:
        weights: Float32 arrays on the disk.
        rounds: Rounds that are in them.
        fresh: Whether they have no values yet.

    Raises:
        ValueError: If the folder is of another training.
    """

    def __init__(
        self, folder: Path, identity: dict[str, Any], shapes: Sequence[tuple[int, ...]]
    ) -> None:
        self._folder, self._identity = folder, json.loads(json.dumps(identity))
        self._pending = StateFiles(folder, "parts")
        folder.mkdir(parents=True, exist_ok=True)
        self.fresh = not (folder / _STATE).exists()
        self.rounds = 0
        if not self.fresh:
            state = read_json(folder / _STATE, "Delete the folder to begin anew.")
            if state["identity"] != self._identity:
                raise ValueError(
                    f"The weights in {os.fspath(folder)!r} are of another training: "
                    f"{state['identity']} there and {self._identity} here. Go on with what they "
                    "were made with, or give another folder."
                )
            self.rounds = state["rounds"]
        mode = "w+" if self.fresh else "r+"
        self.weights = [
            np.lib.format.open_memmap(folder / f"weight-{i:03}.npy", mode, np.float32, shape)
            if self.fresh
            else np.load(folder / f"weight-{i:03}.npy", mmap_mode="r+")
            for i, shape in enumerate(shapes)
        ]

    def begin(self, make: Any) -> None:
        """Gives the weights their first values, or finishes a round that was interrupted.

        Args:
            make: Called with the number of a weight and the array to fill.
        """
        if self.fresh:
            for number, weight in enumerate(self.weights):
                make(number, weight)
            self._done(0)
            self.fresh = False
            return
        found = self._pending.newest()
        if found is not None and found[0]["round"] == self.rounds:
            description, arrays = found
            self._write(arrays, description["counts"], self._places(description["places"]))
            self._done(self.rounds + 1)

    def apply(
        self, parts: Sequence[Sequence[np.ndarray]], places: Sequence[Sequence[Places]]
    ) -> None:
        """Puts the parts of a round into the weights.

        Args:
            parts: For each worker those of all weights.
            places: For each worker where they lie.
        """
        told = [[_told(each) for each in place] for place in places]
        counts = [len(part) for part in parts]
        arrays = [value for part in parts for value in part]
        description = {"round": self.rounds, "counts": counts, "places": told}
        self._pending.write(self.rounds, description, arrays)
        self._write(arrays, counts, places)
        self._done(self.rounds + 1)
        self._pending.delete()

    def _write(
        self,
        arrays: Sequence[np.ndarray],
        counts: Sequence[int],
        places: Sequence[Sequence[Places]],
    ) -> None:
        count = counts[0]
        for number, weight in enumerate(self.weights):
            parts = [arrays[rank * count + number] for rank in range(len(counts))]
            if all(each is None for place in places for each in place[number]):
                weight[...] = np.mean(parts, axis=0, dtype=np.float64)
            else:
                for part, place in zip(parts, places, strict=True):
                    weight[grid(weight, place[number])] = part
            weight.flush()

    def _places(self, told: Any) -> list[list[Places]]:
        return [
            [[None if axis is None else np.asarray(axis) for axis in each] for each in place]
            for place in told
        ]

    def _done(self, rounds: int) -> None:
        for weight in self.weights:
            weight.flush()
        state = {"identity": self._identity, "rounds": rounds}
        replace_file(self._folder / _STATE, (json.dumps(state) + "\n").encode())
        self.rounds = rounds


def _told(places: Places) -> list[Any]:
    return [None if each is None else each.tolist() for each in places]


def fill(weight: np.ndarray, initializer: Any, seed: int) -> None:
    """Gives a large array values of an initializer, some rows at a time.

    Args:
        weight: The array.
        initializer: Keras's; those that look at the shape are told that of the whole array.
        seed: Of the values.
    """
    row_bytes = max(1, weight.nbytes // max(1, weight.shape[0]))
    rows = max(1, _CHUNK_BYTES // row_bytes)
    for number, first in enumerate(range(0, weight.shape[0], rows)):
        part = weight[first : first + rows]
        own = np.random.SeedSequence([seed, number]).generate_state(1)[0] >> 1
        part[...] = keras.ops.convert_to_numpy(
            _for_shape(initializer, part.shape, weight.shape, int(own))(part.shape)
        )


def _for_shape(initializer: Any, part: tuple[int, ...], whole: tuple[int, ...], seed: int) -> Any:
    if not isinstance(initializer, keras.initializers.VarianceScaling):
        config = initializer.get_config()
        again = {**config, "seed": seed} if "seed" in config else config
        return type(initializer).from_config(again)
    mode = initializer.mode
    scale = initializer.scale * _fan(part, mode) / _fan(whole, mode)
    return keras.initializers.VarianceScaling(scale, mode, initializer.distribution, seed)


def _fan(shape: tuple[int, ...], mode: str) -> float:
    field = math.prod(shape[:-2])
    fan_in, fan_out = shape[-2] * field, shape[-1] * field
    return {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[mode]
