"""How often predictions are right."""

from __future__ import annotations

from typing import Any

import numpy as np


def accuracy(predictions: np.ndarray, targets: np.ndarray, loss: Any = None) -> float:
    """The fraction of samples whose class is predicted.

    Args:
        predictions: Shape `(m, classes)`, or `(m, 1)` for two classes.
        targets: Classes of shape `(m,)` or `(m, 1)`, or one-hot as the predictions.
        loss: What the model is trained with: where it takes logits, a single output is of the
            second class from 0 on and not from 0.5.
    """
    if predictions.shape[-1] == 1:
        border = 0.0 if getattr(loss, "from_logits", False) else 0.5
        return float(np.mean((predictions.ravel() > border) == (targets.ravel() > 0.5)))
    wanted = targets.argmax(-1) if targets.shape == predictions.shape else targets.ravel()
    return float(np.mean(predictions.argmax(-1) == wanted))
