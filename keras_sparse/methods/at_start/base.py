"""The base class of callbacks that score weights once, before the first step."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from typing_extensions import Unpack

from keras_sparse.backend.replicas import strategy_scope
from keras_sparse.engine.callback import SparseCallback
from keras_sparse.engine.rule import Rule
from keras_sparse.messages.arguments import is_number, wrong
from keras_sparse.signal_propagation.enforcing import enforced
from keras_sparse.signal_propagation.isometry import isometry_settings
from keras_sparse.sparsity.duration import Run
from keras_sparse.sparsity.granularity import NM, Granularity
from keras_sparse.sparsity.recipe import CommonArguments, Recipe
from keras_sparse.sparsity.selection import Selection, Target


class InitialMasks(SparseCallback):
    """Base class: masks that are chosen before the first step and never change.

    A method implements `choose`, which the engine leaves out when a training is resumed.

    Args:
        sparsity: Fraction of weights to remove, in [0, 1).
        reinitialize: A Keras initializer or its name, which draws the pruned layers' kernels
            anew once the masks are chosen. Defaults to keeping the weights.
        isometry: Whether to make the pruned kernels as orthogonal as their masks allow, once the
            masks are chosen: `True`, or a mapping of arguments of `enforce_isometry`.
        **kwargs: Common arguments: see `SparseCallback`.

    Raises:
        ValueError: For arguments out of range, or isometry together with a reinitialization.
    """

    def __init__(
        self,
        sparsity: float | None = None,
        *,
        reinitialize: Any = None,
        isometry: Any = False,
        **kwargs: Unpack[CommonArguments],
    ) -> None:
        super().__init__(sparsity, **kwargs)
        self.reinitialize = checked_initializer("reinitialize", reinitialize)
        self.isometry = isometry_settings("isometry", isometry)
        if self.isometry is not None and self.reinitialize is not None:
            raise ValueError(
                "isometry changes the weights that the masks were chosen for, and reinitialize "
                f"draws others. Received: isometry={isometry}, reinitialize={reinitialize}. Leave "
                "one of the two out, or start from orthogonal weights with keras_sparse.init_ldi."
            )
        self._last_masks: dict[str, np.ndarray] | None = None

    @property
    def masks(self) -> dict[str, np.ndarray]:
        """The masks by the paths of the weights, as `StaticMask(mask=...)` takes them.

        Raises:
            AttributeError: If no training with this callback has begun.
        """
        if self.optimizer is not None:
            return masks_by_path(self.selection.targets, self.optimizer.masks)
        if self._last_masks is None:
            raise AttributeError(
                f"{type(self).__name__} has no masks before its training has begun."
            )
        return self._last_masks

    def make_rule(self, run: Run, selection: Selection, final: np.ndarray) -> Rule:
        """A rule that keeps its masks."""
        return Rule()

    def choose(self, selection: Selection, weights: list[Any]) -> list[Any]:
        """The masks, boolean tensors of the weights' shapes.

        Args:
            selection: What is pruned.
            weights: Its variables, which must be as they were afterwards.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement choose")

    def first_masks(self, selection: Selection, weights: list[Any]) -> list[Any]:
        """The masks; then the weights are drawn anew or made isometric, if asked."""
        masks = self.choose(selection, weights)
        if self.reinitialize is not None:
            draw(self.model, weights, self.reinitialize, self.seed)
        if self.isometry is not None:
            shown = bool((self.params or {}).get("verbose", 0))
            enforced(self.model, masks_by_path(selection.targets, masks), self.isometry, shown)
        return masks

    def uninstall(self) -> None:
        """Gives the model its own optimizer back, and remembers the masks."""
        if self.optimizer is not None:
            self._last_masks = self.masks
        super().uninstall()


def masks_by_path(targets: Sequence[Target], masks: Sequence[Any]) -> dict[str, np.ndarray]:
    """Boolean arrays by the paths of the weights."""
    return {
        target.path: np.array(ops.convert_to_numpy(mask), bool)
        for target, mask in zip(targets, masks, strict=True)
    }


