"""A process that answers what another one asks."""

from __future__ import annotations

import importlib
import json
import os
import struct
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from keras_sparse.storage.shared import load_shared

_FRAME = struct.Struct("<qq")
_LOOK_SECONDS = 1.0
# Of a request and its numbers in words, the answer in the same form.
Answering = Callable[[dict[str, Any], bytes], tuple[dict[str, Any], bytes]]


def write_frame(stream: IO[bytes], words: Any, payload: bytes = b"") -> None:
    """Writes a message.

    Args:
        stream: Where to.
        words: What JSON can hold.
        payload: Bytes that go with it.
    """
    text = json.dumps(words).encode()
    stream.write(_FRAME.pack(len(text), len(payload)))
    stream.write(text)
    stream.write(payload)
    stream.flush()


def read_frame(stream: IO[bytes]) -> tuple[Any, bytes]:
    """Reads a message.

    Raises:
        EOFError: If the other side has ended.
    """
    words, payload = _FRAME.unpack(_exactly(stream, _FRAME.size))
    return json.loads(_exactly(stream, words)), _exactly(stream, payload)


def _exactly(stream: IO[bytes], size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise EOFError
    return data


def main(setup: str, function: str) -> None:
    """Answers until nobody asks any more.

    Args:
        setup: The file of the setup.
        function: `"module:name"` of what makes the answering function of it.
    """
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    requests = sys.stdin.buffer
    # What libraries print must not come among the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    module, _, name = function.partition(":")
    try:
        make: Callable[[Any], Answering] = getattr(importlib.import_module(module), name)
        answer = make(load_shared(Path(setup)))
        write_frame(answers, {"ready": True})
        while True:
            try:
                words, payload = read_frame(requests)
            except EOFError:
                return
            write_frame(answers, *answer(words, payload))
    except Exception as error:
        traceback.print_exc()
        failed = {"failed": f"{type(error).__name__}: {error}"}
        write_frame(answers, failed)


def _end_with(parent: int) -> None:
    """Ends this process, in the middle of its work, once the one that asks it has ended."""
    while os.getppid() == parent:
        time.sleep(_LOOK_SECONDS)
    os._exit(1)
