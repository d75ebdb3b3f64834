"""Positions along axes that are removed together: a union-find over integers."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

# What the positions along one axis of a tensor are: arrays as long as the axis, of atoms. A
# position stays as long as its atoms in all of the arrays do. Where an array holds 0, nothing can
# remove the position. An axis without arrays is of a fixed size.
Axis: TypeAlias = "tuple[np.ndarray, ...]"


class Atoms:
    """Atoms, which of them go together, and why some of them have to stay."""

    def __init__(self) -> None:
        self._parent = np.zeros(1, np.int64)
        self._count = 1
        self._fixed: dict[int, str] = {}

    def __len__(self) -> int:
        return self._count

    def new(self, count: int) -> np.ndarray:
        """Makes atoms, integers above 0, each on its own."""
        first, self._count = self._count, self._count + count
        while len(self._parent) < self._count:
            self._parent = np.concatenate([self._parent, np.zeros_like(self._parent)])
        made = np.arange(first, self._count)
        self._parent[made] = made
        return made

    def find(self, atoms: np.ndarray) -> np.ndarray:
        """The one atom that stands for all that go with each of some atoms."""
        roots = self._parent[atoms]
        while not np.array_equal(above := self._parent[roots], roots):
            roots = above
        self._parent[atoms] = roots
        return roots

    def unite(self, first: np.ndarray, second: np.ndarray, why: str) -> None:
        """Lets atoms go together one by one; with 0 an atom has to stay.

        Args:
            first: Atoms.
            second: As many atoms.
            why: What to say of an atom that has to stay.
        """
        self.fix(np.concatenate([first[second == 0], second[first == 0]]), why)
        first, second = self.find(first), self.find(second)
        for i in np.flatnonzero((first != second) & (first > 0) & (second > 0)):
            a, b = self._root(int(first[i])), self._root(int(second[i]))
            if a != b:
                a, b = min(a, b), max(a, b)
                self._parent[b] = a
                if b in self._fixed:
                    self._fixed.setdefault(a, self._fixed.pop(b))

    def fix(self, atoms: np.ndarray, why: str, foremost: bool = False) -> None:
        """Lets atoms stay, and all that go with them.

        Args:
            atoms: The atoms.
            why: The reason. The first one is kept.
            foremost: Whether this one takes its place.
        """
        for root in np.unique(self.find(atoms)):
            if root and (foremost or int(root) not in self._fixed):
                self._fixed[int(root)] = why

    def fixed(self) -> dict[int, str]:
        """The atoms that have to stay, each standing for all that go with it, with reasons."""
        return dict(self._fixed)

    def _root(self, atom: int) -> int:
        while self._parent[atom] != atom:
            self._parent[atom] = self._parent[self._parent[atom]]
            atom = int(self._parent[atom])
        return atom
