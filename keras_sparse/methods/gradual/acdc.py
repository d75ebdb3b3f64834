"""AC/DC: alternating compressed / decompressed training."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from typing_extensions import Unpack

from keras_sparse.engine import installation
from keras_sparse.engine.buffers import RESETS, resolve_reset
from keras_sparse.engine.callback import SparseCallback, worst
from keras_sparse.engine.rule import Rule
from keras_sparse.engine.rules.scheduled_masks import ScheduledMasks
from keras_sparse.messages.arguments import instance, one_of
from keras_sparse.methods.gradual.acdc_schedule import default_schedule, read_schedule, switches
from keras_sparse.probe.copies import copy_of
from keras_sparse.probe.variables import check_built
from keras_sparse.sparsity.duration import Run
from keras_sparse.sparsity.masks import mask_change
from keras_sparse.sparsity.recipe import CommonArguments
from keras_sparse.sparsity.selection import Selection

_NONE = -1  # no compressed phase yet


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
    bad (infinity for a loss or error, minus infinity for all else), as `sparse_val_*` is.

    Args:
        sparsity: Fraction of weights to remove, in [0, 1). Left out with
            `granularity=NM(n, m)`, which fixes it, or with a mapping as `allocation`.
        schedule: Phases, one letter an epoch, `"D"` or `"C"`, as a string or list; see
            `acdc_schedule`. Defaults to the source's recipe (warm-up 10, phases of 5, last
            phases 10 and 15 per 100 epochs) scaled to the epochs of the `fit`, with no phase of
            fewer than two epochs, which was better in three of the four kinds of short runs that
            `benchmarks/acdc_phases.py` compares.
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
        **kwargs: Unpack[CommonArguments],
    ) -> None:
        super().__init__(sparsity, **kwargs)
        self.schedule = None if schedule is None else read_schedule(schedule)
        self.reset_optimizer_state = one_of("reset_optimizer_state", reset_optimizer_state, RESETS)
        self.dense_checkpoint = installation.check_weights_path(
            "dense_checkpoint", dense_checkpoint
        )

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
            reset_buffers=resolve_reset(self.reset_optimizer_state, self.own_optimizer),
        )

    @property
    def dense_epochs(self) -> int:
        """Epochs up to the end of the last decompressed phase."""
        return len(self.phases.rstrip("C"))

    def notes(self, selection: Selection) -> Mapping[str, np.ndarray]:
        """The masks of the latest compressed phase, packed, where it began, and what was logged."""
        packed = sum(-(-target.layout.size // 8) for target in selection.targets)
        return {
            "acdc_masks": np.zeros(packed, "uint8"),
            "acdc_masks_of": np.array(_NONE, "int32"),
            "acdc_mask_change": np.array(np.nan, "float32"),
            "acdc_dense_zero_fraction": np.array(np.nan, "float32"),
        }

    def end_batches(self, epoch: int) -> None:
        """Compares the masks of a compressed phase with those of the one before."""
        super().end_batches(epoch)
        notes = self.optimizer.notes
        if self.phases[epoch] == "D":
            notes["acdc_dense_zero_fraction"].assign(self.meter.sparsity)
            return
        begin = len(self.phases[:epoch].rstrip("C"))
        before = int(ops.convert_to_numpy(notes["acdc_masks_of"]))
        if before == begin:
            return
        masks = self.meter.masks()
        if before != _NONE:
            earlier = _unpacked(ops.convert_to_numpy(notes["acdc_masks"]), masks)
            notes["acdc_mask_change"].assign(mask_change(earlier, masks)["swapped"])
        notes["acdc_masks"].assign(np.concatenate([np.packbits(mask) for mask in masks]))
        notes["acdc_masks_of"].assign(begin)

    def end_epoch(self, epoch: int, logs: dict[str, float]) -> None:
        """Saves the dense model at the end of its last phase."""
        if epoch + 1 == self.dense_epochs and self.dense_checkpoint is not None:
            installation.save_plain_weights(self.model, self.dense_checkpoint)

    def epoch_logs(self, epoch: int, logs: dict[str, float]) -> dict[str, float]:
        """Phase, mask change, dead weights, and validation metrics of sparse epochs."""
        compressed = self.phases[epoch] == "C"
        noted = ("acdc_mask_change", "acdc_dense_zero_fraction")
        own = {
            "acdc_phase": float(compressed),
            **{name: float(ops.convert_to_numpy(self.optimizer.notes[name])) for name in noted},
        }
        for name in [name for name in logs if name.startswith("val_")]:
            own[f"acdc_sparse_{name}"] = logs[name] if compressed else worst(name)
        return own


def _unpacked(packed: np.ndarray, like: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Boolean masks of the shapes of others."""
    masks, at = [], 0
    for mask in like:
        end = at + -(-mask.size // 8)
        bits = np.unpackbits(packed[at:end], count=mask.size)
        masks.append(bits.astype(bool).reshape(mask.shape))
        at = end
    return masks


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
    check_built(model)
    path = instance("acdc", acdc, ACDC, "the ACDC callback of a finished run").dense_checkpoint
    if path is None or not os.path.exists(path):
        raise ValueError(
            "finetune_dense starts from the dense checkpoint of a finished run, and "
            f"{path or 'no dense_checkpoint'} was "
            f"{'not written' if path else 'given'}. Train with "
            "ACDC(..., dense_checkpoint='dense.weights.h5')."
        )
    dense = copy_of(model)
    dense.compile_from_config(model.get_compile_config())
    dense.optimizer.build(dense.trainable_variables)
    dense.load_weights(path)
    history = dense.fit(x, y, initial_epoch=acdc.dense_epochs, epochs=len(acdc.phases), **kwargs)
    return dense, history
