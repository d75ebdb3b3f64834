"""Errors for misspelt names that say what was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(given: object, known: Iterable[str]) -> str:
    """A question for the nearest of the names that would have been right, empty if none is near.

    Args:
        given: The name received.
        known: The names that would have been right.
    """
    by_lower_case = {name.lower(): name for name in known}
    nearest = difflib.get_close_matches(str(given).lower(), by_lower_case, n=1, cutoff=0.5)
    return f"Did you mean {by_lower_case[nearest[0]]!r}?" if nearest else ""


def unknown_name(what: str, given: object, known: Iterable[str]) -> ValueError:
    """An error for a name that is not one of `known`, naming the nearest.

    Args:
        what: What the name is of, such as `"layer in exclude"`.
        given: The name received.
        known: The names that would have been right.
    """
    known = list(known)
    hint = did_you_mean(given, known)
    shown = ", ".join(repr(name) for name in known[:20]) + (", ..." if len(known) > 20 else "")
    return ValueError(f"Unknown {what}: {given!r}.{f' {hint}' if hint else ''} Known: {shown}")
