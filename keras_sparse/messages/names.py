"""Errors for misspelt names that say what was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def unknown_name(what: str, given: object, known: Iterable[str]) -> ValueError:
    """An error for a name that is not one of `known`, naming the nearest.

    Args:
        what: What the name is of, such as `"allocation"`.
        given: The name received.
        known: The names that would have been right.
    """
    known = list(known)
    by_lower_case = {name.lower(): name for name in known}
    nearest = difflib.get_close_matches(str(given).lower(), by_lower_case, n=1, cutoff=0.5)
    hint = f" Did you mean {by_lower_case[nearest[0]]!r}?" if nearest else ""
    shown = ", ".join(repr(name) for name in known[:20]) + (", ..." if len(known) > 20 else "")
    return ValueError(f"Unknown {what}: {given!r}.{hint} Known: {shown}")
