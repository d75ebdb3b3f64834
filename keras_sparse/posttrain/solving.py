"""Pruning layer by layer: statistics of each layer's inputs, and one problem after another."""

from __future__ import annotations

import contextlib
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from rich.progress import track

from keras_sparse.messages.warning import SparsityWarning
from keras_sparse.posttrain.layer_inputs import PRODUCTS, SQUARES, Statistic, row_count
from keras_sparse.posttrain.layer_shares import layer_budget
from keras_sparse.posttrain.pruned_weights import PrunedWeights
from keras_sparse.posttrain.recording import called_in_order, summed
from keras_sparse.probe.blocks import blocks
from keras_sparse.probe.calibration import calibration_batches
from keras_sparse.probe.graph_walk import walks

_SEEN = (
    "Dense, EinsumDense (without an axis that inputs, kernel and outputs share) and ungrouped "
    "convolution layers"
)
Solve = Callable[[int, np.ndarray, "np.ndarray | None", int], tuple[np.ndarray, np.ndarray]]


class Solved(NamedTuple):
    """What is to be said once layers are pruned.

    Args:
        unseen: Paths of targets whose inputs cannot be seen.
        few: Targets with fewer rows of inputs than an output has weights, and how many.
    """

    unseen: Sequence[str]
    few: Sequence[str]

    def warn(self, method: str, seen: str = _SEEN) -> None:
        """Warns of these, in the name of a method and of who has called it.

        Args:
            method: Its name.
            seen: The layers whose inputs it sees.
        """
        warn_of_magnitude(self.unseen, method, 5, seen)
        if self.few:
            warnings.warn(
                f"{method} has fewer samples than inputs of {', '.join(self.few)}. Damping decides "
                "where they say nothing. Give more calibration data.",
                SparsityWarning,
                stacklevel=4,
            )


