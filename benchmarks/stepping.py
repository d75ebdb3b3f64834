"""Training steps timed one by one, on Keras 3 and on its predecessor alike.

A `Trial` takes the same steps as `model.fit`: the compiled train function on a `tf.data` iterator,
with the callbacks around each batch. `paired` takes steps of several trials in turn, so that
whatever else the machine does hits all of them.
"""

import resource
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

Times = tuple[float, float]


class Trial:
    """A model in training on one batch of images, over and over: input costs nothing.

    Args:
        keras: the Keras module that the model belongs to.
        model: a compiled model.
        callbacks: its callbacks.
        batch: images in a batch.
        steps: steps that it will take at most.
        size: height and width of the images.
    """

    def __init__(
        self,
        keras: Any,
        model: Any,
        callbacks: Sequence[Any],
        batch: int,
        steps: int,
        size: int = 32,
    ) -> None:
        # Two epochs, of which the second never begins: no step is an epoch's last.
        self.callbacks = keras.callbacks.CallbackList(
            list(callbacks), model=model, epochs=2, steps=steps
        )
        self.model = model
        model.make_train_function()
        self.callbacks.on_train_begin()
        self.callbacks.on_epoch_begin(0)
        draw = np.random.default_rng(0)
        images = draw.normal(size=(batch, size, size, 3)).astype("float32")
        labels = draw.integers(0, 10, batch).astype("int32")
        self.batches = iter(tf.data.Dataset.from_tensors((images, labels)).repeat())
        self.taken = 0

    def step(self) -> None:
        """Takes one step and waits for it."""
        self.callbacks.on_train_batch_begin(self.taken)
        logs = self.model.train_function(self.batches)
        loss = float(tf.nest.flatten(logs)[0])  # waits for the step to be over
        self.callbacks.on_train_batch_end(self.taken, {"loss": loss})
        self.taken += 1

    def timed(self, steps: int) -> Times:
        """Seconds a step, by the wall's clock and by the processor's."""
        wall, processor = time.perf_counter(), time.process_time()
        for _ in range(steps):
            self.step()
        return (
            (time.perf_counter() - wall) / steps,
            (time.process_time() - processor) / steps,
        )


def paired(trials: dict[str, Trial], blocks: int, steps: int = 1) -> dict[str, list[Times]]:
    """Times blocks of steps of each trial in turn, beginning with another trial each time."""
    for trial in trials.values():
        trial.timed(3)
    names = list(trials)
    times: dict[str, list[Times]] = {name: [] for name in names}
    for block in range(blocks):
        turn = block % len(names)
        for name in names[turn:] + names[:turn]:
            times[name].append(trials[name].timed(steps))
        print(block + 1, flush=True)
    return times


def measured(config: dict, trial: Callable[[str], Trial], names: Sequence[str]) -> dict[str, Any]:
    """What a process of `overhead.py` measures: steps of all trials, or how one begins."""
    tf.config.threading.set_intra_op_parallelism_threads(config["threads"])
    if "start" not in config:
        trials = {name: trial(name) for name in names}
        return dict(paired(trials, config["blocks"], config["steps"]))
    wall, processor = time.perf_counter(), time.process_time()
    started = trial(config["start"])  # Building and compiling included.
    started.step()
    first = time.perf_counter() - wall, time.process_time() - processor
    started.timed(2)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"first_step_s": first[0], "first_step_cpu_s": first[1], "peak_memory_mib": peak}
