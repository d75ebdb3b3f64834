"""Pruning a model to a target: the least important channels, neurons and heads are removed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from keras_sparse.messages.arguments import (
    function,
    integer,
    one_of,
    optional,
    random_seed,
    sample_shape,
)
from keras_sparse.probe.calibration import check_data
from keras_sparse.sparsity.selection import Which, check_layers
from keras_sparse.structured.coupling.groups import ChannelGroups, Group, by_name, channel_groups
from keras_sparse.structured.criteria import Criterion, check_criterion, scores
from keras_sparse.structured.layerwise.method import Layerwise
from keras_sparse.structured.layerwise.methods import layerwise_method
from keras_sparse.structured.layerwise.prune_layerwise import prune_layerwise
from keras_sparse.structured.selecting import SCOPES, Bounds, Ladder
from keras_sparse.structured.shrink import build
from keras_sparse.structured.targets import Measure, check_target, fitting, read_target
from keras_sparse.structured.training import Samples, fine_tuned, loss_of


def prune(
    model: keras.Model,
    *,
    flops: float | None = None,
    params: float | None = None,
    latency: float | None = None,
    criterion: Criterion = "l1",
    scope: str = "global",
    data: Any = None,
    loss: Any = None,
    batch_size: int = 128,
    exclude: Which = (),
    min_channels: int = 1,
    max_removed: float = 0.9,
    round_to: int = 1,
    steps: int = 1,
    fine_tune: Callable[[keras.Model], Any] | None = None,
    input_shape: Any = None,
    seed: int | None = None,
) -> keras.Model:
    """Removes the least important channels, neurons and heads, and builds the smaller model.

    The result is a plain Keras model, which is smaller and faster everywhere; it is not compiled.
    The given model stays as it is.

    ```python
    smaller = ks.structured.prune(model, flops=0.5)
    smaller.compile("adam", "sparse_categorical_crossentropy")
    smaller.fit(x, y, epochs=5)
    ```

    Args:
        model: A built functional or Sequential model.
        flops: Operations of an inference to keep: a part of those of the given model, in (0, 1),
            or a number of them, which stays the same however often a model is pruned.
        params: The same for parameters. Give one of `flops`, `params` and `latency`.
        latency: The part of the given model's time to keep, in (0, 1), as measured with LiteRT
            on this machine at batch size 1.
        criterion: What is important: `"l1"`, `"l2"`, `"taylor"` (needs `data`), `"bn_scale"`,
            `"fpgm"`, `"lamp"`, `"random"`, `"uniform"`, or a function that takes a group and
            returns a score for each of its units. Or a method that goes from layer to layer:
            `"i_spasp"` or `"greedy"`, or an `ISpaSP` or `GreedyForwardSelection` with arguments
            (both need `data`). These remove the same part of each group that they define; see
            `prune_layerwise`, which also takes other parts.
        scope: `"global"` to remove the units of the smallest scores anywhere, `"group"` to remove
            the same part of each group.
        data: Samples, as arrays or batches; with targets for `"taylor"` and `"greedy"`.
        loss: A loss for `"taylor"` and `"greedy"`. Defaults to the one that the model is compiled
            with.
        batch_size: Samples in a batch of `data`, if that is arrays.
        exclude: Layers, layer names, variable paths or globs, or a predicate
            `f(layer, variable) -> bool`, of what keeps its size.
        min_channels: Units that stay in every group.
        max_removed: The largest part of a group that is removed, in (0, 1], relative to the given
            model also after several steps.
        round_to: What the number of units in a group is a multiple of, as far as they go.
        steps: In how many steps to remove them, each the same part of what is left.
        fine_tune: Called with the smaller model after each step, or each layer where a method goes
            from layer to layer; trains it in place, or returns another one of the same layers.
        input_shape: Shape of one sample, for a model that leaves it open.
        seed: Seed of `"random"`.

    Returns:
        A new model.

    Raises:
        ValueError: For arguments out of range, a model without a graph, nothing to remove, or a
            target that cannot be met.

    Source: Fang et al. (2023), DepGraph; the criteria name theirs in `criteria.py`.
    """
    one_of("scope", scope, SCOPES)
    targets = {"flops": flops, "params": params, "latency": latency}
    method = layerwise_method(criterion)
    check_criterion(criterion, data)
    if method is not None or isinstance(criterion, Layerwise):
        integer("steps", steps, 1, 1, f"{type(method).__name__} goes from layer to layer.")
        return prune_layerwise(
            model,
            data,
            method,
            **targets,
            loss=loss,
            batch_size=batch_size,
            exclude=exclude,
            min_channels=min_channels,
            max_removed=max_removed,
            round_to=round_to,
            fine_tune=fine_tune,
            input_shape=input_shape,
        ).model
    target = read_target(**targets)
    if data is not None:
        check_data(data)
    exclude = by_name(check_layers("exclude", exclude))
    sample_shape("input_shape", input_shape)
    integer("batch_size", batch_size)
    integer("steps", steps)
    optional(function, "fine_tune", fine_tune)
    samples = Samples(data, loss_of(model, loss), batch_size, random_seed("seed", seed))
    found = channel_groups(model, exclude)
    first = Measure(target.kind, model, found, input_shape)
    whole = first.whole()
    check_target(target, whole)
    bounds = Bounds.of(found.groups, min_channels, max_removed, round_to)
    for step in range(1, steps + 1):
        goal = whole * (target.amount(whole) / whole) ** (step / steps)
        found = channel_groups(model, exclude)
        measure = Measure(target.kind, model, found, input_shape, first.latency)
        groups = _removable(found)
        ladder = Ladder(groups, scores(criterion, model, groups, samples), scope, bounds)
        model = build(found, fitting(ladder, measure, target, goal), masked=False)
        model = fine_tuned(model, fine_tune)
    return model


def _removable(found: ChannelGroups) -> list[Group]:
    """The groups of which something can go.

    Raises:
        ValueError: If there is none, with the reasons.
    """
    groups = [group for group in found.groups if group.reason is None]
    if not groups:
        reasons = [f"  {group.name}: {group.reason}" for group in found.groups[:20]]
        reasons += [f"  {why}" for why in found.channels.opaque.values()]
        raise ValueError("Nothing of this model can be removed:\n" + "\n".join(reasons))
    return groups
