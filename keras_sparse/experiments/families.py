"""Which methods are drawn together, and how."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from matplotlib import colormaps

from keras_sparse.experiments.pipelines import NAMED

MARKERS = "osD^vP*X<>phd8"
APART = 10  # methods that one plot can hold apart
_FEW = 3


def colored(names: Collection[str]) -> list[tuple[str, Any, str]]:
    """Names with a color and a marker each, in the order of the command line."""
    known = [name for name in NAMED if name in names]
    colors = colormaps["tab10" if len(known) <= APART else "tab20"]
    return [(name, colors(i % colors.N), MARKERS[i % len(MARKERS)]) for i, name in enumerate(known)]


def families(names: Collection[str]) -> dict[str, list[tuple[str, Any, str]]]:
    """Methods as `colored`, together as long as one plot can hold them apart, else by family.

    Families of less than three methods are one, `"others"`.
    """
    if len(names) <= APART:
        return {"": colored(names)}
    members: dict[str, list[str]] = {}
    for name in names:
        members.setdefault(NAMED[name].family, []).append(name)
    few = [family for family, of in members.items() if len(of) < _FEW]
    others = [name for family in few for name in members.pop(family)]
    grouped = {family: colored(members[family]) for family in sorted(members)}
    return grouped | ({"others": colored(others)} if others else {})
