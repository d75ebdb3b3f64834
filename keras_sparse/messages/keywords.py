"""Errors for misspelt keyword arguments that say what was probably meant."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from typing_extensions import ParamSpec

from keras_sparse.messages.names import did_you_mean

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def unknown_keyword(function: str, given: str, known: Iterable[str]) -> TypeError:
    """The error for a keyword argument that a function does not have, naming the nearest.

    Args:
        function: The function's or class's name.
        given: The keyword received.
        known: The keywords that it has.
    """
    known = list(known)
    parts = (
        f"{function} has no argument {given!r}.",
        did_you_mean(given, known),
        f"It takes {', '.join(known)}.",
    )
    return TypeError(" ".join(part for part in parts if part))


def keywords_of(*functions: Callable[..., Any]) -> list[str]:
    """The names that arguments of functions can be given by, without those behind `**kwargs`."""
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    found = [
        parameter.name
        for function in functions
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind in by_name and parameter.name != "self"
    ]
    return list(dict.fromkeys(found))


def known_keywords(
    more: type,
) -> Callable[[Callable[Parameters, Result]], Callable[Parameters, Result]]:
    """Decorates a function so that a keyword it does not have is refused before all else.

    Args:
        more: The `TypedDict` of what the function's `**kwargs` may hold.
    """

    def decorated(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
        known = [*keywords_of(function), *more.__annotations__]

        @functools.wraps(function)
        def checked(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
            for name in kwargs:
                if name not in known:
                    raise unknown_keyword(function.__name__, name, known)
            return function(*args, **kwargs)

        return checked

    return decorated
