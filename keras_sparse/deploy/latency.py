"""How long an inference takes as a LiteRT file on this machine."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_sparse.deploy.conversion import convert, trace
from keras_sparse.deploy.inference import check_model, float32_inference
from keras_sparse.deploy.interpreter import interpreting_all
from keras_sparse.deploy.signature import read_signature
from keras_sparse.messages.arguments import boolean, integer, wrong

_WARM_UPS = 3
# Of a comparison with one model: how many inferences, and how long they take together.
_FEWEST, _MOST, _SECONDS = 30, 500, 0.3


class LiteRTCost(NamedTuple):
    """What a model costs as a LiteRT file. Made by `litert_costs`.

    ```python
    import keras
    from keras_sparse import deploy

    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(10)])
    (cost,) = deploy.litert_costs([model], runs=5)
    print(cost.seconds, cost.bytes)
    ```

    Args:
        seconds: Median time of an inference.
        bytes: Of the file.
    """

    seconds: float
    bytes: int


def litert_latency(
    model: keras.Model,
    inputs: Any = None,
    batch_size: int = 1,
    runs: int = 30,
    threads: int = 1,
) -> float:
    """Measures the median time of an inference of a model converted to LiteRT.

    The model is converted dense, in memory, and run under LiteRT's default delegates (XNNPACK).

    ```python
    import keras
    from keras_sparse import deploy

    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(64), keras.layers.Dense(10)])
    seconds = deploy.litert_latency(model)
    ```

    Args:
        model: A built Keras model.
        inputs: Samples that fix the sizes which the model leaves open, as for `to_litert`.
        batch_size: Samples in an inference.
        runs: Inferences to take the median of.
        threads: Threads to compute with.

    Returns:
        Seconds.

    Raises:
        ValueError: If an argument is wrong, or the model cannot be exported as it is.
        LiteRTConversionError: If the model holds what LiteRT does not have.
    """
    return litert_costs([model], inputs, batch_size, runs, threads)[0].seconds


def litert_costs(
    models: Sequence[keras.Model],
    inputs: Any = None,
    batch_size: int = 1,
    runs: int = 30,
    threads: int = 1,
    sparse: bool = False,
) -> list[LiteRTCost]:
    """Measures models against each other: they take turns, inference by inference.

    What else the machine does then slows all of them alike.

    ```python
    import keras
    from keras_sparse import deploy

    sizes = (64, 32)
    models = [keras.Sequential([keras.Input((8,)), keras.layers.Dense(n)]) for n in sizes]
    before, after = deploy.litert_costs(models)
    print(after.seconds / before.seconds)
    ```

    Args:
        models: Built Keras models that take the same inputs.
        inputs: As for `litert_latency`, like the other arguments.
        batch_size: Samples in an inference.
        runs: Inferences of each to take the median of.
        threads: Threads to compute with.
        sparse: Whether to leave pruned weights out of the files, as `to_litert` does.

    Returns:
        The cost of each.

    Raises:
        ValueError: As `litert_latency`, like the other errors.
        LiteRTConversionError: If a model holds what LiteRT does not have.
    """
    for name, value in (("batch_size", batch_size), ("runs", runs), ("threads", threads)):
        integer(name, value)
    boolean("sparse", sparse)
    if not isinstance(models, (list, tuple)) or not models:
        raise wrong("models", models, "a list of Keras models")
    files = [_converted(model, inputs, batch_size, sparse) for model in models]
    with interpreting_all(files, threads=threads) as interpreters:
        times = np.median(_seconds_in_turn(interpreters, runs), axis=1)
    return [LiteRTCost(float(t), len(file)) for t, file in zip(times, files, strict=True)]


class RelativeLatency:
    """Measures models against one of them, which is converted once: they take turns.

    Args:
        model: What they are compared with.
        inputs: As for `litert_latency`.

    Raises:
        ValueError: As `litert_latency`.
    """

    def __init__(self, model: keras.Model, inputs: Any = None) -> None:
        self._inputs = inputs
        self._file = _converted(model, inputs, 1, sparse=False)
        with interpreting_all([self._file], threads=1) as interpreters:
            seconds = np.median(_seconds_in_turn(interpreters, _FEWEST))
        # The shorter an inference is, the more of them it takes to tell two apart.
        self._runs = int(np.clip(_SECONDS / seconds, _FEWEST, _MOST))

    def __call__(self, model: keras.Model) -> float:
        """The part of the time that a model takes.

        Raises:
            ValueError: As `litert_latency`.
        """
        files = [self._file, _converted(model, self._inputs, 1, sparse=False)]
        with interpreting_all(files, threads=1) as interpreters:
            before, after = np.median(_seconds_in_turn(interpreters, self._runs), axis=1)
        return float(after / before)


def _converted(model: keras.Model, inputs: Any, batch_size: int, sparse: bool) -> bytes:
    check_model(model)
    signature = read_signature(model, inputs, batch_size)
    with float32_inference(model):
        return convert(trace(model, signature), sparse=sparse)


def _seconds_in_turn(interpreters: Sequence[Any], runs: int) -> np.ndarray:
    """Seconds of each inference: a row an interpreter."""
    for interpreter in interpreters:
        interpreter.allocate_tensors()
        random = np.random.default_rng(0)
        for detail in interpreter.get_input_details():
            whole = not np.issubdtype(detail["dtype"], np.floating)
            values = np.zeros(detail["shape"]) if whole else random.normal(size=detail["shape"])
            interpreter.set_tensor(detail["index"], values.astype(detail["dtype"]))
    times = np.zeros((len(interpreters), _WARM_UPS + runs))
    for run in range(_WARM_UPS + runs):
        for i, interpreter in enumerate(interpreters):
            start = time.perf_counter()
            interpreter.invoke()
            times[i, run] = time.perf_counter() - start
    return times[:, _WARM_UPS:]
