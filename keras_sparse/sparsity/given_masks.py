"""Masks that a user gives: by name or in order, of this model or of another like it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_sparse.messages.arguments import wrong
from keras_sparse.messages.names import unknown_name
from keras_sparse.sparsity.selection import Selection, survey


def check_masks(name: str, masks: Any, allowed: str) -> Any:
    """Checks that something can be masks, before a model is known.

    Args:
        name: The argument's name.
        masks: What was given.
        allowed: What it may be.

    Raises:
        ValueError: If it is no mapping or list of boolean arrays.
    """
    if not isinstance(masks, (Mapping, list, tuple)) or not masks:
        raise wrong(name, masks, allowed)
    for each in masks.values() if isinstance(masks, Mapping) else masks:
        if not isinstance(each, (list, tuple)) and not hasattr(each, "shape"):
            raise wrong(name, masks, allowed)
        if not np.isin(np.asarray(each), (0, 1)).all():
            cure = "Of scores or weights make masks first, such as score > threshold."
            raise wrong(name, masks, allowed, cure)
    return masks


def masks_of(
    selection: Selection, masks: Mapping[str, Any] | Sequence[Any], name: str = "masks"
) -> list[np.ndarray]:
    """The masks of what is pruned, in its order; what a mapping leaves out is kept whole.

    Args:
        selection: What is pruned.
        masks: A mapping from layer names or paths of variables, or a list in the order of the
            weights.
        name: The argument's name.

    Raises:
        ValueError: If they are no masks, a name means nothing, or shapes differ.
    """
    check_masks(name, masks, "boolean arrays in a mapping or a list")
    targets = selection.targets
    if isinstance(masks, Mapping):
        by_target: list[Any] = [None] * len(targets)
        for key, mask in masks.items():
            hits = [i for i, target in enumerate(targets) if key in target.names]
            if not hits:
                raise unknown_name(f"layer in {name}", key, [t.path for t in targets])
            for i in hits:
                by_target[i] = mask
        found = [
            np.ones(t.layout.shape, bool) if m is None else m
            for t, m in zip(targets, by_target, strict=True)
        ]
    else:
        found = list(masks)
    shapes = [np.shape(mask) for mask in found]
    wanted = [target.layout.shape for target in targets]
    if shapes != wanted:
        raise ValueError(
            f"{name} must have the shapes of the weights to prune, "
            f"{[(t.path, t.layout.shape) for t in targets]}. Received shapes: {shapes}"
        )
    return [np.asarray(mask, bool) for mask in found]


def transfer_masks(masks: Mapping[str, Any], model: keras.Model) -> dict[str, np.ndarray]:
    """Masks of one model by the paths of another of the same architecture.

    A mask that was found on one data set, or in a model whose layers are named otherwise, goes to
    the kernels of another model in their order. Masks of some kernels only go by their paths.

    ```python
    masks = ks.connection_sensitivity_masks(model, (x, y), sparsity=0.97)
    other = keras.models.clone_model(model)
    other.compile("sgd", model.loss)
    other.fit(x, y, callbacks=[ks.StaticMask(mask=ks.transfer_masks(masks, other))])
    ```

    Args:
        masks: Boolean arrays by the paths of weights, such as those of `SNIP.masks`.
        model: The built model to prune.

    Returns:
        The masks by the paths of the model's weights, as `StaticMask(mask=...)` takes them.

    Raises:
        ValueError: If the model's kernels are not of these shapes, in this order.

    Source: Lee (2020), Section 4.5.2, Table 4.5.
    """
    check_masks("masks", masks, "boolean arrays in a mapping")
    if not isinstance(masks, Mapping):
        raise wrong("masks", masks, "boolean arrays in a mapping")
    targets = survey(model).targets
    paths = [target.path for target in targets]
    if set(masks) <= set(paths):
        chosen = [target for target in targets if target.path in masks]
        given = [masks[target.path] for target in chosen]
    else:
        chosen, given = list(targets), list(masks.values())
    shapes = [np.shape(mask) for mask in given]
    if shapes != [target.layout.shape for target in chosen]:
        raise ValueError(
            f"masks are not those of a model like {model.name!r}, whose kernels are "
            f"{[(t.path, t.layout.shape) for t in targets]}. Received masks of shapes "
            f"{dict(zip(masks, map(np.shape, masks.values()), strict=True))}. Take them from a "
            "model of the same architecture."
        )
    return {target.path: np.asarray(mask, bool) for target, mask in zip(chosen, given, strict=True)}
