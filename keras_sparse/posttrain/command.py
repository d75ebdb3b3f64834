"""Which functions the command line offers as methods."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

_Function = TypeVar("_Function", bound=Callable[..., Any])
COMMANDS: dict[str, Callable[..., Any]] = {}


def command(function: _Function) -> _Function:
    """Offers a function, by its name, as a method that prunes after dense training.

    Args:
        function: Takes a model, calibration data `(x, y)`, `sparsity` and the other common
            arguments, and prunes the model in place.
    """
    COMMANDS[function.__name__] = function
    return function
