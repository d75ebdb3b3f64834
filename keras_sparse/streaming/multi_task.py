"""Streaming over several data sets: a shared trunk, and a head and a buffer for each."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import ArrayLike

from keras_sparse.backend.any_batch import joint_step, of_all
from keras_sparse.messages.arguments import boolean, instance, integer, one_of, optional, wrong
from keras_sparse.messages.names import unknown_name
from keras_sparse.streaming.evaluation.events import TestingEvent, event_of_predictions
from keras_sparse.streaming.evaluation.orderings import class_incremental, class_numbers
from keras_sparse.streaming.learner.batches import Augment, ReplayBatches
from keras_sparse.streaming.learner.classifier import check_classifier, softmax
from keras_sparse.streaming.learner.model_state import arrays_of, assign_values, uncompiled_copy
from keras_sparse.streaming.learner.schedule import PerClassLinearDecay
from keras_sparse.streaming.learner.stream_states import State, StreamStates
from keras_sparse.streaming.own_statistics import OwnStatistics
from keras_sparse.streaming.replay.compression import ImageCompression
from keras_sparse.streaming.replay.replay_buffer import ReplayBuffer

STRATEGIES = ("full_sep", "split_sep", "full_sum", "split_sum")
_ROWS = 256
# Examples that the statistics of a task are of.
_STATISTICS = 1000


def _of_task(compression: ImageCompression | None, number: int) -> ImageCompression | None:
    if compression is None or compression.directory is None:
        return compression
    own = Path(compression.directory) / f"task-{number}"
    return dataclasses.replace(compression, directory=own)


class MultiTaskStreaming:
    """Learns data sets one after the other, one example at a time, and replays all of them.

    An example of a task is one of a batch; for each task that came before there is a batch of
    replayed examples. `full`: B examples for each task; `split`: B divided among them. `sep`: a
    step of the optimizer for each task, one after the other; `sum`: one step on the sum of their
    gradients. Heads of tasks that have not come are not touched.

    Batch normalization that the tasks share has moving statistics of all of them. A task is tested
    with those of its own buffer, in `model_of`.

    ```python
    trunk = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
    heads = {"one": keras.layers.Dense(3), "two": keras.layers.Dense(4)}
    learner = MultiTaskStreaming(trunk, heads, replay_size=10)
    learner.partial_fit("two", x[0], y[0])
    learner.predict("two", x).shape  # (96, 4)
    ```

    Args:
        trunk: A built model.
        heads: By the names of the tasks: layers or models of logits on what the trunk returns.
        strategy: `"full_sep"`, `"split_sep"`, `"full_sum"` or `"split_sum"`.
        replay_size: B.
        capacity: Examples in the buffer of each task; `None` for any number.
        compression: Of the buffers' images; JPEG files go to a folder for each task.
        augment: As for `StreamingLearner`.
        standardize: By the names of the tasks: as for `StreamingLearner`.
        optimizer: Defaults to SGD with momentum 0.9 and weight decay 1e-5.
        schedule: Start and end of the learning rate within each class; `None` for the optimizer's
            own.
        seed: Of the buffers and the augmentation.

    Raises:
        ValueError: If an argument is none that can be used.

    Source: Wolfe (2023), 5.6.3 and D.2.5.
    """

    def __init__(
        self,
        trunk: keras.Model,
        heads: Mapping[str, Any],
        *,
        strategy: str = "full_sep",
        replay_size: int = 100,
        capacity: int | None = None,
        compression: ImageCompression | None = None,
        augment: Augment | None = None,
        standardize: Mapping[str, Any] | None = None,
        optimizer: keras.optimizers.Optimizer | None = None,
        schedule: tuple[float, float] | None = (0.1, 0.001),
        seed: int = 0,
    ) -> None:
        instance("trunk", trunk, keras.Model, "a built keras.Model")
        if not isinstance(heads, Mapping) or not heads:
            raise wrong("heads", heads, "layers or models by the names of the tasks")
        if standardize is not None and not isinstance(standardize, Mapping):
            raise wrong("standardize", standardize, "None, or scales by the names of the tasks")
        if schedule is not None and (not isinstance(schedule, tuple) or len(schedule) != 2):
            raise wrong("schedule", schedule, "None, or the first and the last learning rate")
        integer("seed", seed, 0)
        self.strategy = one_of("strategy", strategy, STRATEGIES)
        self.replay_size = integer("replay_size", replay_size, len(heads))
        kind = keras.optimizers.Optimizer
        given = optional(instance, "optimizer", optimizer, kind, "a Keras optimizer")
        self.optimizer: Any = given or keras.optimizers.SGD(0.1, momentum=0.9, weight_decay=1e-5)
        self.models = {
            name: keras.Model(trunk.inputs, head(trunk.outputs[0])) for name, head in heads.items()
        }
        scales = standardize or {}
        for name in scales:
            if name not in self.models:
                raise unknown_name("task in standardize", name, self.models)
        self.batches: dict[str, ReplayBatches] = {}
        self.schedules: dict[str, PerClassLinearDecay] = {}
        for i, (name, model) in enumerate(self.models.items()):
            _, classes = check_classifier(model, logits=True)
            own = _of_task(compression, i)
            buffer = ReplayBuffer(capacity, compression=own, seed=seed + i)
            self.batches[name] = ReplayBatches(
                buffer, classes, replay_size, augment, scales.get(name), seed + i
            )
            if schedule is not None:
                self.schedules[name] = PerClassLinearDecay(*schedule)
        self.optimizer.build(of_all(self.models.values(), "trainable_variables"))
        self._steps: dict[tuple[str, ...], Any] = {}
        self._alone: dict[str, OwnStatistics] = {}
        self._renewed: set[str] = set()

    @property
    def met(self) -> list[str]:
        """The tasks that have come."""
        return [name for name, batches in self.batches.items() if batches.position]

    def partial_fit(self, task: str, x: np.ndarray, y: int) -> None:
        """Learns from one example.

        Args:
            task: The name of its task.
            x: The example.
            y: Its class within the task.

        Raises:
            ValueError: If it cannot be learned; nothing has changed then.
        """
        own = self._of(task)
        example, label = own.checked(x, y)
        schedule = self.schedules.get(task)
        if schedule is not None and schedule.sizes:
            self.optimizer.learning_rate = schedule.next(label)
        self._renewed.clear()
        earlier = [name for name in self.met if name != task]
        share = self.replay_size
        if self.strategy.startswith("split"):
            share //= 1 + len(earlier)
        batches = {task: own.batch(example, label, share - 1)}
        batches |= {name: self.batches[name].replayed(share) for name in earlier}
        if self.strategy.endswith("sum"):
            self._step(tuple(batches))(list(batches.values()))
        else:
            for name, batch in batches.items():
                self._step((name,))([batch])
        own.store(example, label)

    def _step(self, names: tuple[str, ...]) -> Any:
        if names not in self._steps:
            self._steps[names] = joint_step([self.models[name] for name in names], self.optimizer)
        return self._steps[names]

    def _of(self, task: str) -> ReplayBatches:
        if task not in self.batches:
            raise unknown_name("task", task, self.batches)
        return self.batches[task]

    def fit_streams(
        self,
        streams: Mapping[str, tuple[np.ndarray, ArrayLike]],
        seed: int | None = 0,
        *,
        backup: str | os.PathLike[str] | None = None,
        backup_every: int = 1000,
        after: Callable[[int], None] | None = None,
    ) -> None:
        """Learns from one data set after the other, each class after class.

        With a `backup`, a process that was killed goes on when the same call is made again, and
        comes to the same end as if it had not been.

        Args:
            streams: By the names of the tasks, in the order in which they come: examples and
                classes.
            seed: Of the order inside of each class.
            backup: A folder for states of the training; they are deleted at the end.
            backup_every: Examples between two states.
            after: Called after each example with how many of all data sets have been met.

        Raises:
            ValueError: If one is of no task, an example cannot be learned, or the states in
                `backup` are of other streams.
        """
        plan: list[tuple[str, int, int]] = []
        labels = {
            task: class_numbers(y, len(x), self._of(task).classes)
            for task, (x, y) in streams.items()
        }
        for task, of_it in labels.items():
            order = class_incremental(of_it, seed=seed)
            plan += [(task, int(i), int(of_it[i])) for i in order.indices]
            if task in self.schedules:
                self.schedules[task].announce(of_it)
        states = StreamStates(self, backup, backup_every, json.dumps(plan).encode())
        begin, history = states.resumed()
        for done, (task, index, label) in enumerate(plan[begin:], begin + 1):
            self.partial_fit(task, streams[task][0][index], label)
            states.after(done, history)
            if after is not None:
                after(done)
        states.delete()

    def _variables(self) -> list[Any]:
        return [*of_all(self.models.values(), "variables"), *self.optimizer.variables]

    def state(self) -> State:
        """The models, the optimizer, the buffers and the schedules."""
        arrays = arrays_of(self._variables())
        tasks: dict[str, Any] = {}
        for name, batches in self.batches.items():
            description, own = batches.state()
            schedule = self.schedules[name].state() if name in self.schedules else None
            tasks[name] = {"batches": description, "arrays": len(own), "schedule": schedule}
            arrays += own
        return {"tasks": tasks}, arrays

    def restore(self, description: dict[str, Any], arrays: list[np.ndarray]) -> None:
        """Becomes what `state` described."""
        variables = self._variables()
        self._renewed.clear()
        assign_values(variables, arrays[: len(variables)])
        begin = len(variables)
        for name, task in description["tasks"].items():
            end = begin + task["arrays"]
            self.batches[name].restore(task["batches"], arrays[begin:end])
            if task["schedule"] is not None:
                self.schedules[name].restore(task["schedule"])
            begin = end

    def _own(self, task: str) -> keras.Model:
        batches = self._of(task)
        if len(batches.buffer) < 2:
            return self.models[task]
        if task not in self._alone:
            self._alone[task] = OwnStatistics(self.models[task])
        if task not in self._renewed:
            some = batches.buffer.read(_STATISTICS)[0]
            self._alone[task].renew(batches.standardize(some))
            self._renewed.add(task)
        return self._alone[task].model

    def model_of(self, task: str) -> keras.Model:
        """A plain model of logits for one task, such as to be shipped.

        Its batch normalization has the statistics of up to 1,000 examples of the task's buffer, if
        there are two at least. What the learner learns afterwards does not change it.

        Args:
            task: The name of the task.
        """
        return uncompiled_copy(self._own(task))

    def predict(self, task: str, x: np.ndarray, shared_statistics: bool = False) -> np.ndarray:
        """How likely each class of a task is, `(n, classes)`.

        Args:
            task: The name of the task.
            x: Examples as they stream.
            shared_statistics: Whether batch normalization has the moving statistics of all tasks
                in place of the task's own, which are measured anew when something was learned.
        """
        boolean("shared_statistics", shared_statistics)
        scale = self._of(task).standardize
        model = self.models[task] if shared_statistics else self._own(task)
        parts = [
            softmax(model.predict_on_batch(scale(x[i : i + _ROWS])))
            for i in range(0, len(x), _ROWS)
        ]
        return np.concatenate(parts)

    def evaluate(
        self, task: str, x: np.ndarray, y: ArrayLike, shared_statistics: bool = False
    ) -> TestingEvent:
        """Tests on examples of a task. The arguments are those of `predict`, and their classes."""
        likely = self.predict(task, x, shared_statistics)
        return event_of_predictions(self._of(task).position, y, likely)
