"""How a sparsity is shared out over layers."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np

from keras_sparse.messages.arguments import is_number, number, one_of, wrong
from keras_sparse.messages.names import unknown_name
from keras_sparse.probe.layout import Layout

Allocation: TypeAlias = str | Mapping[str, float]
ALLOCATIONS = ("global", "uniform", "er", "erk")


def check_allocation(allocation: Allocation) -> Allocation:
    """Checks an allocation at construction, before any model is known.

    Args:
        allocation: `"global"` (one ranking over all layers), `"uniform"` (the same sparsity in
            each), `"er"` or `"erk"` (Erdos-Renyi: larger layers sparser), or a mapping from
            layer names or globs to sparsities.

    Raises:
        ValueError: If it is none of these, or a sparsity in the mapping is outside [0, 1).
    """
    if not isinstance(allocation, Mapping):
        return one_of("allocation", allocation, ALLOCATIONS)
    if not allocation or not all(isinstance(name, str) for name in allocation):
        raise wrong(
            "allocation", allocation, "a name or a mapping from layer names or globs to sparsities"
        )
    return {n: check_sparsity(s, f"allocation[{n!r}]") for n, s in allocation.items()}


def check_sparsity(sparsity: float, name: str = "sparsity") -> float:
    """Checks that a number is a sparsity, a fraction of zeros in [0, 1).

    Raises:
        ValueError: If it is not.
    """
    percent = is_number(sparsity) and 1 < sparsity < 100
    cure = f"For {sparsity:g} % give {sparsity / 100:g}." if percent else ""
    return float(number(name, sparsity, "[0, 1)", cure))


def final_sparsities(
    allocation: Allocation, sparsity: float | None, names: Sequence[tuple[str, ...]]
) -> np.ndarray:
    """The sparsity each tensor is meant for: one number for all, or a mapping's for each.

    Args:
        allocation: As in `check_allocation`.
        sparsity: The sparsity of what a mapping leaves open, or of everything.
        names: For each tensor the names by which a mapping may mean it.

    Returns:
        Shape `()`, or `(tensors,)` with a mapping; NaN where a mapping leaves a tensor out.

    Raises:
        ValueError: If a key of the mapping means nothing.
    """
    if not isinstance(allocation, Mapping):
        return np.asarray(sparsity, float)
    result = np.full(len(names), np.nan if sparsity is None else sparsity)
    for pattern, value in allocation.items():
        hits = [i for i, own in enumerate(names) if matches(pattern, own)]
        if not hits:
            raise unknown_name(
                "layer in allocation", pattern, dict.fromkeys(n for own in names for n in own)
            )
        result[hits] = value
    return result


def matches(pattern: str, names: Sequence[str]) -> bool:
    """Whether a name or glob means one of `names`."""
    return any(name == pattern or fnmatch.fnmatchcase(name, pattern) for name in names)


def keep_counts(
    allocation: Allocation,
    layouts: Sequence[Layout],
    sparsities: np.ndarray,
    at_least: Sequence[int] | int = 1,
) -> np.ndarray:
    """How many weights to keep after each mask update.

    `n_keep = N - round(s * N)` of all weights together, and of each layer by itself where the
    allocation fixes layers. Erdos-Renyi densities are rounded so that their sum is exact.

    Args:
        allocation: As in `check_allocation`.
        layouts: Layouts of the tensors.
        sparsities: Shape `(updates,)`, or `(updates, tensors)` for a mapping.
        at_least: What each tensor keeps in any case where the allocation fixes layers.

    Returns:
        Integers of shape `(updates, 1)` for `"global"`, else `(updates, tensors)`.
    """
    sizes = np.array([layout.size for layout in layouts], np.int64)
    total = sizes.sum()
    if allocation == "global":
        return _kept(total, sparsities)[:, None]
    if allocation == "uniform":
        return np.maximum(_kept(sizes, sparsities[:, None]), at_least)
    if isinstance(allocation, Mapping):
        return np.maximum(_kept(sizes, sparsities), at_least)
    density = _erdos_renyi(layouts, 1 - sparsities, kernel=allocation == "erk")
    counts = _round_to_sum(density * sizes, _kept(total, sparsities), sizes)
    return np.maximum(counts, at_least)


def _kept(size: np.ndarray, sparsity: np.ndarray) -> np.ndarray:
    return size - np.rint(sparsity * size).astype(np.int64)


def _erdos_renyi(layouts: Sequence[Layout], density: np.ndarray, kernel: bool) -> np.ndarray:
    """Densities proportional to the ER(K) factors; what would exceed 1 is dense.

    Returns:
        Shape `(len(density), len(layouts))`.

    Source: Mocanu et al. (2018); Evci et al. (2020).
    """
    sizes = np.array([layout.size for layout in layouts], float)
    factors = np.array([_factor(layout, kernel) for layout in layouts])
    wanted = density[:, None] * sizes.sum()
    dense = np.zeros((len(density), len(layouts)), bool)
    while True:
        open_mass = np.where(dense, 0, factors * sizes).sum(1, keepdims=True)
        budget = wanted - np.where(dense, sizes, 0).sum(1, keepdims=True)
        epsilon = np.divide(budget, open_mass, out=np.zeros_like(budget), where=open_mass > 0)
        densities = np.where(dense, 1.0, epsilon * factors)
        overfull = (densities > 1) & ~dense
        if not overfull.any():
            return densities
        dense |= overfull


def _factor(layout: Layout, kernel: bool) -> float:
    _, inputs, outputs = layout.matrix_shape
    if not kernel:
        return (inputs + outputs) / (inputs * outputs)
    sides = [layout.shape[axis] for axis in layout.positions]
    return (inputs + outputs + sum(sides)) / (inputs * outputs * math.prod(sides))


def _round_to_sum(counts: np.ndarray, total: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Rounds each row to integers that sum up to `total`, by the largest remainder."""
    floors = np.floor(counts + 1e-9).astype(np.int64)
    missing = total - floors.sum(1)
    order = np.argsort(floors - counts, axis=1, kind="stable")
    rank = np.argsort(order, axis=1, kind="stable")
    return np.minimum(floors + (rank < missing[:, None]), sizes)
