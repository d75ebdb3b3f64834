"""GaP in parallel: each worker grows and prunes a partition of its own."""

from __future__ import annotations

import os
import warnings
from importlib.metadata import version
from typing import Any

import numpy as np
from keras import ops
from typing_extensions import Unpack

from keras_sparse.distribute.communicator import Communicator
from keras_sparse.distribute.rounds import Rounds
from keras_sparse.messages.arguments import file_path, instance, optional
from keras_sparse.messages.warning import SparsityWarning
from keras_sparse.methods.grow_and_prune.base import GaP, GaPArguments, Partitions
from keras_sparse.methods.grow_and_prune.schedule import Lengths, fit_lengths
from keras_sparse.probe.variables import places
from keras_sparse.sparsity.duration import Run
from keras_sparse.sparsity.partition import Partitioning
from keras_sparse.sparsity.selection import Selection


class ParallelGaPArguments(GaPArguments, total=False):
    """The arguments of `GaP` that `ParallelGaP` does not name itself."""

    partitions: Partitions | None
    steps: int | None
    epochs_per_step: int | None
    finetune_epochs: int | None


class ParallelGaP(GaP):
    """Grow-and-prune on several workers at once: the partitions are dense at the same time.

    As many workers as there are partitions train copies of one sparse model, each with another
    partition dense, and do not talk to each other for the epochs of a step. Then each sends only
    the partition that was dense with it; put together they are pruned, and all workers go on
    from there. A step is thus a whole round of `CyclicGaP`. In the end worker 0 fine-tunes alone,
    the others wait, and all have its model when their `fit` returns.

    Every worker runs the same script, started by `keras-sparse launch --workers 4 script.py`, or
    with a `TF_CONFIG` of its own on each of several machines:

    ```python
    import keras_sparse as ks

    workers = ks.distribute.connect()  # before anything makes a tensor
    keras.utils.set_random_seed(workers.rank)  # each shuffles the data in its own way
    model = compiled_model()  # all start with what worker 0 makes
    gap = ks.ParallelGaP(0.9, workers, steps=8, epochs_per_step=4, finetune_epochs=16)
    model.fit(x, y, epochs=48, callbacks=[gap])
    ```

    `fit` is the model's own: batch size and learning rate are those of one machine. Each worker
    sees the data that its script gives it, by default all of it. Validation during a step is
    that of the worker's own copy. What `CyclicGaP` says of optimizers and of logs holds here too;
    `gap_partition` is the worker's own, and `gap_traffic` are the bytes that all workers have
    received: in each round `(kappa - 1)` times those of the model's variables and 16 a worker.

    Args:
        sparsity: Fraction of weights to remove, in [0, 1). Left out with
            `granularity=NM(n, m)`, which fixes it, or with a mapping as `allocation`.
        workers: What `keras_sparse.distribute.connect` returns.
        partitions: As for `CyclicGaP`, as many as workers. Defaults to their number.
        steps: K, how often all partitions grow and are combined. More rounds of fewer epochs
            bring the workers closer together.
        epochs_per_step: T, epochs of a round.
        finetune_epochs: T', epochs at the end with fixed masks, on worker 0. `K T + T'` are the
            epochs of the `fit`; what is left out of the three follows from the others and the
            run: by default eight rounds in two thirds of the run, then fine-tuning.
        backup: Folder in which worker 0 keeps the state after each round. If it holds one, all
            workers go on from there; at the end it is emptied. An interrupted fine-tuning begins
            anew. Keras's `BackupAndRestore` does not know of the others and cannot take its place.
        by: How layers are divided; see `GrowPrunePartition.partition`.
        learning_rate: As for `CyclicGaP`.
        validation_data: As for `CyclicGaP`; worker 0 scores what each round ends with.
        calibration: As for `CyclicGaP`.
        best_checkpoint: As for `CyclicGaP`; written by worker 0.
        **kwargs: `granularity`, `allocation`, `exclude`, `include`, `keep_dense`, `strict`, `seed`:
            see `SparseCallback`.

    Raises:
        ValueError: At construction for arguments out of range; before the first step for
            partitions that do not fit the model or the workers, for steps that do not fit the
            run, and if workers or the backup are not of the same training.
        WorkerLostError: If a worker ends while others train.
        RuntimeError: If a worker stops before the last round.

    Source: Ma et al. (2022), Algorithm 2, section 2.2 and appendix D.
    """

    def __init__(
        self,
        sparsity: float | None = None,
        workers: Communicator | None = None,
        *,
        backup: str | os.PathLike[str] | None = None,
        **kwargs: Unpack[ParallelGaPArguments],
    ) -> None:
        super().__init__(sparsity, **kwargs)
        self.workers = instance(
            "workers",
            workers,
            Communicator,
            "what keras_sparse.distribute.connect() returns, called at the top of a script that "
            "keras-sparse launch starts",
        )
        self.backup = optional(file_path, "backup", backup)

    def install_in(self, optimizer: Any, model: Any, run: Run) -> Any:
        """Refused: the workers meet at the ends of rounds, in `fit`."""
        raise ValueError(
            "ParallelGaP exchanges weights between workers in model.fit. Use it there."
        )

    def default_partitions(self, run: Run, layers: int) -> int:
        """One for each worker."""
        return self.workers.count

    def _divide(self, run: Run, selection: Selection) -> Partitioning:
        count = self.workers.count
        layers = len({target.layer for target in selection.targets})
        if self.partitions is None and count > layers:
            raise ValueError(
                f"Each of the {count} workers needs a partition, and model {self.model.name!r} "
                f"has {layers} layers to prune. Start {layers} workers or fewer (keras-sparse "
                f"launch --workers {layers})."
            )
        partitioning = super()._divide(run, selection)
        if partitioning.count != count:
            raise ValueError(
                f"There are {partitioning.count} partitions and {count} workers. Start a worker "
                f"for each partition (keras-sparse launch --workers {partitioning.count}), or give "
                f"partitions={count}."
            )
        return partitioning

    def fit_lengths(self, run: Run) -> Lengths:
        """Steps in which all partitions have their turn, by default eight."""
        given = (self.steps, self.epochs_per_step, self.finetune_epochs)
        return fit_lengths(run.epochs, 1, *given, rounds=8)

    def dense_in_each_step(self) -> np.ndarray:
        """The worker's own partition, in every step."""
        own = np.array(self.partitioning.of_target) == self.workers.rank
        dense = np.zeros((self.lengths.steps + 2, len(own)), bool)
        dense[1:-1] = own
        return dense

    def pruned_at_each_step(self) -> np.ndarray:
        """All partitions, once they have been combined."""
        pruned = np.ones((self.lengths.steps + 1, len(self.partitioning.of_target)), bool)
        pruned[0] = False
        return pruned

    def dense_partition(self, step: int) -> int:
        """Always the same."""
        return self.workers.rank

    def round_of(self, step: int) -> int:
        """A step is a round."""
        return step

    def scores_candidates(self) -> bool:
        """Worker 0 does it for all."""
        return super().scores_candidates() and self.workers.rank == 0

    def on_train_begin(self, logs: Any = None) -> None:
        """Gives all workers the same model, that of worker 0 or of the latest round."""
        super().on_train_begin(logs)
        self._rounds = Rounds(self.workers, self._identity(), self.backup)
        own = [self.optimizer.counters["peak"], self.optimizer.training_cost]
        lengths = self._rounds.begin(self._shared(), own, self.run.steps_per_epoch)
        if len(set(lengths)) > 1:
            warnings.warn(
                f"The workers have unequal data: {', '.join(map(str, lengths))} batches in an "
                "epoch. In every round the others wait for the slowest, and partitions are "
                "trained for unequal numbers of steps. Give each worker as many batches.",
                SparsityWarning,
                stacklevel=2,
            )
        done = self._rounds.number * self.lengths.epochs_per_step
        waits = self._rounds.number == self.lengths.steps and self.workers.rank != 0
        self.model._initial_epoch = self.run.epochs if waits else done

    def _shared(self) -> list[Any]:
        """What is the same on all workers after a round."""
        optimizer = self.optimizer
        return [*self.model.variables, *optimizer.masks, optimizer.counters["updates"]]

    def _identity(self) -> dict[str, Any]:
        """What the workers must agree upon, by the names that errors use."""
        variables, targets = self.model.variables, self.selection.targets
        place = places(self.model)
        pairs = zip(targets, self.partitioning.of_target, strict=True)
        return {
            "keras_sparse": version("keras-sparse"),
            "method": type(self).__name__,
            "workers": self.workers.count,
            "variable": [f"{place[id(v)].path} {v.dtype} {v.shape}" for v in variables],
            "sparsity": self.final.tolist(),
            "granularity": str(self.recipe.granularity),
            "allocation": str(self.recipe.allocation),
            "partition of": {target.path: number for target, number in pairs},
            "partition of variable": list(self.partitioning.owner),
            "schedule": self.lengths._asdict(),
        }

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Notices workers that have ended."""
        super().on_train_batch_begin(batch, logs)
        self.workers.check()

    def end_step(self, step: int) -> None:
        """Puts together what was dense with each worker."""
        partitioning, variables = self.partitioning, self.model.variables
        like = [partitioning.variables(self.model, i) for i in range(partitioning.count)]
        parts = self._rounds.exchange(like[self.workers.rank], like)
        values: list[list[Any]] = []
        for number, part in enumerate(parts):
            sent = iter(part)
            values.append([next(sent) if o == number else None for o in partitioning.owner])
        for variable, value in zip(variables, partitioning.combine(values), strict=True):
            variable.assign(value)
        # Each part was dense where it comes from; the next batch prunes all of them.
        for mask in self.optimizer.masks:
            mask.assign(ops.ones_like(mask))
        self._rounds.save(self._shared())
        if step == self.lengths.steps - 1 and self.workers.rank != 0:
            self.model.stop_training = True

    def epoch_logs(self, epoch: int, logs: dict[str, float]) -> dict[str, float]:
        """Those of grow-and-prune, and the bytes received."""
        own = super().epoch_logs(epoch, logs)
        return {**own, "gap_traffic": float(self._rounds.traffic)}

    def on_train_end(self, logs: Any = None) -> None:
        """Gives all workers the model that worker 0 has fine-tuned."""
        self.model._initial_epoch = 0
        if self._rounds.number < self.lengths.steps:
            self._rounds.stop()
        else:
            self._rounds.finish(self.model.variables)
        super().on_train_end(logs)
