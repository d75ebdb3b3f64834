"""Classifiers that learn from a stream: what they give out, and what they are compiled with."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_sparse.backend.training_state import steps_are_pure
from keras_sparse.messages.arguments import boolean, instance, optional, wrong
from keras_sparse.probe.outputs import softmax_layer


def check_classifier(model: keras.Model, logits: bool = False) -> tuple[keras.Model, int]:
    """A built model that tells classes apart, and how many.

    Args:
        model: It.
        logits: Whether it must give logits.

    Raises:
        ValueError: If it is none.
    """
    instance("model", model, keras.Model, "a built keras.Model")
    shape = getattr(model, "output_shape", None) if model.built else None
    if (
        not isinstance(shape, tuple)
        or len(shape) != 2
        or not isinstance(shape[-1], int)
        or len(model.inputs) != 1
    ):
        allowed = "a built Sequential or functional model of one input and one output (n, classes)"
        cure = "A subclassed one can be the only layer between an Input and an output."
        raise wrong("model", model, allowed, cure)
    last = softmax_layer(model) if logits else None
    if last is not None:
        cure = f"Give the model without the softmax of its layer {last!r}."
        raise wrong("model", model, "a classifier of logits", cure)
    return model, shape[-1]


def gives_logits(model: keras.Model, from_logits: bool | None = None) -> bool:
    """Whether a classifier's outputs are logits.

    Args:
        model: It, compiled or not.
        from_logits: What the user says of it; `None` for nothing.

    Raises:
        ValueError: If its loss, its last layer and the user do not agree.
    """
    optional(boolean, "from_logits", from_logits)
    last, of_loss = softmax_layer(model), _loss_takes_logits(model)
    if last is not None and of_loss:
        raise ValueError(
            f"The loss of model {model.name!r} takes logits, and the model's layer {last!r} makes "
            "probabilities of them. Compile it with from_logits=False."
        )
    known = False if last is not None else of_loss
    if None not in (known, from_logits) and known != from_logits:
        source = "its loss says so" if last is None else f"layer {last!r} is a softmax"
        what = "logits" if known else "probabilities"
        cure = f"The outputs of model {model.name!r} are {what}: {source}."
        raise wrong("from_logits", from_logits, f"{known} or left out", cure)
    if known is not None:
        return known
    return True if from_logits is None else from_logits


def _loss_takes_logits(model: keras.Model) -> bool | None:
    """What a compiled model's loss says of its outputs, `None` if it says nothing."""
    loss = model.loss if model.compiled else None
    if isinstance(loss, str):
        loss = keras.losses.get(loss)
    if isinstance(loss, keras.losses.Loss):
        return loss.get_config().get("from_logits")
    return False if loss is keras.losses.categorical_crossentropy else None


def compile_as_the_source(model: keras.Model, from_logits: bool) -> None:
    """Compiles a model with the source's optimizer."""
    model.compile(
        keras.optimizers.SGD(0.1, momentum=0.9, weight_decay=1e-5),
        keras.losses.CategoricalCrossentropy(from_logits=from_logits),
        jit_compile="auto" if steps_are_pure() else False,
    )


def check_soft_labels(model: keras.Model) -> None:
    """Checks that a compiled model's loss takes a share of each class.

    Raises:
        ValueError: If it takes class numbers.
    """
    loss = model.loss
    if "sparse" in (loss if isinstance(loss, str) else type(loss).__name__).lower():
        raise wrong(
            "loss", loss, "one of soft labels", "Compile with keras.losses.CategoricalCrossentropy."
        )


def softmax(scores: Any) -> np.ndarray:
    """Probabilities of logits."""
    return keras.ops.convert_to_numpy(keras.ops.softmax(scores))
