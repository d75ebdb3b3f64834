"""Singular values of the Jacobian of a network's logits by its inputs."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_sparse.analysis.signal.layers import layer_singular_values
from keras_sparse.analysis.signal.singular_values import SingularValues, singular_values
from keras_sparse.backend.gradients import input_gradients
from keras_sparse.messages.arguments import boolean, integer
from keras_sparse.probe.calibration import calibration_batches
from keras_sparse.probe.outputs import softmax_layer
from keras_sparse.probe.variables import check_built

# Rows of Jacobians that are computed at a time: as many samples go through the model and back.
_ROWS = 256


class Jacobians:
    """The Jacobians of a model's logits by its inputs, in inference mode, compiled once.

    At most 256 rows are computed at a time, so that the memory is that of as many samples going
    through the model and back, and of the Jacobian of one sample (logits times inputs) at least.

    ```python
    print(Jacobians(model)(x[:10]).shape)  # (10, 4, 64)
    ```

    Args:
        model: A built Keras model of one input of floats and one output, the logits.

    Raises:
        ValueError: If the model is of another kind, or ends in a softmax.
    """

    def __init__(self, model: keras.Model) -> None:
        check_built(model)
        softmax = softmax_layer(model)
        if softmax is not None:
            raise ValueError(
                f"Model {model.name!r} ends in a softmax ({softmax!r}): its outputs always sum up "
                "to one, so that a singular value of its Jacobian is zero. Give a model of logits, "
                "such as the same one without that activation, compiled with a loss of "
                "from_logits=True."
            )
        inputs, outputs = (getattr(model, name, None) or [None] for name in ("inputs", "outputs"))
        floats = inputs[0] is None or keras.backend.is_float_dtype(inputs[0].dtype)
        if len(inputs) != 1 or len(outputs) != 1 or not floats:
            raise ValueError(
                f"A Jacobian is of one output by one input of floats. Model {model.name!r} has "
                f"{len(inputs)} inputs and {len(outputs)} outputs"
                + ("." if floats else ", and takes integers.")
                + " Give the part of the model that has, such as the one behind an embedding."
            )
        self.model = model
        self._rows = input_gradients(self._selected, model.variables)

    def _selected(self, x: Any, chosen: Any) -> Any:
        outputs = ops.reshape(self.model(x, training=False), ops.shape(chosen))
        return ops.sum(ops.cast(outputs, "float32") * chosen)

    def __call__(self, x: Any) -> np.ndarray:
        """The Jacobians of some samples, of shape `(samples, logits, inputs)`.

        Args:
            x: The samples; all are in memory together.
        """
        x = np.asarray(x, "float32")
        samples = len(x)
        logits = int(np.prod(self.model(x[:1], training=False).shape[1:]))
        each = x.reshape(samples, -1).shape[1]
        sample = np.repeat(np.arange(samples), logits)
        logit = np.tile(np.arange(logits), samples)
        # All of one size, for which it is compiled once.
        size = math.ceil(len(sample) / math.ceil(len(sample) / _ROWS))
        rows = np.empty((len(sample), each), "float32")
        for first in range(0, len(rows), size):
            at = np.arange(first, first + size) % len(rows)
            chosen = np.eye(logits, dtype="float32")[logit[at]]
            found = self._rows(ops.convert_to_tensor(x[sample[at]]), ops.convert_to_tensor(chosen))
            rows[at] = np.asarray(ops.convert_to_numpy(found), "float32").reshape(size, each)
        return rows.reshape(samples, logits, each)

    def singular_values(self, data: Any, batch_size: int = 32) -> SingularValues:
        """The singular values for all of some data.

        Args:
            data: What `calibration_batches` takes; targets are not looked at.
            batch_size: Samples whose Jacobians are in memory together, for arrays.

        Raises:
            ValueError: For unsuitable data, or outputs that are not finite.
        """
        found = []
        for x, _ in calibration_batches(self.model, data, batch_size, targets=False):
            found.append(singular_values(self(keras.tree.flatten(x)[0])))
        return SingularValues(np.concatenate(found))


def jacobian_singular_values(
    model: keras.Model, x: Any, *, layerwise: bool = False, batch_size: int = 32
) -> Any:
    """The singular values of the Jacobian of a network's logits by its inputs, for each sample.

    The model runs in inference mode and nothing of it changes. Where all values are near 1, what
    enters the network reaches its end, and gradients reach its beginning, neither amplified nor
    attenuated.

    ```python
    found = ks.jacobian_singular_values(model, x[:20])
    print(found.mean, found.std, found.condition)
    ```

    Args:
        model: A built Keras model of one input of floats and one output, the logits.
        x: Samples: inputs, `(x, y)`, or a finite iterable of batches of them.
        layerwise: Whether to give those of each layer, a dict by the names of layers: see
            `layer_singular_values`.
        batch_size: Samples whose Jacobians are in memory together, for arrays. A Jacobian holds
            logits times inputs numbers.

    Returns:
        `SingularValues`, or a dict of them.

    Raises:
        ValueError: For arguments out of range, unsuitable data, a model that ends in a softmax or
            has several inputs or outputs, or Jacobians that are not finite.

    Source: Lee (2020), Eq. 4.2 and Appendix 4.B.
    """
    boolean("layerwise", layerwise)
    integer("batch_size", batch_size)
    if layerwise:
        return layer_singular_values(model, x)
    return Jacobians(model).singular_values(x, batch_size)
