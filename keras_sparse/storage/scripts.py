"""Objects for other processes whose classes and functions may stand in the script that runs."""

from __future__ import annotations

import os
import pickle
import runpy
import sys
import types
from typing import Any

# As multiprocessing calls the script in a process that it has spawned.
_AGAIN = "__mp_main__"
WORKER = "KERAS_SPARSE_WORKER"


class NotPicklableError(ValueError):
    """Something that another process needs cannot be sent to it."""


def portable(value: Any) -> tuple[str | None, bytes]:
    """An object as bytes, and the script that it needs, if it needs one.

    Args:
        value: What pickle knows; functions must have a name at the top of a file.

    Raises:
        NotPicklableError: If it is another thing, or this process is a worker that runs a script
            from its top.
    """
    if WORKER in os.environ:
        raise NotPicklableError(
            "A worker process started the search again: it imports the script that it comes from. "
            'Call search under `if __name__ == "__main__":`.'
        )
    try:
        contents = pickle.dumps(value, protocol=5)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise NotPicklableError(
            f"Workers are processes of their own and get what they need by pickle, which cannot "
            f"hold it: {error}. Define functions and classes at the top of a file, give arrays "
            "rather than data sets, or search with workers=1."
        ) from error
    main = getattr(sys.modules["__main__"], "__file__", None)
    needs_main = b"__main__" in contents
    if needs_main and main is None:
        raise NotPicklableError(
            "Workers cannot import what is defined in an interactive session. Put it into a file, "
            "and import it from there."
        )
    return (os.path.abspath(str(main)) if needs_main else None), contents


def received(script: str | None, contents: bytes) -> Any:
    """The object that `portable` was given, in another process.

    Args:
        script: The script that it needs.
        contents: The object.
    """
    if script is not None:
        os.environ[WORKER] = "1"
        sys.path.insert(0, os.path.dirname(script))
        module = types.ModuleType(_AGAIN)
        sys.modules["__main__"] = sys.modules[_AGAIN] = module
        vars(module).update(runpy.run_path(script, run_name=_AGAIN))
    return pickle.loads(contents)
