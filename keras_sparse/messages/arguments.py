"""Checks of arguments: each says what is allowed and what was given, in one form.

A check takes an argument's name and value and returns the value, with a NumPy number as Python's.

```python
number("momentum", 1.5, "[0, 1)")
# ValueError: momentum must be a number in [0, 1). Received: momentum=1.5
```
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection, Sequence
from typing import Any, Concatenate, TypeVar

import numpy as np
from typing_extensions import ParamSpec

from keras_sparse.messages.names import did_you_mean

Value = TypeVar("Value")
Rest = ParamSpec("Rest")
_SHOWN = 120


def wrong(name: str, value: object, allowed: str, cure: str = "") -> ValueError:
    """The error for an argument that is not what is allowed.

    Args:
        name: The argument's name.
        value: What was given.
        allowed: What it must be, such as `"an integer of at least 1"`.
        cure: A sentence on what to do.
    """
    text = " ".join(repr(value).split())
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
    return ValueError(
        f"{name} must be {allowed}. Received: {name}={shown}" + (f". {cure}" if cure else "")
    )


def optional(
    check: Callable[Concatenate[str, Any, Rest], Value],
    name: str,
    value: Any,
    *args: Rest.args,
    **kwargs: Rest.kwargs,
) -> Value | None:
    """`None`, or what another check allows.

    ```python
    optional(integer, "steps", 100, 1)
    ```

    Args:
        check: The check of a value that is not `None`.
        name: The argument's name.
        value: What was given.
        *args: What else the check takes.
        **kwargs: What else the check takes, by name.

    Raises:
        ValueError: If the check refuses the value.
    """
    return None if value is None else check(name, value, *args, **kwargs)


def integer(name: str, value: Any, least: int = 1, most: int | None = None, cure: str = "") -> int:
    """An integer of at least `least`, and at most `most` if that is given.

    Args:
        name: The argument's name.
        value: What was given. A boolean is no integer, nor is a float that is whole.
        least: The smallest that is allowed.
        most: The largest that is allowed.
        cure: What to do about a wrong value.

    Raises:
        ValueError: If it is not.
    """
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or value < least or (most is not None and value > most):
        allowed = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise wrong(name, value, f"an integer {allowed}", cure)
    return int(value)


def number(name: str, value: Any, inside: str = "(-inf, inf)", cure: str = "") -> float:
    """A number in an interval; NaN is in none.

    Args:
        name: The argument's name.
        value: What was given. A boolean is no number.
        inside: The interval, such as `"[0, 1)"` or `"(0, inf)"`.
        cure: What to do about a wrong value.

    Raises:
        ValueError: If it is not.
    """
    if not is_number(value) or not _contains(inside, float(value)):
        raise wrong(name, value, _described(inside), cure)
    return value.item() if isinstance(value, np.generic) else value


def is_number(value: Any) -> bool:
    """Whether a value is an integer or a float, of Python's or NumPy's, and no boolean."""
    kinds = (int, float, np.integer, np.floating)
    return isinstance(value, kinds) and not isinstance(value, bool)


def _ends(interval: str) -> tuple[float, float]:
    low, high = interval[1:-1].split(",")
    return float(low), float(high)


def _contains(interval: str, value: float) -> bool:
    low, high = _ends(interval)
    above = value >= low if interval.startswith("[") else value > low
    below = value <= high if interval.endswith("]") else value < high
    return above and below


def _described(interval: str) -> str:
    low, high = _ends(interval)
    if high < math.inf:
        return f"a number in {interval}"
    if low == -math.inf:
        return "a finite number"
    bound = "of at least" if interval.startswith("[") else "greater than"
    return f"a finite number {bound} {low:g}"


def boolean(name: str, value: Any) -> bool:
    """`True` or `False`, not what merely counts as one of them.

    Raises:
        ValueError: If it is neither.
    """
    if not isinstance(value, (bool, np.bool_)):
        raise wrong(name, value, "True or False")
    return bool(value)


def random_seed(name: str, value: Any) -> int | None:
    """A seed, `None` for a random one.

    Raises:
        ValueError: If it is neither `None` nor an integer of at least 0.
    """
    if value is not None and (isinstance(value, bool) or not isinstance(value, (int, np.integer))):
        raise wrong(name, value, "None or an integer of at least 0")
    if value is not None and value < 0:
        raise wrong(name, value, "None or an integer of at least 0")
    return None if value is None else int(value)


def one_of(name: str, value: Any, known: Collection[str]) -> str:
    """One of several names.

    Args:
        name: The argument's name.
        value: What was given.
        known: The names.

    Raises:
        ValueError: If it is none of them, with the nearest.
    """
    if not isinstance(value, str) or value not in known:
        listed = ", ".join(repr(each) for each in known)
        raise wrong(name, value, f"one of {listed}", did_you_mean(value, known))
    return value


def text(name: str, value: Any) -> str:
    """A string.

    Raises:
        ValueError: If it is none.
    """
    return instance(name, value, str, "a string")


def file_path(name: str, value: Any) -> str:
    """The path of a file or folder, as a string.

    Raises:
        ValueError: If it is neither a string nor a path object.
    """
    if not isinstance(value, (str, os.PathLike)) or not os.fspath(value):
        raise wrong(name, value, "a path")
    return os.fspath(value)


def function(name: str, value: Callable[..., Any], allowed: str = "a function") -> Any:
    """Something that can be called.

    Args:
        name: The argument's name.
        value: What was given.
        allowed: What it must be, with its arguments.

    Raises:
        ValueError: If it cannot.
    """
    if not callable(value):
        raise wrong(name, value, allowed)
    return value


def instance(
    name: str, value: Any, kind: type[Value] | tuple[type[Value], ...], allowed: str, cure: str = ""
) -> Value:
    """An object of one kind.

    Args:
        name: The argument's name.
        value: What was given.
        kind: The class.
        allowed: The class in words.
        cure: What to do about a wrong value.

    Raises:
        ValueError: If it is of another.
    """
    if not isinstance(value, kind):
        raise wrong(name, value, allowed, cure)
    return value


def strings(name: str, value: Any) -> Sequence[str]:
    """A list of strings.

    Raises:
        ValueError: If it is another thing, a single string included.
    """
    several = isinstance(value, Sequence) and not isinstance(value, str)
    if not several or not all(isinstance(each, str) for each in value):
        raise wrong(name, value, "a list of strings")
    return value


def sample_shape(name: str, value: Any) -> Any:
    """The shape of a sample, a list of the shapes of several inputs, or `None`.

    Raises:
        ValueError: If it is none of these.
    """
    if value is None:
        return None
    nested = isinstance(value, (tuple, list)) and any(isinstance(x, (tuple, list)) for x in value)
    for shape in value if nested else [value]:
        sizes = shape if isinstance(shape, (tuple, list)) else [None]
        if not all(isinstance(x, (int, np.integer)) and x is not True and x >= 1 for x in sizes):
            allowed = "the shape of a sample, such as (32, 32, 3), or a list of shapes"
            raise wrong(name, value, allowed)
    return value


def array(name: str, value: Any, *, empty: bool = False) -> np.ndarray:
    """Finite numbers in an array, or what NumPy makes one of.

    Args:
        name: The argument's name.
        value: What was given.
        empty: Whether it may hold nothing.

    Returns:
        A float64 array.

    Raises:
        ValueError: If it holds something else.
    """
    try:
        found = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise wrong(name, value, "an array of numbers") from error
    if found.dtype.kind not in "iuf" or (not found.size and not empty):
        raise wrong(name, value, "an array of numbers" + ("" if empty else ", not empty"))
    if not np.isfinite(found).all():
        raise wrong(name, value, "an array of finite numbers")
    return found.astype(float)
