"""Greedy forward selection in a layer of a whole network."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_sparse.distribute.communicator import Communicator
from keras_sparse.messages.arguments import (
    boolean,
    instance,
    integer,
    number,
    optional,
    random_seed,
    wrong,
)
from keras_sparse.structured.coupling.groups import ChannelGroups
from keras_sparse.structured.layerwise.method import Chosen, Layerwise
from keras_sparse.structured.layerwise.taken import taken
from keras_sparse.structured.layerwise.uses import Use
from keras_sparse.structured.training import Samples
from keras_sparse.structured.units.consumers import Consumer
from keras_sparse.structured.units.cut import cut
from keras_sparse.structured.units.layer_selection import select_channels


@dataclasses.dataclass(frozen=True)
class GreedyForwardSelection(Layerwise):
    """Greedy forward selection, layer by layer, by the loss of the whole network.

    From an empty layer on, the unit is added with which the loss is least, the layers before
    being pruned already and those behind dense. Gains `C count / k` of the units that stay go
    into the layer that follows.

    ```python
    greedy = ks.structured.GreedyForwardSelection(num_candidates=50, samples=128)
    smaller = ks.structured.prune(model, flops=0.5, criterion=greedy, data=(x, y))
    ```

    Args:
        epsilon: Stops in each layer where the accuracy is at least `1 - epsilon` times what it
            was before that layer, in the place of a given size.
        num_candidates: Random units that are compared for each pick, such as 50. Defaults to
            all that are left.
        samples: Samples that are drawn anew for each pick. Defaults to all.
        replacement: Whether a unit can be picked again, so that fewer of them stay.
        seed: Of samples and candidates.
        workers: What `keras_sparse.distribute.connect` returns, if several share the candidates.

    Raises:
        ValueError: If an argument is out of range.

    Source: Wolfe (2023), Algorithm 7 and B.3.2; Ye et al. (2020) for random candidates, each
    picked once.
    """

    epsilon: float | None = None
    num_candidates: int | None = None
    samples: int | None = None
    replacement: bool = False
    seed: int | None = 0
    workers: Communicator | None = None

    def __post_init__(self) -> None:
        optional(number, "epsilon", self.epsilon, "[0, inf)")
        optional(integer, "num_candidates", self.num_candidates)
        optional(integer, "samples", self.samples)
        boolean("replacement", self.replacement)
        random_seed("seed", self.seed)
        optional(instance, "workers", self.workers, Communicator, "a Communicator")

    @property
    def finds_sizes(self) -> bool:  # type: ignore[override]
        """Whether it finds how many units a layer needs."""
        return self.epsilon is not None

    def cannot(self, found: ChannelGroups, use: Use) -> str | None:
        """Why the network cannot be cut behind the layer that units enter."""
        inside = [call for call in found.graph.calls if call is use.call]
        if len(found.graph.outputs) != 1:
            return "greedy forward selection takes the loss of a single output"
        if not inside:
            return f"{use.call.name} is inside of another model"
        counts = np.bincount(use.units[use.units >= 0])
        return None if counts.min() == counts.max() else "its units have different sizes"

    def choose(
        self,
        model: keras.Model,
        use: Use,
        size: int | None,
        samples: Samples,
    ) -> Chosen:
        """The units that stay, with gains; see `Layerwise`."""
        if samples.loss is None:
            raise wrong("loss", None, "given for a model that is not compiled")
        hidden = np.concatenate(list(taken(model, use, samples)))
        part = cut(model, use.call.operation, samples.data, batch_size=samples.batch_size)
        drawn = None if self.samples is None else min(self.samples, len(hidden))
        outputs, others, given = hidden, list(part.others), {"rest": part.rest}
        if _one_each(use):
            given["consumer"] = use.layer
        else:
            outputs, more, given["rest"] = _arranged(hidden, use, part.rest)
            others += more
        found = select_channels(
            outputs,
            part.targets,
            size=size,
            others=others,
            epsilon=self.epsilon,
            loss=samples.loss,
            batch_size=drawn,
            replacement=self.replacement,
            num_candidates=self.num_candidates,
            seed=self.seed,
            workers=self.workers,
            **given,
        )
        return Chosen(found.indices, found.gains)


def _one_each(use: Use) -> bool:
    """Whether each channel of a layer that is computed channel by channel is a unit."""
    return (
        Consumer.takes(use.layer)
        and use.axis == -1
        and np.array_equal(use.units, np.arange(len(use.units)))
    )


def _arranged(
    hidden: np.ndarray, use: Use, rest: Callable[..., Any]
) -> tuple[np.ndarray, list[np.ndarray], Callable[..., Any]]:
    """The same with units as the last axis, what is of no unit apart, and what follows of both."""
    last = np.moveaxis(hidden, use.axis, -1)
    order = np.argsort(np.where(use.units < 0, use.units.max() + 1, use.units), kind="stable")
    back = np.argsort(order)
    own = int(np.count_nonzero(use.units >= 0))
    count = int(use.units.max()) + 1
    parted = last[..., order]
    # Sorted by unit: each has so many positions in a row.
    units = np.swapaxes(parted[..., :own].reshape(*last.shape[:-1], count, own // count), -1, -2)
    apart = [parted[..., own:]] if own < len(order) else []

    def follow(x: Any, *others: Any) -> Any:
        given, more = others[: len(others) - len(apart)], others[len(others) - len(apart) :]
        shape = ops.shape(x)[:-2]
        sorted_ = ops.reshape(ops.swapaxes(x, -1, -2), (*shape, own))
        whole = ops.take(ops.concatenate([sorted_, *more], axis=-1), back, axis=-1)
        return rest(use.layer(ops.moveaxis(whole, -1, use.axis)), *given)

    return units, apart, follow
