"""Which stored examples are of which class, so that no operation looks through all of them."""

from __future__ import annotations

from array import array

import numpy as np


class ClassIndex:
    """Labels by place, and places by label."""

    def __init__(self) -> None:
        self.labels = array("i")
        # Where each place stands in the list of its class.
        self.ranks = array("i")
        self.members: dict[int, array[int]] = {}

    def __len__(self) -> int:
        return len(self.labels)

    def append(self, label: int) -> None:
        """Adds the next place."""
        members = self.members.setdefault(label, array("i"))
        self.ranks.append(len(members))
        members.append(len(self.labels))
        self.labels.append(label)

    def remove(self, place: int) -> None:
        """Removes a place, which the last one takes."""
        members, rank = self.members[self.labels[place]], self.ranks[place]
        moved = members.pop()
        if moved != place:
            members[rank] = moved
            self.ranks[moved] = rank
        if not members:
            del self.members[self.labels[place]]
        last = len(self.labels) - 1
        if place != last:
            self.labels[place], self.ranks[place] = self.labels[last], self.ranks[last]
            self.members[self.labels[place]][self.ranks[place]] = place
        self.labels.pop()
        self.ranks.pop()

    def counts(self) -> dict[int, int]:
        """Stored examples by label, in the order of the labels."""
        return {label: len(self.members[label]) for label in sorted(self.members)}

    def largest(self, arriving: int) -> int:
        """The label of most examples, one more of `arriving` counted; of several the lowest."""
        labels = self.members.keys() | {arriving}
        return min(
            labels,
            key=lambda label: (-len(self.members.get(label, ())) - (label == arriving), label),
        )

    def arrays(self) -> list[np.ndarray]:
        """Labels and ranks, of which `fill` makes the same index again."""
        return [np.array(self.labels, np.int32), np.array(self.ranks, np.int32)]

    def fill(self, arrays: list[np.ndarray]) -> None:
        """Makes the index that `arrays` gave."""
        labels, ranks = arrays
        self.labels, self.ranks = array("i", labels.tolist()), array("i", ranks.tolist())
        order = np.lexsort((ranks, labels))
        self.members = {
            int(label): array("i", order[labels[order] == label].tolist())
            for label in np.unique(labels)
        }