def checked_initializer(argument: str, initializer: Any) -> Any:
    """A Keras initializer from its name or itself; `None` stays.

    Raises:
        ValueError: If it is none.
    """
    allowed = "a Keras initializer or its name, such as 'he_normal'"
    if not (initializer is None or isinstance(initializer, (str, dict)) or callable(initializer)):
        raise wrong(argument, initializer, allowed)  # Keras makes constants of numbers.
    try:
        return None if initializer is None else keras.initializers.get(initializer)
    except (ValueError, TypeError) as error:
        raise wrong(argument, initializer, allowed) from error


def draw(model: keras.Model, weights: Sequence[Any], initializer: Any, seed: int | None) -> None:
    """Draws weights from an initializer, each by a seed of its own.

    Args:
        model: The model that owns them.
        weights: Variables to assign to.
        initializer: A Keras initializer. Its own seed is replaced: an initializer draws the same
            values each time, and layers of one shape would come out equal.
        seed: Seed of the seeds. Defaults to Python's, which `keras.utils.set_random_seed` sets.
    """
    seeds: Any = random if seed is None else random.Random(seed)
    with strategy_scope(model):
        for weight in weights:
            own = initializer
            if hasattr(initializer, "get_config"):
                config = initializer.get_config()
                if "seed" in config:
                    config["seed"] = seeds.randrange(2**31)
                own = type(initializer).from_config(config)
            weight.assign(own(tuple(weight.shape), dtype=weight.dtype))


def check_min_per_layer(min_per_layer: float) -> None:
    """Checks `min_per_layer`: a number of units, or a fraction below 1 of a layer's.

    Raises:
        ValueError: If it is neither.
    """
    numeric = is_number(min_per_layer) and min_per_layer >= 0
    if not numeric or not (min_per_layer < 1 or float(min_per_layer).is_integer()):
        allowed = "a number of weights (blocks, channels) or a fraction below 1 of a layer's"
        raise wrong("min_per_layer", min_per_layer, allowed)


def masks_from_scores(
    recipe: Recipe, selection: Selection, scores: Sequence[np.ndarray], min_per_layer: float = 0
) -> list[Any]:
    """Masks that keep the highest scores, and of each layer at least so many.

    Args:
        recipe: What is pruned and how much.
        selection: The tensors to prune.
        scores: Arrays of their shapes, at most 1 in absolute value.
        min_per_layer: Units that each tensor keeps, or a fraction of them; they count towards
            what is kept. An n:m pattern keeps its n anyway.

    Raises:
        ValueError: If the layers' shares alone are more than may be kept.
    """
    if min_per_layer and not isinstance(recipe.granularity, NM):
        first = [
            _best(recipe.granularity, target, score, min_per_layer)
            for target, score in zip(selection.targets, scores, strict=True)
        ]
        reserved = sum(int(mask.sum()) for mask in first)
        allowed = int(recipe.budget(selection).sum())
        if reserved > allowed:
            raise ValueError(
                f"min_per_layer={min_per_layer} reserves {reserved:,} weights, and the sparsity "
                f"leaves {allowed:,}. Lower one of the two."
            )
        # Above every other score, whatever that is.
        scores = [
            np.where(mask, score + 4, score) for mask, score in zip(first, scores, strict=True)
        ]
    return recipe.masks(selection, [ops.convert_to_tensor(s, "float32") for s in scores])


def _best(granularity: Granularity, target: Target, score: np.ndarray, count: float) -> np.ndarray:
    pooled = ops.convert_to_numpy(granularity.pool(ops.convert_to_tensor(score), target.layout))
    units = min(int(np.ceil(count * pooled.size)) if count < 1 else int(count), pooled.size)
    chosen = np.zeros(pooled.size, bool)
    chosen[np.argsort(-pooled, kind="stable")[:units]] = True
    return ops.convert_to_numpy(granularity.expand(ops.convert_to_tensor(chosen), target.layout))
