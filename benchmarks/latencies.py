"""Seconds of inferences in Keras."""

import time
from collections.abc import Sequence

import keras
import numpy as np

_WARM_UPS = 2


def keras_latencies(models: Sequence[keras.Model], x: np.ndarray, runs: int = 15) -> list[float]:
    """Median seconds of compiled inferences, the models taking turns."""
    import tensorflow as tf

    calls = [tf.function(model) for model in models]
    times = np.zeros((len(calls), _WARM_UPS + runs))
    for run in range(_WARM_UPS + runs):
        for i, call in enumerate(calls):
            began = time.perf_counter()
            call(x, training=False)
            times[i, run] = time.perf_counter() - began
    return np.median(times[:, _WARM_UPS:], axis=1).tolist()
