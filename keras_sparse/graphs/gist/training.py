"""Training in rounds: what GIST and its rivals have in common."""

from __future__ import annotations

import time
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_sparse.distribute.communicator import Communicator, alone
from keras_sparse.distribute.connection import connect
from keras_sparse.distribute.rounds import Rounds
from keras_sparse.graphs.gist.backends import (
    BACKENDS,
    Backend,
    Part,
    described,
)
from keras_sparse.graphs.gist.budget import Budget, budget
from keras_sparse.graphs.gist.cutting import Cutting, cut_all, merge_all, model_weights
from keras_sparse.graphs.gist.feature_groups import FeatureGroups
from keras_sparse.graphs.gist.slots import slot_places, slots_to_keep
from keras_sparse.graphs.gist.sub_network import sub_network
from keras_sparse.graphs.gist.worker import Answer, Recipe
from keras_sparse.graphs.loaders.base import GraphLoader
from keras_sparse.messages.arguments import (
    boolean,
    file_path,
    instance,
    integer,
    one_of,
    optional,
)

OPTIMIZER_STATES = ("reset", "partition")


class RoundTraining:
    """Base of trainings in which workers train parts of a model that are then put together.

    A subclass says with `feature_groups` what is cut. The other arguments are those of `GIST`.
    """

    def __init__(
        self,
        model: keras.Model,
        num_subgcns: int = 2,
        local_iterations: int = 20,
        *,
        optimizer_state: str = "reset",
        backend: str = "sequential",
        workers: Communicator | None = None,
        backup: Any = None,
        same_batches: bool = False,
        split_epochs: bool = True,
        threads: int = 1,
        seed: int = 0,
    ) -> None:
        self.model = instance("model", model, keras.Model, "a Keras model")
        self.num_subgcns = integer("num_subgcns", num_subgcns)
        self.local_iterations = integer("local_iterations", local_iterations)
        self.backend = one_of("backend", backend, BACKENDS)
        self.workers = optional(instance, "workers", workers, Communicator, "a Communicator")
        self.backup = optional(file_path, "backup", backup)
        self.same_batches = boolean("same_batches", same_batches)
        self.split_epochs = boolean("split_epochs", split_epochs)
        self.threads = integer("threads", threads)
        self.seed = integer("seed", seed, 0)
        self.optimizer_state = one_of("optimizer_state", optimizer_state, OPTIMIZER_STATES)
        self.kept = "nothing" if optimizer_state == "reset" else "slots"
        self.groups = self.feature_groups()
        for name, width, cut in zip(
            self.groups.names, self.groups.widths, self.groups.cut, strict=True
        ):
            if cut:
                cure = f"{name!r} has {width} features to share out"
                integer("num_subgcns", num_subgcns, 1, width, cure)
        self.cutting = Cutting(model, self.groups, num_subgcns, seed)

    def feature_groups(self) -> FeatureGroups:
        """What is cut."""
        raise NotImplementedError(f"{type(self).__name__} must implement feature_groups")

    def compile(
        self, optimizer: Any = "adam", loss: Any = None, weighted_metrics: Any = None
    ) -> None:
        """Says how all workers train, and how the whole model is evaluated.

        Args:
            optimizer: Keras's; a learning rate schedule is counted in each worker's steps over
                all rounds.
            loss: Keras's.
            weighted_metrics: Keras's, of the nodes of a loader's split.
        """
        self.model.compile(optimizer, loss, weighted_metrics=weighted_metrics)

    def evaluate(self, loader: GraphLoader, **kwargs: Any) -> Any:
        """Evaluates the whole model.

        Args:
            loader: The nodes to evaluate on.
            **kwargs: As of `keras.Model.evaluate`.
        """
        return self.model.evaluate(loader, **kwargs)

    def fit(
        self,
        loader: GraphLoader,
        epochs: int = 1,
        *,
        validation_data: GraphLoader | None = None,
        validation_freq: int = 1,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        verbose: int | str = "auto",
    ) -> keras.callbacks.History:
        """Trains the model. To callbacks a round is an epoch, and the model is the whole one.

        Args:
            loader: Batches for all workers.
            epochs: Epochs of all workers together (of each with `split_epochs=False`).
            validation_data: What the whole model is evaluated on after rounds. The time that
                takes is not counted.
            validation_freq: After every how many rounds. After the last one always.
            callbacks: Keras's.
            verbose: 0 for silence, 2 for a line a round, 1 or `"auto"` for a bar.

        Returns:
            Of each round: `loss` (the mean of the workers'), `local_step`, `comm_bytes` (since
            `fit` began), `compute_seconds` (as it ran), `worker_seconds` (of the slowest worker),
            `sync_seconds` (all else), `coverage`, `val_...`.

        Raises:
            ValueError: If the model is not compiled, or an argument is out of range.
            FloatingPointError: If the training diverges.
            WorkerLostError: If a worker ends and cannot be replaced.
        """
        instance("loader", loader, GraphLoader, "a loader of ks.graphs")
        optional(instance, "validation_data", validation_data, GraphLoader, "a loader")
        integer("validation_freq", validation_freq)
        if getattr(self.model, "optimizer", None) is None or self.model.loss is None:
            raise ValueError("Call compile(optimizer, loss) before fit.")
        plan = budget(
            integer("epochs", epochs),
            len(loader),
            self.num_subgcns,
            self.local_iterations,
            self.split_epochs,
        )
        self.look_at(plan)
        rounds = Rounds(self._communicator(), self._identity(plan), self.backup)
        self.begin(rounds)
        backend = self._backend(rounds, self._recipe(loader))
        listeners = keras.callbacks.CallbackList(
            list(callbacks),
            add_history=True,
            add_progbar=bool(verbose),
            model=self.model,
            verbose=1 if verbose == "auto" else verbose,
            epochs=plan.rounds,
            steps=1,
        )
        self.model.stop_training = False
        listeners.on_train_begin()
        try:
            while rounds.number < plan.rounds and not self.model.stop_training:
                round = rounds.number
                listeners.on_epoch_begin(round)
                listeners.on_train_batch_begin(0)
                logs = self._round(backend, rounds, plan)
                listeners.on_train_batch_end(0, logs)
                if validation_data is not None and (
                    rounds.number % validation_freq == 0 or rounds.number == plan.rounds
                ):
                    found = self.validate(validation_data)
                    logs.update((f"val_{name}", value) for name, value in found.items())
                listeners.on_epoch_end(round, logs)
        finally:
            backend.close()
        self.finish(rounds)
        listeners.on_train_end()
        return self.model.history

    def _round(self, backend: Backend, rounds: Rounds, plan: Budget) -> dict[str, float]:
        began, round = time.perf_counter(), rounds.number
        steps = plan.steps(round)
        answers = backend.train(lambda rank: self.part(round, rank), round, steps)
        self.put_together(round, answers)
        self.save(rounds)
        computed = backend.critical_seconds(answers)
        return {
            "loss": float(np.mean([answer.loss for answer in answers])),
            "local_step": float(steps.stop),
            "comm_bytes": float(backend.traffic),
            "compute_seconds": computed,
            "worker_seconds": max(answer.seconds for answer in answers),
            "sync_seconds": time.perf_counter() - began - computed,
            **self.round_logs(round),
        }

    def begin(self, rounds: Rounds) -> None:
        """Makes workers equal, or as they were after the latest round that was kept."""
        rounds.begin(self.shared(), [])

    def save(self, rounds: Rounds) -> None:
        """Keeps what a round has come to."""
        rounds.save(self.shared())

    def finish(self, rounds: Rounds) -> None:
        """Ends the training, after which nothing needs to be kept."""
        rounds.finish(self.shared())

    def validate(self, loader: GraphLoader) -> dict[str, float]:
        """The metrics of what the rounds have come to.

        Args:
            loader: The nodes to evaluate on.
        """
        return self.model.evaluate(loader, verbose=0, return_dict=True)

    def look_at(self, plan: Budget) -> None:
        """Looks at the steps and rounds that are to come."""

    def round_logs(self, round: int) -> dict[str, float]:
        """What is added to the logs of a round."""
        return {}

    def shared(self) -> list[Any]:
        """The variables that a round changes: weights, and an optimizer's state that is kept."""
        weights = model_weights(self.model)
        return weights if self.kept == "nothing" else [*weights, *slots_to_keep(self.model)]

    def round_of_cut(self, round: int) -> int:
        """The number of the round by which the cut of a round is drawn."""
        return round

    def part(self, round: int, rank: int) -> Part:
        """What a worker is given, and what it is to hand back."""
        values = [np.asarray(ops.convert_to_numpy(variable)) for variable in self.shared()]
        cut = cut_all(values, self.places(round)[rank])
        return Part(cut, cut)

    def places(self, round: int) -> list[list[Any]]:
        """For each worker and shared variable where the worker's part lies.

        Those of an optimizer's state are where those of its weights are.
        """
        places = self.cutting.places(self.round_of_cut(round))
        if self.kept == "nothing":
            return places
        return [[*own, *slot_places(self.model, own)] for own in places]

    def put_together(self, round: int, answers: Sequence[Answer]) -> None:
        """Makes the whole of what the workers hand back."""
        variables = self.shared()
        before = [np.asarray(ops.convert_to_numpy(variable)) for variable in variables]
        merged = merge_all(before, [answer.values for answer in answers], self.places(round))
        for variable, value in zip(variables, merged, strict=True):
            variable.assign(value)

    def _communicator(self) -> Communicator:
        if self.backend != "tf.distribute":
            return alone()
        found = self.workers or connect()
        if found.count != self.num_subgcns:
            raise ValueError(
                f"There are {found.count} workers and num_subgcns={self.num_subgcns}. Start one "
                f"for each (keras-sparse launch --workers {self.num_subgcns})."
            )
        return found

    def _backend(self, rounds: Rounds, recipe: Recipe) -> Backend:
        sizes = self.cutting.sizes()

        def make(rank: int) -> keras.Model:
            return sub_network(self.model, self.groups, sizes[rank])

        return BACKENDS[self.backend](rounds, recipe, sizes, make, self.threads)

    def _recipe(self, loader: GraphLoader) -> Recipe:
        return Recipe(
            keras.optimizers.serialize(self.model.optimizer),
            keras.losses.serialize(keras.losses.get(self.model.loss)),
            loader,
            self.seed,
            self.kept,
            self.same_batches,
            self.groups.cut_input(self.num_subgcns),
        )

    def _identity(self, plan: Budget) -> dict[str, Any]:
        """What workers and a backup must agree upon, by the names that errors use.

        Names that Keras makes up are left out: in one process they are other ones each time.
        """
        return {
            "keras_sparse": version("keras-sparse"),
            "method": type(self).__name__,
            "num_subgcns": self.num_subgcns,
            "local_iterations": plan.local_iterations,
            "local steps": plan.local_steps,
            "seed": self.seed,
            "kept": self.kept,
            "width": list(self.groups.widths),
            "cut": list(self.groups.cut),
            "optimizer": described(self.model.optimizer),
            "variable": [f"{v.dtype} {tuple(v.shape)}" for v in self.shared()],
        }
