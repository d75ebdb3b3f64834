"""A loss of logits that are divided by a temperature, whatever form the model gives them in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
from keras import losses, ops

_OF_SOFTMAX = (
    losses.CategoricalCrossentropy,
    losses.SparseCategoricalCrossentropy,
    losses.CategoricalFocalCrossentropy,
)
_OF_SIGMOID = (losses.BinaryCrossentropy, losses.BinaryFocalCrossentropy)


def tempered_loss(model: keras.Model, loss: Any, temperature: float) -> Any:
    """A loss that sees logits divided by a temperature, times the temperature.

    The factor gives gradients back the size that they have at temperature 1. Where a
    cross-entropy takes probabilities, their logits are divided: of the outputs `p` of a softmax
    it sees `softmax(log(p) / temperature)`.

    Args:
        model: The model whose outputs the loss looks at.
        loss: A Keras loss, its name, or a function `loss(y, logits)`. Defaults to the compiled
            loss.
        temperature: What logits are divided by; at 1 the loss is returned as it is.

    Raises:
        ValueError: If the loss does not say that it takes logits or probabilities.
    """
    given = model.loss if loss is None else loss
    if temperature == 1 or given is None:
        return loss
    compiled = model._compile_loss if loss is None else losses.get(loss)
    dividers: Any
    if isinstance(given, Mapping):
        dividers = {name: _divider(each, temperature, False) for name, each in given.items()}
    elif isinstance(given, (list, tuple)):
        dividers = [_divider(each, temperature, False) for each in given]
    else:
        dividers = _divider(given, temperature, loss is not None)

    def tempered(y: Any, outputs: Any) -> Any:
        flat = keras.tree.flatten(outputs)
        pairs = zip(_in_order(model, dividers, outputs, len(flat)), flat, strict=True)
        divided = [divide(output) for divide, output in pairs]
        return temperature * compiled(y, keras.tree.pack_sequence_as(outputs, divided))

    return tempered


def _in_order(model: keras.Model, dividers: Any, outputs: Any, count: int) -> Sequence[Any]:
    """What divides each of the outputs, in their flat order."""
    if isinstance(dividers, Mapping):
        names = sorted(outputs) if isinstance(outputs, Mapping) else model.output_names
        return [dividers.get(name, _unchanged) for name in names]
    return dividers if isinstance(dividers, list) else [dividers] * count


def _unchanged(output: Any) -> Any:
    return output


def _divider(loss: Any, temperature: float, takes_logits: bool) -> Callable[[Any], Any]:
    """What divides the logits of one output.

    Args:
        loss: The output's loss.
        temperature: What to divide by.
        takes_logits: Whether a function that is not one of Keras's is known to take logits.
    """
    if loss is None:
        return _unchanged
    found = losses.get(loss)
    axis = getattr(found, "axis", -1)

    def logits(output: Any) -> Any:
        return ops.cast(output, "float32") / temperature

    def of_softmax(output: Any) -> Any:
        return ops.softmax(ops.log(_clipped(output)) / temperature, axis)

    def of_sigmoid(output: Any) -> Any:
        kept = _clipped(output)
        return ops.sigmoid((ops.log(kept) - ops.log1p(-kept)) / temperature)

    if getattr(found, "from_logits", False):
        return logits
    if isinstance(found, _OF_SOFTMAX) or found in (
        losses.categorical_crossentropy,
        losses.sparse_categorical_crossentropy,
        losses.categorical_focal_crossentropy,
    ):
        return of_softmax
    if isinstance(found, _OF_SIGMOID) or found in (
        losses.binary_crossentropy,
        losses.binary_focal_crossentropy,
    ):
        return of_sigmoid
    if takes_logits and not isinstance(found, losses.Loss) and not _is_of_keras(found):
        return logits
    raise ValueError(
        "A temperature divides logits, and it is not known where this loss has any. Give "
        "loss=..., a cross-entropy or your own function of targets and logits to score with, or "
        f"temperature=1. Received: loss={loss!r}, temperature={temperature}"
    )


def _is_of_keras(function: Any) -> bool:
    return getattr(losses, getattr(function, "__name__", ""), None) is function


def _clipped(probabilities: Any) -> Any:
    """Away from 0 and 1, as far as Keras's own losses clip them."""
    small = keras.config.epsilon()
    return ops.clip(ops.cast(probabilities, "float32"), small, 1 - small)
