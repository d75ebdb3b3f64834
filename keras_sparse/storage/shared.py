"""An object in files whose arrays several processes read without copying them."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np

_ALIGNED = 64


def save_shared(value: Any, path: Path) -> None:
    """Writes an object, the data of its arrays apart from the rest.

    Args:
        value: What pickle knows.
        path: Of the file; another one of the same name and `.arrays` stands beside it.
    """
    buffers: list[pickle.PickleBuffer] = []
    text = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    places, at = [], 0
    with path.with_suffix(".arrays").open("wb") as file:
        for buffer in buffers:
            raw = buffer.raw()
            file.write(bytes(-at % _ALIGNED))
            at += -at % _ALIGNED
            places.append((at, raw.nbytes))
            file.write(raw)
            at += raw.nbytes
    path.write_bytes(json.dumps(places).encode() + b"\n" + text)


def load_shared(path: Path) -> Any:
    """Reads an object; its arrays stay in the file, of which processes share one copy in memory.

    Only what `save_shared` of the same user wrote may be read: pickle runs what it is told.

    Args:
        path: As given to `save_shared`.
    """
    line, _, text = path.read_bytes().partition(b"\n")
    places = json.loads(line)
    if not any(size for _, size in places):
        return pickle.loads(text, buffers=[b"" for _ in places])
    arrays = np.memmap(path.with_suffix(".arrays"), np.uint8, "r")
    return pickle.loads(text, buffers=[arrays[at : at + size] for at, size in places])
