"""What pruning takes of training: samples, a loss, and fine-tuning between steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras


@dataclasses.dataclass(frozen=True)
class Samples:
    """What is looked at besides the weights.

    Args:
        data: Inputs, with targets where those are looked at.
        loss: Of the model's predictions; `None` for the one that the model is compiled with.
        batch_size: Samples in a batch.
        seed: Seed of random scores.
    """

    data: Any = None
    loss: Any = None
    batch_size: int = 128
    seed: int | None = None


def loss_of(model: keras.Model, loss: Any) -> Any:
    """The loss that is given or that the model is compiled with, for the smaller models too."""
    return loss if loss is not None else getattr(model, "loss", None)


def fine_tuned(model: keras.Model, fine_tune: Callable[[keras.Model], Any] | None) -> keras.Model:
    """The model after fine-tuning, in place or as the model that is returned."""
    tuned = None if fine_tune is None else fine_tune(model)
    return tuned if isinstance(tuned, keras.Model) else model
