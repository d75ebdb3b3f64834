"""Losses for scoring connections that need no labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import losses, ops

from keras_sparse.backend.gradients import gradient
from keras_sparse.messages.names import did_you_mean
from keras_sparse.probe.calibration import calibration_batches
from keras_sparse.probe.gradients import LossGradients
from keras_sparse.probe.outputs import softmax_layer

UNIFORM, PRED_SOFTMAX, PRED_RAW = "uniform", "pred_softmax", "pred_raw"
JACOBIANS = ("jacobian_l1", "jacobian_l2")
UNSUPERVISED = (UNIFORM, PRED_SOFTMAX, PRED_RAW, *JACOBIANS)
# The Euclidean norm has no gradient at zero.
_GUARD = 1e-20


def checked_loss(loss: Any) -> Any:
    """A loss to score with: the name of one without labels, a Keras loss, or a function.

    Raises:
        ValueError: If it is none of these.
    """
    if loss is None or is_unsupervised(loss):
        return loss
    try:
        return losses.get(loss)
    except (ValueError, TypeError) as error:
        hint = did_you_mean(loss, UNSUPERVISED)
        raise ValueError(
            f"loss must be one of {', '.join(map(repr, UNSUPERVISED))}, a Keras loss or its name, "
            f"or a function loss(y, logits). Received: loss={loss!r}. {hint}".strip()
        ) from error


def is_unsupervised(loss: Any) -> bool:
    """Whether a loss is the name of one that needs no labels."""
    return isinstance(loss, str) and loss in UNSUPERVISED


def unsupervised_gradients(
    model: keras.Model,
    variables: Sequence[Any],
    loss: str,
    data: Any,
    batch_size: int,
    temperature: float,
) -> LossGradients:
    """The gradients of a loss that needs no labels.

    Args:
        model: A built model of one output, `(n, classes)`.
        variables: To differentiate by.
        loss: One of `UNSUPERVISED`. `"uniform"` is the cross-entropy with the same target for all
            classes; `"pred_softmax"` that with the mean prediction of all data as target;
            `"pred_raw"` the mean logit; `"jacobian_l1"` and `"jacobian_l2"` the mean over
            samples of the sum of absolute entries, and of the Frobenius norm, of the Jacobian of
            logits by inputs.
        data: What it is scored on, of which `"pred_softmax"` takes the mean prediction first.
        batch_size: Samples in a batch, for arrays.
        temperature: What logits are divided by, and the loss multiplied. Norms of Jacobians are
            the same at any.

    Raises:
        ValueError: If the model has several outputs, or a loss of logits meets a softmax.
    """
    outputs = getattr(model, "outputs", None) or [None]
    if len(outputs) != 1:
        raise ValueError(
            f"loss={loss!r} looks at the logits of one output, and model {model.name!r} has "
            f"{len(outputs)}. Give a function loss(y, outputs)."
        )
    softmax = softmax_layer(model)
    if softmax is not None and loss in (PRED_RAW, *JACOBIANS):
        raise ValueError(
            f"loss={loss!r} is one of logits, and model {model.name!r} ends in a softmax "
            f"({softmax!r}): its outputs always sum up to one, and a singular value of its "
            "Jacobian is zero. Give a model of logits, or use loss='uniform'."
        )
    if loss in JACOBIANS:
        return JacobianNorm(model, variables, loss)

    def logits(outputs: Any) -> Any:
        outputs = ops.cast(outputs, "float32")
        if softmax is not None:
            outputs = ops.log(ops.maximum(outputs, keras.config.epsilon()))
        return outputs / temperature

    score = _score(model, loss, data, batch_size, logits)
    return LossGradients(model, variables, lambda _, z: temperature * score(logits(z)))


def _score(
    model: keras.Model, loss: str, data: Any, batch_size: int, logits: Callable[[Any], Any]
) -> Callable[[Any], Any]:
    """The loss of each sample, from logits."""
    if loss == PRED_RAW:
        return lambda z: ops.mean(z, -1)
    if loss == UNIFORM:
        return lambda z: -ops.mean(ops.log_softmax(z, -1), -1)
    total, samples = 0.0, 0
    for x, _ in calibration_batches(model, data, batch_size, targets=False):
        predicted = ops.softmax(logits(model(x, training=False)), -1)
        predicted = np.asarray(ops.convert_to_numpy(predicted), float)
        predicted = predicted.reshape(-1, predicted.shape[-1])
        total, samples = total + predicted.sum(0), samples + len(predicted)
    target = ops.convert_to_tensor(total / samples, "float32")
    return lambda z: -ops.sum(target * ops.log_softmax(z, -1), -1)


class JacobianNorm(LossGradients):
    """The gradient of the mean norm of the Jacobians of a model's outputs by its inputs.

    ```python
    gradients = JacobianNorm(model, model.trainable_variables, "jacobian_l2")
    print([value.shape for value in gradients(x[:10], None)])
    ```

    Args:
        model: A built model of one input of floats and one output.
        variables: Float variables of the model to differentiate by.
        norm: `"jacobian_l1"` (the sum of absolute entries) or `"jacobian_l2"` (Frobenius).
    """

    def __init__(self, model: keras.Model, variables: Sequence[Any], norm: str) -> None:
        super().__init__(model, variables, lambda _, outputs: outputs)
        self._norm = norm

    def objective(self, x: Any, y: Any) -> Any:
        """The mean norm of a batch, times the scale of the gradients.

        Each sample goes through the model once for each of its outputs.
        """
        shape = tuple(self.model(x, training=False).shape)
        classes = int(np.prod(shape[1:]))
        chosen = ops.repeat(ops.eye(classes), ops.shape(x)[0], axis=0)

        def selected(values: Sequence[Any]) -> Any:
            outputs = ops.reshape(self.model(values[0], training=False), (-1, classes))
            return ops.sum(ops.cast(outputs, "float32") * chosen)

        tiles = (classes, *[1] * (len(x.shape) - 1))
        (rows,) = gradient(selected, [ops.tile(ops.convert_to_tensor(x), tiles)])
        # Of each sample in each class, as one row of all classes a sample.
        rows = ops.transpose(
            ops.reshape(ops.cast(rows, "float32"), (classes, ops.shape(x)[0], -1)), (1, 0, 2)
        )
        flat = ops.reshape(rows, (ops.shape(x)[0], -1))
        if self._norm == "jacobian_l1":
            norms = ops.sum(ops.abs(flat), -1)
        else:
            norms = ops.sqrt(ops.sum(ops.square(flat), -1) + _GUARD)
        return ops.mean(norms) * self._scale
