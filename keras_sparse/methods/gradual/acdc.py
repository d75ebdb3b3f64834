"""AC/DC: alternating compressed / decompressed training."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_sparse.engine import installation
from keras_sparse.engine.buffers import RESETS, resolve_reset
from keras_sparse.engine.callback import SparseCallback
from keras_sparse.engine.rule import Rule
from keras_sparse.engine.rules.scheduled_masks import ScheduledMasks
from keras_sparse.messages.names import unknown_name
from keras_sparse.methods.gradual.acdc_schedule import default_schedule, read_schedule, switches
from keras_sparse.sparsity.duration import Run
from keras_sparse.sparsity.masks import mask_change
from keras_sparse.sparsity.selection import Selection


class ACDC(SparseCallback):
    """Alternates dense and sparse phases, and ends with a sparse model.

    In a compressed phase only the largest weights are kept and trained; the mask is chosen anew
    at each phase's beginning. In a decompressed phase all weights are trained, those that were
    pruned starting from zero. One `fit` gives a sparse model and, at the end of the last
    decompressed phase, a dense one that a short fine-tuning makes as good as dense training
    (`dense_checkpoint` and `finetune_dense`). The learning-rate schedule is that of dense
    training and is never restarted.

    ```python
    model.fit(x, y, epochs=50, validation_data=val, callbacks=[ks.ACDC(sparsity=0.9)])
    ```

    Besides the logs of every sparse training it adds `acdc_phase` (1 in a compressed epoch, 0 in
    a decompressed one), `acdc_mask_change` (fraction of the kept weights that the latest mask
    swapped), `acdc_dense_zero_fraction` (zeros in the latest decompressed epoch: dead weights)
    and, for each `val_*` metric, `acdc_sparse_val_*`, which in decompressed epochs is infinitely
    bad (infinity for a loss or error, minus infinity for all else): monitor that one in
    `ModelCheckpoint` and `EarlyStopping`, lest they choose a dense epoch. After a resumed
    training, what compares with a mask from before the interruption is NaN until the next phase.

    Args:
        sparsity: Fraction of weights to remove, in [0, 1). Left out with
            `granularity=NM(n, m)`, which fixes it, or with a mapping as `allocation`.
        schedule: Phases, one letter an epoch, `"D"` or `"C"`, as a string or list; see
            `acdc_schedule`. Defaults to the source's recipe (warm-up 10, phases of 5, last
            phases 10 and 15 per 100 epochs) scaled to the epochs of the `fit`.
        reset_optimizer_state: What is set to zero when a decompressed phase begins:
            `"momentum"`, `"all"` moments, `"none"`, or `"auto"`: momentum for SGD, nothing for
            adaptive optimizers.
        dense_checkpoint: Path ending in `.weights.h5` to which the dense model and its optimizer
            are saved at the end of the last decompressed phase. Defaults to no checkpoint.
        **kwargs: `granularity`, `allocation`, `exclude`, `include`, `keep_dense`, `strict`, `seed`:
            see `SparseCallback`. The source's "global*" is `keep_dense=("first", "last")`, its
            "uniform*" the same with `allocation="uniform"`.

    Raises:
        ValueError: At construction for arguments out of range or a schedule that does not end
            compressed; before the first step for a schedule of another length than the `fit`.

    Source: Peste (2023), chapter 3, Algorithm 1 and 3.3.2.
    """

    command = "acdc"

    def __init__(
        self,
        sparsity: float | None = None,
        schedule: str | Sequence[str] | None = None,
        reset_optimizer_state: str = "auto",
        dense_checkpoint: str | os.PathLike[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(sparsity, **kwargs)
        if reset_optimizer_state not in RESETS:
            raise unknown_name("reset_optimizer_state", reset_optimizer_state, RESETS)
        self.schedule = None if schedule is None else read_schedule(schedule)
        self.reset_optimizer_state = reset_optimizer_state
        self.dense_checkpoint = installation.check_weights_path(
            "dense_checkpoint", dense_checkpoint
        )
        self._last_mask: tuple[int, list[np.ndarray]] | None = None
        self._mask_change = self._dense_zeros = float("nan")

    def make_rule(self, run: Run, selection: Selection, final: np.ndarray) -> Rule:
        """Top-K masks where compressed phases begin, full ones where they end."""
        self.phases = default_schedule(run.epochs) if self.schedule is None else self.schedule
        if len(self.phases) != run.epochs:
            raise ValueError(
                f"schedule has {len(self.phases)} epochs and fit(epochs={run.epochs}). "
                "Give a schedule of the same length, or none."
            )
        epochs = switches(self.phases)
        compressed = np.array([False] + [self.phases[e] == "C" for e in epochs])
        sparsities = np.multiply.outer(compressed, final)
        return ScheduledMasks(
            [epoch * run.steps_per_epoch for epoch in epochs],
            self.recipe.budgets(selection, sparsities),
            self.recipe.granularity,
            self.recipe.joint,
            resets=~compressed[1:] & np.any(final > 0),
            reset_buffers=resolve_reset(
                self.reset_optimizer_state, installation.own_optimizer(self.model)
            ),
        )

    @property
    def dense_epochs(self) -> int:
        """Epochs up to the end of the last decompressed phase."""
        return len(self.phases.rstrip("C"))

    def epoch_logs(self, epoch: int, logs: dict[str, float]) -> dict[str, float]:
        """Phase, mask change, dead weights, and validation metrics of sparse epochs."""
        compressed = self.phases[epoch] == "C"
        if compressed:
            self._compare_masks(epoch)
        else:
            self._dense_zeros = logs["sparsity"]
        own = {
            "acdc_phase": float(compressed),
            "acdc_mask_change": self._mask_change,
            "acdc_dense_zero_fraction": self._dense_zeros,
        }
        for name in [name for name in logs if name.startswith("val_")]:
            own[f"acdc_sparse_{name}"] = logs[name] if compressed else _worst(name)
        if epoch + 1 == self.dense_epochs and self.dense_checkpoint is not None:
            installation.save_plain_weights(self.model, self.dense_checkpoint)
        return own

    def _compare_masks(self, epoch: int) -> None:
        begin = len(self.phases[:epoch].rstrip("C"))
        if self._last_mask is None or self._last_mask[0] != begin:
            packed = [np.packbits(mask) for mask in self.meter.masks()]
            if self._last_mask is not None:
                before, after = (
                    [np.unpackbits(m).astype(bool) for m in masks]
                    for masks in (self._last_mask[1], packed)
                )
                self._mask_change = mask_change(before, after)["swapped"]
            self._last_mask = (begin, packed)


def finetune_dense(
    model: keras.Model, acdc: ACDC, x: Any, y: Any = None, **kwargs: Any
) -> tuple[keras.Model, keras.callbacks.History]:
    """Trains the dense model of an AC/DC run to its end without any mask.

    A copy of the model starts from the dense checkpoint, its optimizer's state and place in the
    learning-rate schedule included, and trains dense through the epochs that the last compressed
    phase took. The given model is left alone.

    ```python
    acdc = ks.ACDC(0.9, dense_checkpoint="dense.weights.h5")
    model.fit(x, y, epochs=50, callbacks=[acdc])
    dense, history = ks.finetune_dense(model, acdc, x, y, batch_size=128)
    ```

    Args:
        model: The model that was trained, compiled as it was for the run.
        acdc: The callback of the finished run, with `dense_checkpoint` set.
        x: Training data, as for `fit`.
        y: Targets, as for `fit`.
        **kwargs: Further arguments of `fit`; `epochs` and `initial_epoch` are the run's.

    Returns:
        The dense model and its `History`.

    Raises:
        ValueError: If the run saved no dense checkpoint.

    Source: Peste (2023), 3.3.2 and 3.6.1.
    """
    path = acdc.dense_checkpoint
    if path is None or not os.path.exists(path):
        raise ValueError(
            "finetune_dense starts from the dense checkpoint of a finished run, and "
            f"{path or 'no dense_checkpoint'} was "
            f"{'not written' if path else 'given'}. Train with "
            "ACDC(..., dense_checkpoint='dense.weights.h5')."
        )
    dense = keras.models.clone_model(model)
    dense.compile_from_config(model.get_compile_config())
    dense.optimizer.build(dense.trainable_variables)
    dense.load_weights(path)
    history = dense.fit(x, y, initial_epoch=acdc.dense_epochs, epochs=len(acdc.phases), **kwargs)
    return dense, history


def _worst(metric: str) -> float:
    return math.inf if "loss" in metric or "error" in metric else -math.inf
