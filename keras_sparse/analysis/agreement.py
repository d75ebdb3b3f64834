"""How alike a sparse model and a dense one are, sample by sample."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_sparse.messages.arguments import array, boolean, integer, wrong
from keras_sparse.probe.calibration import calibration_batches


def sample_agreement(sparse: Any, dense: Any, x: Any = None, batch_size: int = 256) -> float:
    """The fraction of samples on which two models predict the same class, rightly or wrongly.

    ```python
    ks.sample_agreement(sparse_model, dense_model, x_test)
    ```

    Args:
        sparse: A model, or its outputs: an array of shape `(samples, classes)`.
        dense: The same of the model to compare with.
        x: Inputs for the models; left out where outputs are given.
        batch_size: Samples in a batch.

    Returns:
        A number in [0, 1].

    Raises:
        ValueError: If the outputs have different shapes, or inputs are missing.

    Source: Peste (2023), 3.6.1.
    """
    one, two = model_outputs(sparse, dense, x, batch_size)
    return float(np.mean(one.argmax(-1) == two.argmax(-1)))


def sparse_dense_cross_entropy(
    sparse: Any, dense: Any, x: Any = None, *, from_logits: bool = False, batch_size: int = 256
) -> float:
    """The mean cross-entropy of a sparse model's predictions with the dense one's as target.

    Args:
        sparse: A model, or its outputs: an array of shape `(samples, classes)`.
        dense: The same of the dense model. To get the reverse direction, swap the two.
        x: Inputs for the models; left out where outputs are given.
        from_logits: Whether outputs are logits rather than probabilities.
        batch_size: Samples in a batch.

    Returns:
        `mean_x -sum_c p_dense(c|x) log p_sparse(c|x)`, in nats.

    Raises:
        ValueError: If the outputs have different shapes, or inputs are missing.

    Source: Peste (2023), 3.6.1.
    """
    boolean("from_logits", from_logits)
    one, two = model_outputs(sparse, dense, x, batch_size)
    if from_logits:
        one, two = _softmax(one), _softmax(two)
    elif any((each < 0).any() or np.abs(each.sum(-1) - 1).max() > 1e-2 for each in (one, two)):
        cure = "They are no probabilities that sum to 1."
        raise wrong("from_logits", from_logits, "True for outputs that are logits", cure)
    return float(-(two * np.log(np.maximum(one, 1e-30))).sum(-1).mean())


def model_outputs(
    sparse: Any, dense: Any, x: Any, batch_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """The outputs of two models, `(samples, classes)`; the arguments are those above."""
    integer("batch_size", batch_size)
    models = [model for model in (sparse, dense) if isinstance(model, keras.Model)]
    if models and x is not None and not hasattr(x, "shape"):
        # Read once: it may come in another order the next time.
        batches = [each for each, _ in calibration_batches(models[0], x, batch_size)]
        x = keras.tree.map_structure(lambda *parts: np.concatenate(parts), *batches)
    one, two = (
        _predict(name, model, x, batch_size)
        for name, model in {"sparse": sparse, "dense": dense}.items()
    )
    if one.ndim == 2 and one.shape[1] < 2:
        raise ValueError(
            "Classes are told by two outputs at least. Received: outputs of shape "
            f"{one.shape}. Give outputs (1 - p, p) for the single one of a sigmoid."
        )
    if one.shape != two.shape or not len(one):
        raise ValueError(
            "Outputs to compare must have the same shape (samples, classes), with at least one "
            f"sample. Received: {one.shape} and {two.shape}"
        )
    return one, two


def _predict(name: str, model: Any, x: Any, batch_size: int) -> np.ndarray:
    if not isinstance(model, keras.Model):
        outputs = array(name, model)
        if outputs.ndim != 2:
            raise wrong(name, model, "a model or its outputs, of shape (samples, classes)")
        return outputs
    if x is None:
        raise ValueError("Models need inputs x to be compared on.")
    return np.asarray(model.predict(x, batch_size=batch_size, verbose=0), float)


def _softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)