def solve_layers(
    chosen: PrunedWeights,
    data: Any,
    batch_size: int,
    statistic: Statistic,
    solve: Solve,
    *,
    sequential: bool,
    verbose: bool,
) -> Solved:
    """Prunes each layer by itself, for the inputs that it gets.

    How many weights a layer keeps is settled first, by the inputs in the dense model (see
    `layer_budget`). One after another, a block of layers at a time, layers are then solved with
    the statistic of their inputs in the model as far as it is pruned. A block is a layer that
    stands in the model itself, with all that it holds, such as a transformer's. A batch waits
    before the block that is next and does not begin anew for it (see `Walk`), but in a subclassed
    model, which runs for each block, as far as its last call.

    Memory: the statistics of the layers of one block, the inputs of one batch to them, and 1 GiB
    at most of what batches have come to; where that takes more, they wait further back. The weights
    as they were are kept in files until all is done.

    Args:
        chosen: The weights to prune.
        data: Calibration data. See `calibration_batches`.
        batch_size: Samples in a batch, for arrays.
        statistic: What is summed up over the inputs.
        solve: Called as `solve(i, weight, statistic, keep)` for target i, with its weights as
            float64, the sum (`None` where the inputs cannot be seen) and how many weights stay.
            Returns new weights and a boolean mask, both of the weight's shape.
        sequential: False for the inputs in the dense model, all layers in one run.
        verbose: Whether to show progress.

    Raises:
        ValueError: As `calibration_batches` and `layer_budget`, or if nothing is left of a layer
            and the recipe is strict. The model is then as it was.
    """
    batches = [x for x, _ in calibration_batches(chosen.model, data, batch_size, targets=False)]
    layers = statistic.layers(chosen)
    unseen = []
    rows = dict.fromkeys(map(id, chosen.variables), 0)

    def of(layer: keras.layers.Layer, variable: Any, inputs: np.ndarray) -> np.ndarray:
        if statistic is PRODUCTS:
            rows[id(variable)] += row_count(layer, variable, inputs)
        return statistic.of(layer, variable, inputs)

    at_first = SQUARES if sequential else statistic._replace(of=of)
    dense, budget = _and_budget(chosen, at_first, batches)
    chosen.recipe.check_filled(chosen.selection, [int(keep) for keep in budget])
    stages = _stages(chosen, layers, batches[0]) if sequential else [(range(len(layers)), None)]
    ways = walks(chosen.model, batches) if sequential else None
    with _restored_on_failure(chosen) as change:
        for members, calls in track(stages, "layer by layer", disable=not verbose):
            looked_at = [layer if i in members else None for i, layer in enumerate(layers)]
            found = [None] * len(layers) if sequential else dense
            if sequential and any(layer is not None for layer in looked_at):
                found = summed(chosen, looked_at, batches, of, calls, ways)
            for i in members:
                weight = chosen.read_one(i)
                change(i, *solve(i, weight, found[i], int(budget[i])))
                if found[i] is None:
                    unseen.append(chosen.selection.targets[i].path)
    few = [
        f"{target.path} ({rows[id(variable)]} of {size} inputs)"
        for target, variable in zip(chosen.selection.targets, chosen.variables, strict=True)
        if 0 < rows[id(variable)] < (size := target.layout.size // target.layout.matrix_shape[-1])
    ]
    return Solved(unseen, few)


def _and_budget(
    chosen: PrunedWeights, statistic: Statistic, batches: Sequence[Any]
) -> tuple[list[np.ndarray | None], np.ndarray]:
    """A statistic in the dense model and what each layer keeps, by one run of the data."""
    own = {
        id(variable)
        for variable, layer in zip(chosen.variables, statistic.layers(chosen), strict=True)
        if layer is not None
    }

    def either(layer: keras.layers.Layer, variable: Any, inputs: np.ndarray) -> np.ndarray:
        taken = statistic if id(variable) in own else SQUARES
        return taken.of(layer, variable, inputs)

    found: list[np.ndarray | None] = []
    squares = []
    sums = summed(chosen, SQUARES.layers(chosen), batches, either)
    for variable, layout, value in zip(chosen.variables, chosen.layouts, sums, strict=True):
        taken = statistic if id(variable) in own else SQUARES
        squares.append(np.ones(()) if value is None else taken.squares(layout, value))
        found.append(value if taken is statistic else None)
    return found, layer_budget(chosen, squares)


def _stages(
    chosen: PrunedWeights, layers: Sequence[keras.layers.Layer | None], x: Any
) -> list[tuple[Sequence[int], int | None]]:
    """Targets that are solved together, and how often their layers are called on a batch."""
    known = [layer for layer in layers if layer is not None]
    order = called_in_order(chosen.model, known, x)
    block = blocks(chosen.model)
    members: dict[int, list[int]] = {}
    unseen = []
    for i, layer in enumerate(layers):
        if layer is None or id(layer) not in order:
            unseen.append(i)
        else:
            members.setdefault(block[id(layer)], []).append(i)

    def first_call(places: Sequence[int]) -> int:
        return min(order.index(id(layers[i])) for i in places)

    stages: list[tuple[Sequence[int], int | None]] = [(unseen, None)] if unseen else []
    for places in sorted(members.values(), key=first_call):
        stages.append((places, sum(order.count(key) for key in {id(layers[i]) for i in places})))
    return stages


@contextlib.contextmanager
def _restored_on_failure(chosen: PrunedWeights) -> Iterator[Callable[..., None]]:
    """Gives a function that writes a target's values and mask; an error takes all of them back."""
    changed: list[int] = []
    with tempfile.TemporaryDirectory() as folder:

        def file(i: int) -> Path:
            return Path(folder) / f"{i}.npy"

        def change(i: int, values: np.ndarray, mask: np.ndarray) -> None:
            np.save(file(i), np.asarray(keras.ops.convert_to_numpy(chosen.variables[i]), float))
            changed.append(i)
            chosen.write_one(i, values, mask)

        try:
            yield change
        except BaseException:
            for i in changed:
                before = np.load(file(i))
                chosen.write_one(i, before, np.ones(before.shape, bool))
            raise


def warn_of_magnitude(
    paths: Sequence[str],
    method: str,
    stacklevel: int,
    seen: str = _SEEN,
) -> None:
    """Names the weights that are pruned by magnitude because their inputs cannot be seen."""
    if paths:
        warnings.warn(
            f"{method} sees the inputs of {seen} only. Pruned by magnitude instead: "
            f"{', '.join(paths)}. To leave them dense, name them in exclude.",
            SparsityWarning,
            stacklevel=stacklevel,
        )
