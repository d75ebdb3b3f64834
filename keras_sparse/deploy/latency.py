"""How long an inference takes as a LiteRT file on this machine."""

from __future__ import annotations

import time
from typing import Any

import keras
import numpy as np

from keras_sparse.deploy.conversion import convert, trace
from keras_sparse.deploy.inference import check_model, float32_inference
from keras_sparse.deploy.interpreter import interpreting
from keras_sparse.deploy.signature import read_signature
from keras_sparse.messages.arguments import integer

_WARM_UPS = 3


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
    check_model(model)
    for name, value in (("batch_size", batch_size), ("runs", runs), ("threads", threads)):
        integer(name, value)
    signature = read_signature(model, inputs, batch_size)
    with float32_inference(model):
        contents = convert(trace(model, signature), sparse=False)
    with interpreting(contents, threads=threads) as interpreter:
        return _median_time(interpreter, runs)


def _median_time(interpreter: Any, runs: int) -> float:
    interpreter.allocate_tensors()
    random = np.random.default_rng(0)
    for detail in interpreter.get_input_details():
        values = random.normal(size=detail["shape"])
        whole = not np.issubdtype(detail["dtype"], np.floating)
        values = np.zeros(detail["shape"]) if whole else values
        interpreter.set_tensor(detail["index"], values.astype(detail["dtype"]))
    times = []
    for _ in range(_WARM_UPS + runs):
        start = time.perf_counter()
        interpreter.invoke()
        times.append(time.perf_counter() - start)
    return float(np.median(times[_WARM_UPS:]))
