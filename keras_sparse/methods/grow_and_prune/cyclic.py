"""GaP: scheduled grow-and-prune, one partition of the layers after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
from typing_extensions import Unpack

from keras_sparse.messages.arguments import boolean, one_of
from keras_sparse.methods.grow_and_prune.base import GaP, GaPArguments, Partitions
from keras_sparse.methods.grow_and_prune.schedule import (
    ORDERS,
    Lengths,
    default_partitions,
    dense_in_each_step,
    fit_lengths,
)
from keras_sparse.sparsity.duration import Run


class CyclicGaP(GaP):
    """Starts sparse at random, and makes one part of the model dense after the other.

    The layers are divided into partitions. In each step one of them is dense and trained for some
    epochs with the others, which are sparse; then its smallest weights are pruned, and the next
    one grows, from zeros. After whole rounds every weight has been tried, and the model was never
    dense as a whole. At the end the model is fine-tuned with all of it pruned.

    ```python
    gap = ks.CyclicGaP(0.9, partitions=4, steps=8, epochs_per_step=4, finetune_epochs=16)
    model.fit(x, y, epochs=48, callbacks=[gap])
    ```

    Each step, and fine-tuning, is a training of its own: the optimizer's moments are zero again,
    and its iterations, so that a `keras.optimizers.schedules` schedule begins anew; write it for
    one step. A schedule that knows the length of fine-tuning is given as `learning_rate`. A
    `LearningRateScheduler` sees epochs of the whole run.

    Besides the logs of every sparse training it adds `gap_step`, `gap_round`, `gap_partition`
    (whose turn it is; -1 in fine-tuning), `gap_density` and `gap_density_0`, ... (the fraction of
    the prunable weights, in all and by partition, that are not pruned), `gap_peak_density` (the
    largest density so far) and, with `validation_data`, `gap_candidate_loss`.

    Args:
        sparsity: Fraction of weights to remove, in [0, 1). Left out with
            `granularity=NM(n, m)`, which fixes it, or with a mapping as `allocation`.
        partitions: kappa, the number of partitions; or partitions in the order in which they
            grow, each a `GrowPrunePartition` or a list of names. Defaults to 4, or fewer where
            the model has fewer layers to prune or the run fewer epochs to train.
        steps: K, how often a partition grows; at least `partitions`.
        epochs_per_step: T, epochs for which it is dense.
        finetune_epochs: T', epochs at the end with fixed masks. `K T + T'` are the epochs of the
            `fit`; what is left out of the three follows from the others and the run: by default
            two rounds in two thirds of the run, then fine-tuning.
        by: How layers are divided: `"params"`, `"flops"`, `"stages"` or `"random"`; see
            `GrowPrunePartition.partition`.
        order: `"cyclic"`, or `"random"`: each step draws anew which layers grow, as many as
            the partition has whose turn it would be (an ablation).
        restart: Whether the optimizer begins anew at each step. At a sparsity of 0 nothing grows,
            and nothing begins anew.
        learning_rate: A function `f(epoch, epochs)` of the epoch within a step or fine-tuning and
            their length, that gives the learning rate. Defaults to leaving it to the optimizer.
        validation_data: `(x, y)` or batches, as `evaluate` takes them, on which candidates are
            scored: what each step's model is once pruned, with batch-norm statistics tuned
            to that, and each fine-tuned epoch's.
        calibration: Inputs for batch-norm tuning, an array of shape `(samples,) + input_shape` or
            batches; training data is best. Defaults to the inputs of `validation_data`.
        best_checkpoint: Path ending in `.weights.h5` at which the best candidate is kept, for
            `model.load_weights`. Defaults to none.
        **kwargs: `granularity`, `allocation`, `exclude`, `include`, `keep_dense`, `strict`, `seed`:
            see `SparseCallback`. With `allocation="global"` (the source's non-uniform sparsity) the
            random masks are uniform, and each pruning ranks the weights of the whole model.

    Raises:
        ValueError: At construction for arguments out of range; before the first step for
            partitions that do not fit the model, or steps that do not fit the run.

    Source: Ma et al. (2022), Algorithm 1, sections 2.1 and 3, A.2 and B.
    """

    command = "cyclic_gap"

    @classmethod
    def for_run(cls, **common: Any) -> CyclicGaP:
        """Without restarts: a run's one learning-rate schedule would not come to its end."""
        return cls(restart=False, **common)

    def __init__(
        self,
        sparsity: float | None = None,
        partitions: Partitions | None = None,
        steps: int | None = None,
        epochs_per_step: int | None = None,
        finetune_epochs: int | None = None,
        *,
        order: str = "cyclic",
        restart: bool = True,
        **kwargs: Unpack[GaPArguments],
    ) -> None:
        super().__init__(sparsity, partitions, steps, epochs_per_step, finetune_epochs, **kwargs)
        self.order = one_of("order", order, ORDERS)
        self.restart = boolean("restart", restart)

    def default_partitions(self, run: Run, layers: int) -> int:
        """Four, or fewer where the model or the run is too small."""
        return default_partitions(
            run.epochs, layers, self.steps, self.epochs_per_step, self.finetune_epochs
        )

    def fit_lengths(self, run: Run) -> Lengths:
        """Steps of one partition each, by default in two rounds."""
        return fit_lengths(
            run.epochs,
            self.partitioning.count,
            self.steps,
            self.epochs_per_step,
            self.finetune_epochs,
        )

    def dense_in_each_step(self) -> np.ndarray:
        """One partition after the other, or layers at random."""
        return dense_in_each_step(
            self.lengths.steps,
            self.partitioning.count,
            self.partitioning.of_target,
            self.partitioning.layer_of_target,
            self.order,
            self.seed or 0,
        )

    def dense_partition(self, step: int) -> int:
        """Each in turn."""
        return step % self.partitioning.count

    def round_of(self, step: int) -> int:
        """In a round every partition has its turn."""
        return step // self.partitioning.count

    def restarts(self, final: np.ndarray) -> bool:
        """Not where nothing is pruned, nor if the user does not want it."""
        return self.restart and bool(np.any(final > 0))
