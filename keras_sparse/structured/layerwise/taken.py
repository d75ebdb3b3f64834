"""What the layer that a group's units enter is called with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_sparse.probe.calibration import calibration_batches
from keras_sparse.probe.calls import run_recorded
from keras_sparse.structured.layerwise.uses import Use
from keras_sparse.structured.training import Samples


def taken(model: keras.Model, use: Use, samples: Samples) -> Iterator[np.ndarray]:
    """What the layer takes of each batch, with as much of the network run as that needs.

    Args:
        model: The network.
        use: Of the layer.
        samples: What it is run on; targets play no part.
    """
    made = use.call.outputs[0]
    # Of a model inside of the network all has to run: its tensors are not those of the network.
    inside = any(made is y for call in use.graph.calls for y in call.outputs)
    needed = keras.Model(model.inputs, made) if inside else model
    seen: list[np.ndarray] = []

    def note(layer: Any, inputs: Any, outputs: Any) -> None:
        seen.append(ops.convert_to_numpy(inputs))

    for x, _ in calibration_batches(model, samples.data, samples.batch_size, targets=False):
        seen.clear()
        run_recorded(needed, [use.layer], x, note)
        yield from seen
