"""Which functions the command line offers as methods."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from keras_sparse.messages.arguments import one_of
from keras_sparse.posttrain.prune import prune

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


def post_training_method(method: Any) -> Callable[..., Any]:
    """A method by its name, or a function that prunes a model with calibration data.

    Args:
        method: `"magnitude"`, the name of a method such as `"obc"`, or such a function.

    Raises:
        ValueError: If it is none of these.
    """
    if callable(method):
        return method
    if method == "magnitude":
        return lambda model, data, sparsity=None, **kwargs: prune(model, sparsity, **kwargs)
    return COMMANDS[one_of("method", method, ("magnitude", *COMMANDS))]
