"""What a sparse training cost and how sparse its model is, epoch by epoch."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from keras_sparse.engine.sparse_optimizer import SparseOptimizer
from keras_sparse.probe.flops import inference_flops, training_flops, weight_uses
from keras_sparse.probe.nonzeros import count_nonzero
from keras_sparse.probe.quantized import count_nonzeros, logical_shape
from keras_sparse.probe.variables import owners
from keras_sparse.sparsity.duration import Run
from keras_sparse.sparsity.recipe import Recipe
from keras_sparse.sparsity.selection import Selection


class Meter:
    """Counts zeros and operations of a model in sparse training.

    Args:
        model: The model.
        selection: What of it is pruned.
        optimizer: Its sparse optimizer, whose `training_cost` goes on counting when a run is
            resumed.
        run: The length of the run.
        recipe: The method's common arguments.
    """

    def __init__(
        self,
        model: keras.Model,
        selection: Selection,
        optimizer: SparseOptimizer,
        run: Run,
        recipe: Recipe,
    ) -> None:
        self.model, self.selection, self.optimizer, self.run = model, selection, optimizer, run
        self.recipe = recipe
        self.sizes = np.array([target.layout.size for target in selection.targets])
        self._empty = np.array([not mask.any() for mask in self.masks()])
        self.sparsity = float("nan")
        self.inference_ratio = float("nan")
        self._mask_change = float("nan")
        self._packed: list[np.ndarray] | None = None
        self._uses = self._find_uses()
        place = {id(variable): i for i, variable in enumerate(model.variables)}
        self._index = [place[id(variable)] for variable in selection.variables(model)]

    def _find_uses(self) -> np.ndarray | None:
        """How often weights are used, `None` if it is not known or nothing is ever used."""
        model, owner = self.model, owners(self.model)
        trained = {id(variable) for variable in model.trainable_variables}
        learns = np.array([id(variable) in trained for variable in model.variables])
        shapes = [logical_shape(owner[id(variable)], variable) for variable in model.variables]
        self._full = np.array([np.prod(shape) for shape in shapes], float)
        self._trained = self._full * learns
        self._kept = self._full.copy()
        for i in np.flatnonzero(~learns):  # what an earlier training pruned stays as it is
            variable = model.variables[i]
            self._kept[i] = count_nonzeros(owner[id(variable)], variable)
        try:
            uses = weight_uses(model)
        except ValueError:
            return None
        return uses if uses @ self._full else None

    def masks(self) -> list[np.ndarray]:
        """The masks in force."""
        return [ops.convert_to_numpy(mask) for mask in self.optimizer.masks]

    def _state(self) -> dict[str, list[np.ndarray]]:
        state = self.optimizer.state
        return {key: [ops.convert_to_numpy(v) for v in state[key]] for key in state}

    def nonzeros(self) -> np.ndarray:
        """Nonzero weights of each target."""
        weights = self.selection.variables(self.model)
        return np.array([count_nonzero(weight) for weight in weights])

    def count(self) -> np.ndarray:
        """Counts the nonzero weights of each target, and with them the sparsity."""
        nonzeros = self.nonzeros()
        self.sparsity = 1 - float(nonzeros.sum() / self.sizes.sum())
        return nonzeros

    def begin(self, epoch: int) -> None:
        """Takes the masks with which a resumed training goes on as those of the epoch before."""
        if epoch and self._packed is None:
            self._packed = [np.packbits(mask) for mask in self.masks()]

    def measure(self) -> None:
        """Measures an epoch at its end and adds its cost."""
        nonzeros = self.count()
        self._check_filled(nonzeros)
        masks = self.masks()
        self.kept = np.array([np.count_nonzero(mask) for mask in masks])
        self._compare(masks)
        if self._uses is None:
            return
        index = self._index
        left, trained = self._kept.copy(), self._trained.copy()
        left[index] = nonzeros
        rule, state = self.optimizer.rule, self._state()
        trained[index] = rule.trained_weights(masks, state)
        dense = inference_flops(self._uses, self._full)
        self.inference_ratio = inference_flops(self._uses, left) / dense
        left[index] = rule.computed_weights(nonzeros.tolist(), masks, state)
        whole = training_flops(self._uses, self._full, self._trained)
        cost = rule.passes * training_flops(self._uses, left, trained) / whole
        total = ops.convert_to_numpy(self.optimizer.training_cost)
        self.optimizer.training_cost.assign(total + np.float32(cost * self.run.steps_per_epoch))

    def _compare(self, masks: list[np.ndarray]) -> None:
        packed = [np.packbits(mask) for mask in masks]
        if self._packed is not None:
            pairs = zip(self._packed, packed, strict=True)
            lost = gained = kept = 0
            for before, after in pairs:
                lost += int(np.unpackbits(before & ~after).sum())
                gained += int(np.unpackbits(after & ~before).sum())
                kept += int(np.unpackbits(before).sum())
            # What only goes, or only comes back, has not changed places.
            self._mask_change = min(lost, gained) / max(kept, 1)
        self._packed = packed

    def logs(self, epoch: int) -> dict[str, float]:
        """Sparsity, change of masks, and operations relative to those of the dense model."""
        spent = float(ops.convert_to_numpy(self.optimizer.training_cost))
        dense = (epoch + 1) * self.run.steps_per_epoch
        return {
            "sparsity": self.sparsity,
            "mask_change": self._mask_change,
            "inference_flops_ratio": self.inference_ratio,
            "train_flops_ratio": float("nan") if self._uses is None else spent / dense,
        }

    def _check_filled(self, nonzeros: np.ndarray) -> None:
        """Speaks of a layer once."""
        kept = np.where(self._empty, self.sizes, nonzeros)
        self._empty |= nonzeros == 0
        self.recipe.check_filled(self.selection, kept)
