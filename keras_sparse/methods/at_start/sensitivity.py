"""What each weight matters to the loss, or to its gradient, measured on data before training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_sparse.messages.arguments import number, one_of
from keras_sparse.methods.at_start.temperature import tempered_loss
from keras_sparse.methods.at_start.unsupervised import is_unsupervised, unsupervised_gradients
from keras_sparse.probe.calibration import calibration_batches
from keras_sparse.probe.gradients import LossGradients

CRITERIA = ("snip", "gradient", "grasp")
ACCUMULATIONS = ("gradient", "saliency", "ema")
GRASP_TEMPERATURE = 200.0


class ZeroScoresError(ValueError):
    """All scores are zero: no weight is better than another."""


def check_sensitivity(criterion: str, accumulate: str, decay: float, temperature: float) -> None:
    """Checks the arguments of `connection_sensitivity`, before any data is looked at.

    Raises:
        ValueError: If one is out of range, or they contradict each other.
    """
    one_of("criterion", criterion, CRITERIA)
    one_of("accumulate", accumulate, ACCUMULATIONS)
    number("decay", decay, "[0, 1)")
    if criterion == "grasp" and accumulate != "gradient":
        raise ValueError(
            "GraSP's scores are signed and add up over batches as they are. Received: "
            f"accumulate={accumulate!r}. Leave accumulate out."
        )
    number("temperature", temperature, "(0, inf)")


def connection_sensitivity(
    model: keras.Model,
    variables: Sequence[Any],
    data: Any,
    *,
    criterion: str = "snip",
    loss: Any = None,
    batch_size: int = 128,
    accumulate: str = "gradient",
    decay: float = 0.9,
    temperature: float = 1.0,
    normalize: bool = True,
    gradients: LossGradients | None = None,
) -> list[np.ndarray]:
    """Scores weights by their effect on the loss of some data; the highest are to be kept.

    `"snip"` is `|w g|`, the effect on the loss of a connection that is about to be removed, and
    `"gradient"` is `|g|`. `"grasp"` is `w (H g)`: removing a weight changes the squared norm of
    the gradient, to first order, by `-2 w (H g)`, so that those with the lowest `w (H g)` are
    the ones whose removal harms the gradient flow least. The model runs in inference mode and
    nothing of it changes.

    ```python
    scores = connection_sensitivity(model, [layer.kernel for layer in dense], (x, y))
    ```

    Args:
        model: A built Keras model.
        variables: The weights to score.
        data: What `calibration_batches` takes.
        criterion: `"snip"`, `"gradient"` or `"grasp"`.
        loss: As in `LossGradients`, or the name of a loss that needs no labels: see
            `unsupervised_gradients`.
        batch_size: Samples in a batch, for arrays.
        accumulate: `"gradient"` (scores of the whole data, whatever the batches), `"saliency"`
            (the mean of the batches' absolute scores) or `"ema"` (their moving average).
        decay: Decay of that moving average.
        temperature: What logits are divided by: see `tempered_loss`.
        normalize: Whether absolute scores sum up to one over all weights.
        gradients: Those of the loss by `variables`, if a caller scores several times and compiles
            them once; `loss` and `temperature` are then theirs.

    Returns:
        Float32 arrays of the variables' shapes.

    Raises:
        ValueError: For arguments out of range, unsuitable data, a temperature where the loss
            takes no logits, or scores that are all zero or not finite.

    Source: Lee (2020), Eqs. 3.5-3.7, Sections 3.4.2 and 4.5.2; GraSP: Wang, Zhang and Grosse
    (2020).
    """
    check_sensitivity(criterion, accumulate, decay, temperature)
    labels = not is_unsupervised(loss)
    if gradients is None and labels:
        gradients = LossGradients(model, variables, tempered_loss(model, loss, temperature))
    elif gradients is None:
        gradients = unsupervised_gradients(model, variables, loss, data, batch_size, temperature)
    weights = [_array(variable) for variable in variables]

    def batches() -> Iterator[tuple[int, Any, Any]]:
        for x, y in calibration_batches(model, data, batch_size, targets=labels):
            yield int(keras.tree.flatten(x)[0].shape[0]), x, y if labels else None

    def mean(values: Callable[[Any, Any], Sequence[Any]]) -> list[np.ndarray]:
        return _average((n, [_array(v) for v in values(x, y)]) for n, x, y in batches())

    def effect(x: Any, y: Any) -> list[np.ndarray]:
        found = [_array(gradient) for gradient in gradients(x, y)]
        if criterion == "gradient":
            return found
        return [weight * gradient for weight, gradient in zip(weights, found, strict=True)]

    def saliency(x: Any, y: Any) -> list[np.ndarray]:
        return [np.abs(value) for value in effect(x, y)]

    if criterion == "grasp":
        flow = mean(gradients)
        products = mean(lambda x, y: gradients.hessian_product(x, y, flow))
        scores = [weight * product for weight, product in zip(weights, products, strict=True)]
    elif accumulate == "gradient":
        scores = [np.abs(value) for value in mean(effect)]
    elif accumulate == "saliency":
        scores = mean(saliency)
    else:
        scores = _moving_average((saliency(x, y) for _, x, y in batches()), decay)
    total = check_scores(scores, f"The {criterion} scores of model {model.name!r}")
    return [(score / (total if normalize else 1)).astype("float32") for score in scores]


def check_scores(scores: Sequence[np.ndarray], what: str) -> float:
    """The sum of absolute scores.

    Raises:
        ZeroScoresError: If it is zero, so that scores tell nothing.
        ValueError: If it is not finite.
    """
    total = float(sum(np.abs(score).sum() for score in scores))
    if not np.isfinite(total):
        raise ValueError(
            f"{what} are not finite. Does the model overflow on this data? Check its weights, "
            "scale its inputs, or give weights to score with (initializer=...)."
        )
    if total == 0:
        raise ZeroScoresError(
            f"{what} are all zero, so no weight is better than another. Are all units dead, all "
            "weights zero, the targets predicted exactly, or the outputs a softmax that sums up "
            "to a constant?"
        )
    return total


def _array(tensor: Any) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(ops.cast(tensor, "float32")), np.float64)


def _average(weighted: Iterator[tuple[int, list[np.ndarray]]]) -> list[np.ndarray]:
    samples = 0
    sums: list[np.ndarray] = []
    for n, values in weighted:
        scaled = [n * value for value in values]
        sums = [a + b for a, b in zip(sums, scaled, strict=True)] if sums else scaled
        samples += n
    return [value / samples for value in sums]


def _moving_average(each: Iterator[list[np.ndarray]], decay: float) -> list[np.ndarray]:
    average = next(each)
    for values in each:
        pairs = zip(average, values, strict=True)
        average = [decay * old + (1 - decay) * new for old, new in pairs]
    return average
