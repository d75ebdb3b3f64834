"""How much the gradients of single examples differ."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_sparse.messages.arguments import integer
from keras_sparse.probe.calibration import calibration_batches
from keras_sparse.probe.gradients import LossGradients
from keras_sparse.probe.variables import check_built


class GradientNoise(NamedTuple):
    """Gradients of single examples, summed up over all weights.

    Args:
        variance: `mean_i ||grad l_i - grad f||^2`, the trace of their covariance.
        squared_norm: `||grad f||^2`.
    """

    variance: float
    squared_norm: float

    @property
    def scale(self) -> float:
        """The simple noise scale, their ratio: about the batch size up to which larger ones pay."""
        return self.variance / self.squared_norm if self.squared_norm else float("inf")


def gradient_noise(
    model: keras.Model, data: Any, *, loss: Any = None, samples: int = 1000
) -> GradientNoise:
    """Measures the gradients of single examples. Nothing of the model changes.

    ```python
    noise = gradient_noise(model, (x, y), samples=16)
    noise.variance, noise.scale
    ```

    Args:
        model: A built, compiled model, whose zero weights count as pruned.
        data: `(x, y)`, or a finite iterable of such batches.
        loss: A Keras loss. Defaults to the compiled one.
        samples: Examples to look at, the first of the data.

    Raises:
        ValueError: If an argument is out of range, or the data do not suit.

    Source: Lee (2020), Appendix 5.C (variance); McCandlish et al. (2018), Eq. 2.9 (noise scale).
    """
    check_built(model)
    integer("samples", samples, 2)
    weights = model.trainable_variables
    gradients = LossGradients(model, weights, loss)
    kept = [np.asarray(ops.convert_to_numpy(each)) != 0 for each in weights]
    # Only kernels are pruned: a bias or a shift of zero is where it begins.
    kept = [mask if mask.ndim > 1 else np.ones_like(mask) for mask in kept]
    total, squares, count = [np.zeros(mask.shape) for mask in kept], 0.0, 0
    for x, y in calibration_batches(model, data, 1):
        rows = int(keras.tree.flatten(x)[0].shape[0])
        for row in range(rows):
            one = keras.tree.map_structure(lambda side, row=row: side[row : row + 1], (x, y))
            found = [np.asarray(ops.convert_to_numpy(g), float) for g in gradients(*one)]
            found = [np.where(mask, g, 0.0) for g, mask in zip(found, kept, strict=True)]
            total = [a + b for a, b in zip(total, found, strict=True)]
            squares += sum(float(np.sum(g**2)) for g in found)
            count += 1
            if count == samples:
                break
        if count == samples:
            break
    mean = sum(float(np.sum((g / count) ** 2)) for g in total)
    return GradientNoise(squares / count - mean, mean)


def gradient_variance(model: keras.Model, data: Any, **kwargs: Any) -> float:
    """`beta`, the variance of the gradients of single examples, as `gradient_noise` measures it.

    Args:
        model: As for `gradient_noise`, like the others.
        data: See there.
        **kwargs: See there.
    """
    return gradient_noise(model, data, **kwargs).variance


def noise_scale(model: keras.Model, data: Any, **kwargs: Any) -> float:
    """The simple gradient noise scale, as `gradient_noise` measures it.

    Args:
        model: As for `gradient_noise`, like the others.
        data: See there.
        **kwargs: See there.
    """
    return gradient_noise(model, data, **kwargs).scale
