"""Sub-training: one worker's steps of a round."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_sparse.backend.sparse_tensors import with_columns
from keras_sparse.graphs.gist.cutting import model_weights
from keras_sparse.graphs.gist.partition import partition_features
from keras_sparse.graphs.gist.slots import slots_to_keep
from keras_sparse.graphs.loaders.base import GraphLoader
from keras_sparse.graphs.loaders.batches import Batch
from keras_sparse.messages.arguments import integer

# What else than weights a worker is given and hands back.
KEPT = ("nothing", "slots", "gradients")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How all workers train; a process can be told it.

    Args:
        optimizer: Keras's configuration of the optimizer.
        loss: Keras's configuration of the loss.
        loader: What the batches come from.
        seed: Of the training.
        kept: `"nothing"` for an optimizer that starts anew in each round, `"slots"` for one whose
            state goes to and fro with the weights, `"gradients"` for one step of none, whose
            gradients are handed back.
        same_batches: Whether all workers see the same batches.
        cut_input: Number of input features, of workers, and of the features' group, if each
            worker has a block of them.
    """

    optimizer: Any
    loss: Any
    loader: GraphLoader
    seed: int
    kept: str
    same_batches: bool
    cut_input: tuple[int, int, int] | None = None

    def batch(self, step: int, round: int, rank: int) -> Batch:
        """What a worker sees in a step.

        Args:
            step: Number of the step.
            round: Number of the round.
            rank: Number of the worker.
        """
        (features, *links), labels, weights = self.loader.batch_at(
            step, 0 if self.same_batches else rank
        )
        if self.cut_input is not None:
            width, workers, group = self.cut_input
            blocks = partition_features(width, workers, self.seed, round, group)
            features = with_columns(features, blocks[rank])
        return (features, *links), labels, weights


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a worker made of its part in a round.

    Args:
        values: The arrays that it hands back.
        loss: Mean loss of its steps.
        seconds: That it computed.
    """

    values: list[np.ndarray]
    loss: float
    seconds: float


class Worker:
    """Trains a sub-network that is given weights for each round.

    Args:
        model: The sub-network.
        recipe: How it is trained.

    Source: Wolfe (2023), section 2.2.2.
    """

    def __init__(self, model: keras.Model, recipe: Recipe) -> None:
        integer("the loader's batches in an epoch", len(recipe.loader))
        self.model, self.recipe = model, recipe
        optimizer, self.schedule = without_schedule(recipe.optimizer)
        if recipe.kept == "gradients":
            optimizer = KeptGradients()
        loss = keras.losses.deserialize(recipe.loss)
        model.compile(optimizer, loss)
        optimizer.build(model.trainable_variables)
        self._starts = [(v, np.array(ops.convert_to_numpy(v))) for v in optimizer.variables]
        weights = model_weights(model)
        known = {id(weight) for weight in weights}
        self._seeds = [v for v in model.variables if id(v) not in known]
        slots = slots_to_keep(model) if recipe.kept == "slots" else []
        self.taken = [*weights, *slots]
        self.given = (
            gradients_to_give(optimizer, model) if recipe.kept == "gradients" else self.taken
        )

    def train(self, values: Sequence[Any], round: int, rank: int, steps: range) -> Answer:
        """Trains the steps of a round.

        Args:
            values: What `taken` is to hold before.
            round: Number of the round.
            rank: Number of the worker.
            steps: The steps, as numbered over the whole training.

        Raises:
            FloatingPointError: If the loss is no finite number.
        """
        began = time.perf_counter()
        self._begin(values, round, rank)
        loss = 0.0
        for step in steps:
            x, y, weight = self.recipe.batch(step, round, rank)
            if self.schedule is not None:
                self.model.optimizer.learning_rate = self.schedule(step)
            loss = float(self.model.train_on_batch(x, y, weight))
        if not np.isfinite(loss):
            raise FloatingPointError(
                f"Training diverged: the mean loss of worker {rank} in round {round + 1} is "
                f"{loss}. Go on from the backup of an earlier round with a lower learning rate or "
                "gradient clipping (clipnorm), and look for NaN in the features."
            )
        given = [np.array(ops.convert_to_numpy(variable)) for variable in self.given]
        return Answer(given, loss, time.perf_counter() - began)

    def _begin(self, values: Sequence[Any], round: int, rank: int) -> None:
        for variable, start in self._starts:
            variable.assign(start)
        for variable, value in zip(self.taken, values, strict=True):
            variable.assign(value)
        # Whatever ran before in this process, dropout is that of the worker and the round.
        place = np.random.SeedSequence([self.recipe.seed, round, rank])
        for variable, words in zip(
            self._seeds, place.generate_state(2 * len(self._seeds)).reshape(-1, 2), strict=True
        ):
            variable.assign(words)
        self.model.reset_metrics()


class KeptGradients(keras.optimizers.Optimizer):
    """Makes no step: it keeps the gradients of the last batch."""

    def __init__(self, learning_rate: float = 0.0, **kwargs: Any) -> None:
        super().__init__(learning_rate, **kwargs)

    def build(self, variables: Any) -> None:
        """Makes room for a gradient of each variable."""
        if self.built:
            return
        super().build(variables)
        self.kept = [
            self.add_variable_from_reference(variable, name="gradient") for variable in variables
        ]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Keeps a gradient."""
        self.assign(self.kept[self._get_variable_index(variable)], gradient)


def gradients_to_give(optimizer: Any, model: keras.Model) -> list[Any]:
    """Gradients, and what a step changes without a gradient, such as moving averages."""
    return [*optimizer.kept, *model.non_trainable_weights]


def without_schedule(config: Any) -> tuple[keras.optimizers.Optimizer, Any]:
    """An optimizer with a number as learning rate, and the schedule that it had, if any.

    An optimizer that starts anew would start its schedule anew too.
    """
    optimizer = keras.optimizers.deserialize(config)
    schedule = optimizer._learning_rate
    if not isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
        return optimizer, None
    plain = {**optimizer.get_config(), "learning_rate": float(schedule(0))}
    return type(optimizer).from_config(plain), schedule
