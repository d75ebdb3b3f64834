"""Pruning one layer after the other, each on what the network pruned so far makes of samples."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_sparse.messages.arguments import (
    function,
    integer,
    is_number,
    number,
    optional,
    sample_shape,
    wrong,
)
from keras_sparse.messages.names import unknown_name
from keras_sparse.probe.calibration import check_data
from keras_sparse.sparsity.selection import Which, check_layers
from keras_sparse.structured.coupling.groups import ChannelGroups, by_name, channel_groups
from keras_sparse.structured.layerwise.method import Chosen, use_by, uses
from keras_sparse.structured.layerwise.methods import LAYERWISE, layerwise_method
from keras_sparse.structured.layerwise.uses import Use
from keras_sparse.structured.selecting import Bounds, Ladder
from keras_sparse.structured.shrink import build
from keras_sparse.structured.targets import Measure, Target, check_target, fitting, read_target
from keras_sparse.structured.training import Samples, fine_tuned, loss_of


@dataclasses.dataclass(frozen=True, eq=False)
class LayerwisePruning:
    """A network that was pruned layer by layer.

    Args:
        model: The smaller model, not compiled.
        kept: The units that stayed, by the names of groups, in the order in which they were
            chosen.
        gains: What the outputs of each of these are multiplied with, which is in the kernel that
            takes them; of greedy forward selection alone.
        skipped: Why the other groups are as they were, by their names.
    """

    model: keras.Model
    kept: dict[str, np.ndarray]
    gains: dict[str, np.ndarray]
    skipped: dict[str, str]


def prune_layerwise(
    model: keras.Model,
    data: Any,
    method: Any = "i_spasp",
    *,
    keep: Mapping[str, float | int] | float | None = None,
    flops: float | None = None,
    params: float | None = None,
    latency: float | None = None,
    loss: Any = None,
    batch_size: int = 128,
    exclude: Which = (),
    min_channels: int = 1,
    max_removed: float = 0.9,
    round_to: int = 1,
    fine_tune: Callable[[keras.Model], Any] | None = None,
    input_shape: Any = None,
) -> LayerwisePruning:
    """Prunes a network one layer after the other, from its input to its output.

    Units of each layer are chosen by what the network, as it is pruned so far, makes of samples.
    How many stay is the same part of every layer, or what `keep` says. Groups that the method
    does not define stay as they are, with the reason.

    ```python
    done = ks.structured.prune_layerwise(model, x_train[:1280], "i_spasp", flops=0.5)
    done.model.summary()
    print(done.skipped)
    ```

    Args:
        model: A built functional or Sequential model. It is not changed.
        data: Samples, with targets for greedy forward selection: arrays or batches.
        method: `"i_spasp"`, `"greedy"`, or an `ISpaSP` or `GreedyForwardSelection` with arguments.
        keep: What stays of each group by name (see `report`), or one part of all: a part in (0, 1)
            is rounded down, of heads to the nearest; or a number of units. Groups that are not
            named stay whole. Give it or one of `flops`, `params` and `latency`, unless the method
            finds how many units a layer needs.
        flops: See `prune`.
        params: See `prune`.
        latency: See `prune`.
        loss: For greedy forward selection. Defaults to the one that the model is compiled with.
        batch_size: Samples that run at a time.
        exclude: See `prune`.
        min_channels: See `prune`.
        max_removed: See `prune`.
        round_to: See `prune`.
        fine_tune: Called with the smaller model after each layer; trains it in place, or returns
            another one of the same layers.
        input_shape: See `prune`.

    Returns:
        A `LayerwisePruning`.

    Raises:
        ValueError: For arguments out of range, a model without a graph, a group that cannot be
            pruned so, nothing to remove, or a target that cannot be met.

    Source: Wolfe (2023), 4.4.1 and Algorithm 7.
    """
    chosen = layerwise_method(method)
    if chosen is None:
        raise wrong("method", method, f"one of {', '.join(map(repr, LAYERWISE))}, or one of theirs")
    check_data(data)
    exclude = by_name(check_layers("exclude", exclude))
    sample_shape("input_shape", input_shape)
    integer("batch_size", batch_size)
    optional(function, "fine_tune", fine_tune)
    targets = {"flops": flops, "params": params, "latency": latency}
    given = [name for name, value in {"keep": keep, **targets}.items() if value is not None]
    if len(given) != int(not chosen.finds_sizes):
        allowed = "none of keep, flops, params and latency" if chosen.finds_sizes else "one of them"
        raise ValueError(
            f"How much stays is given by keep=, flops=, params= or latency=; {allowed} is to be "
            f"given for this method. Received: {', '.join(given) or 'none'}"
        )
    found = channel_groups(model, exclude)
    places = uses(found, chosen)
    skipped = {name: each for name, each in places.items() if isinstance(each, str)}
    names = [name for name in places if name not in skipped]
    if not names:
        listed = "\n".join(f"  {name}: {why}" for name, why in list(skipped.items())[:20])
        raise ValueError(f"No units of this model can be chosen layer by layer:\n{listed}")
    bounds = Bounds.of(found.groups, min_channels, max_removed, round_to)
    sizes: dict[str, int | None] = dict.fromkeys(names)
    if keep is not None:
        sizes = dict(_sizes(found, places, keep))
    elif given:
        sizes = dict(_fitting(model, found, names, read_target(**targets), bounds, input_shape))
    samples = Samples(data, loss_of(model, loss), batch_size)
    kept, gains = {}, {}
    for name, size in sizes.items():
        found = channel_groups(model, exclude)
        use = use_by(found, next(g for g in found.groups if g.name == name), chosen)
        if isinstance(use, str):
            raise ValueError(f"Group {name!r} cannot be pruned after those before it: {use}")
        if size is not None and size >= use.size:
            continue
        made = chosen.choose(model, use, size, samples)
        kept[name] = made.indices
        if made.gains is not None:
            gains[name] = made.gains
        model = fine_tuned(_without(found, name, use, made), fine_tune)
    return LayerwisePruning(model, kept, gains, skipped)


def _sizes(found: ChannelGroups, places: Mapping[str, Use | str], keep: Any) -> dict[str, int]:
    """How many units of each group stay, in the order of the model."""
    if not isinstance(keep, Mapping):
        number("keep", keep, "(0, 1)", "Give a mapping of groups for numbers of units.")
        keep = {name: keep for name, use in places.items() if isinstance(use, Use)}
    by_size = {}
    for name, part in keep.items():
        if name not in places:
            raise unknown_name("group in keep", name, places)
        use = places[name]
        if isinstance(use, str):
            raise ValueError(f"Group {name!r} in keep cannot be pruned layer by layer: {use}")
        argument = f"keep[{name!r}]"
        if is_number(part) and 0 < part < 1:
            exact = part * use.size
            by_size[name] = max(1, round(exact) if use.heads else int(exact + 1e-9))
        else:
            by_size[name] = integer(argument, part, 1, use.size, "A part is in (0, 1).")
    return {group.name: by_size[group.name] for group in found.groups if group.name in by_size}


def _fitting(
    model: keras.Model,
    found: ChannelGroups,
    names: list[str],
    target: Target,
    bounds: Bounds,
    input_shape: Any,
) -> dict[str, int]:
    """How many units of each group stay, as many of each as there may be."""
    groups = [group for group in found.groups if group.name in names]
    measure = Measure(target.kind, model, found, input_shape)
    whole = measure.whole()
    check_target(target, whole)
    alike = {group.name: np.zeros(group.size) for group in groups}
    ladder = Ladder(groups, alike, "group", bounds)
    keep = fitting(ladder, measure, target, target.amount(whole))
    return {group.name: int(keep[group.name].sum()) for group in groups}


def _without(found: ChannelGroups, name: str, use: Use, made: Chosen) -> keras.Model:
    """The model with the units that stay, whose gains are in the kernel that takes them."""
    keep = found.checked({name: made.indices})
    small = build(found, keep, masked=False)
    if made.gains is None:
        return small
    gains = np.ones(use.size + 1)  # The last one is of positions that are of no unit.
    gains[made.indices] = made.gains
    positions = found.kept(keep).along(use.variable, use.along)
    factor = gains[use.kernel_units if positions is None else use.kernel_units[positions]]
    variables = found.graph.model.variables
    index = next(i for i, each in enumerate(variables) if each is use.variable)
    kernel = small.variables[index]
    shape = [1] * len(kernel.shape)
    shape[use.along] = len(factor)
    kernel.assign(ops.convert_to_numpy(kernel) * factor.reshape(shape))
    return small
