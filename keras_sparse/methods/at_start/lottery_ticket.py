"""Iterative magnitude pruning with rewinding: the search for lottery tickets."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops
from typing_extensions import Unpack

from keras_sparse.backend.training_state import fetch_state
from keras_sparse.messages.arguments import instance, integer, number, wrong
from keras_sparse.messages.keywords import known_keywords
from keras_sparse.methods.at_start.base import masks_by_path
from keras_sparse.methods.at_start.static_mask import StaticMask
from keras_sparse.probe.snapshot import Snapshot
from keras_sparse.probe.variables import check_built
from keras_sparse.sparsity.masks import prune_further
from keras_sparse.sparsity.recipe import Recipe, RecipeArguments


@dataclasses.dataclass(frozen=True)
class LotteryTicket:
    """What iterative magnitude pruning found.

    Args:
        masks: The last round's masks, boolean arrays by the paths of the weights, as
            `StaticMask(mask=...)` takes them.
        rounds: Masks that each training was done with, the dense one's first.
        sparsities: Fraction of zeros in each of `rounds`.
        histories: What each `fit` logged.
    """

    masks: Mapping[str, np.ndarray] = dataclasses.field(repr=False)
    rounds: tuple[Mapping[str, np.ndarray], ...] = dataclasses.field(repr=False)
    sparsities: tuple[float, ...]
    histories: tuple[Mapping[str, list[float]], ...] = dataclasses.field(repr=False)


@known_keywords(RecipeArguments)
def iterative_magnitude_pruning(
    model: keras.Model,
    sparsity: float | None,
    fit: Mapping[str, Any],
    *,
    rate: float = 0.2,
    rewind_to: str | int = "init",
    **kwargs: Unpack[RecipeArguments],
) -> LotteryTicket:
    """Trains, prunes the smallest of the surviving weights, rewinds them, and so on.

    The first training is dense. After it and each further one a fraction `rate` of the survivors
    is pruned (the last time what the sparsity asks for), the model goes back to where `rewind_to`
    says, and is trained again with the new masks: survivors, biases, normalization with its
    moving statistics, and the optimizer get their former values bit by bit. In the end the model
    is trained at the sparsity asked for.

    ```python
    ticket = ks.iterative_magnitude_pruning(
        model, 0.9, {"x": x_train, "y": y_train, "epochs": 10, "validation_data": test}
    )
    print(ticket.sparsities, ticket.histories[-1]["val_accuracy"][-1])
    ```

    Args:
        model: A built and compiled Keras model.
        sparsity: Fraction of weights to remove in the end, in [0, 1).
        fit: Arguments of `model.fit`, for each training.
        rate: Fraction of the surviving weights that each round removes, in (0, 1).
        rewind_to: `"init"` (the lottery ticket's start), an epoch `k` of the dense training,
            after which later trainings go on (weight rewinding), or `"lr"` (weights stay, the
            optimizer and with it the learning rate start again: learning-rate rewinding).
        **kwargs: `granularity`, `allocation`, `exclude`, `include`, `keep_dense`, `strict`: see
            `SparseCallback`.

    Returns:
        The `LotteryTicket`.

    Raises:
        ValueError: For arguments out of range, a model that is not compiled, or one with nothing
            to prune.

    Source: Frankle and Carbin (2019); Frankle et al. (2020); Renda et al. (2020).
    """
    _check(model, fit, rate, rewind_to)
    recipe = Recipe(sparsity, **kwargs)
    selection = recipe.select(model)
    layouts = selection.layouts
    budgets = recipe.budgets(selection, _sparsities(recipe.final(selection), rate))
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    start = rewind_to if isinstance(rewind_to, int) else 0
    own_callbacks = keras.tree.flatten(fit.get("callbacks") or [])
    state = model.optimizer.variables + ([] if rewind_to == "lr" else model.variables)
    rewinding = _Rewinding(start, Snapshot(model, state), state)
    masks: list[Any] = [np.ones(layout.shape, bool) for layout in layouts]
    rounds: list[dict[str, np.ndarray]] = []
    histories = []
    for i in range(len(budgets) + 1):
        extra: list[Any] = [rewinding]
        if i:
            tensors = [ops.convert_to_tensor(w) for w in selection.variables(model)]
            masks = prune_further(
                tensors, masks, layouts, budgets[i - 1], recipe.granularity, recipe.joint
            )
            rewinding.snapshot.restore()
            extra = [StaticMask(mask=[ops.convert_to_numpy(m) for m in masks], **_which(kwargs))]
        rounds.append(masks_by_path(selection.targets, masks))
        arguments = {**fit, "callbacks": own_callbacks + extra, "initial_epoch": start if i else 0}
        histories.append(model.fit(**arguments).history)
    return LotteryTicket(
        rounds[-1],
        tuple(rounds),
        tuple(1 - sum(int(m.sum()) for m in r.values()) / selection.size for r in rounds),
        tuple(histories),
    )


class _Rewinding(keras.callbacks.Callback):
    """Takes the snapshot to rewind to, at the end of an epoch of the dense training."""

    def __init__(self, epochs: int, snapshot: Snapshot, variables: list[Any]) -> None:
        super().__init__()
        self.epochs, self.snapshot, self.variables = epochs, snapshot, variables

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if epoch + 1 == self.epochs:
            fetch_state(self.model)
            self.snapshot = Snapshot(self.model, self.variables)


def _sparsities(final: np.ndarray, rate: float) -> np.ndarray:
    """Sparsity after each round, shape `(rounds,)` or `(rounds, targets)`."""
    # A density of exactly a power of 1 - rate is not to need a round more for a rounding error.
    count = math.ceil(math.log(1 - float(np.max(final))) / math.log(1 - rate) - 1e-9)
    after = 1 - (1 - rate) ** np.arange(1.0, count + 1).reshape(-1, *[1] * final.ndim)
    sparsities = np.minimum(after, final)
    sparsities[count - 1 :] = final
    return sparsities


def _which(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Of the common arguments those that training with given masks takes."""
    return {k: v for k, v in kwargs.items() if k in ("exclude", "include", "keep_dense", "strict")}


def _check(model: keras.Model, fit: Mapping[str, Any], rate: float, rewind_to: str | int) -> None:
    check_built(model)
    instance("fit", fit, Mapping, "a mapping of arguments of model.fit")
    if "initial_epoch" in fit:
        raise ValueError("fit must not have initial_epoch: each training begins where it rewinds.")
    epochs = integer("epochs", fit.get("epochs", 1))
    number("rate", rate, "(0, 1)")
    if rewind_to not in ("init", "lr"):
        allowed = "'init', 'lr' or an epoch before the last of fit's"
        try:
            integer("rewind_to", rewind_to, 0, epochs - 1)
        except ValueError as error:
            raise wrong("rewind_to", rewind_to, f"{allowed} epochs={epochs}") from error
    if getattr(model, "optimizer", None) is None:
        raise ValueError(f"Model {model.name!r} must be compiled to be trained.")
