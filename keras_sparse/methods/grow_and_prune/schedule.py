"""The schedule of cyclic grow-and-prune: how long each step lasts, and what grows in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from keras_sparse.messages.arguments import integer, optional
from keras_sparse.messages.names import unknown_name
from keras_sparse.sparsity.allocation import check_sparsity

ORDERS = ("cyclic", "random")


class Lengths(NamedTuple):
    """How the epochs of a run are shared out.

    Args:
        steps: K, how many times a partition grows.
        epochs_per_step: T, epochs for which it is dense.
        finetune_epochs: T', epochs at the end in which nothing is dense.
    """

    steps: int
    epochs_per_step: int
    finetune_epochs: int

    @property
    def epochs(self) -> int:
        """Epochs in all."""
        return self.steps * self.epochs_per_step + self.finetune_epochs


def gap_schedule(steps: int, partitions: int) -> list[tuple[int, int]]:
    """Which partition each step grows, and which it prunes before that.

    ```python
    gap_schedule(4, 3)  # [(0, 2), (1, 0), (2, 1), (0, 2)]
    ```

    Args:
        steps: K, how many steps.
        partitions: kappa, how many partitions.

    Returns:
        A pair `(grow, prune)` for each step. What step 0 prunes is sparse already.

    Raises:
        ValueError: If one is not an integer of at least 1.

    Source: Ma et al. (2022), Algorithm 1.
    """
    integer("steps", steps)
    integer("partitions", partitions)
    return [(step % partitions, (step - 1) % partitions) for step in range(steps)]


def gap_density(partitions: int, sparsity: float) -> float:
    """The density in training with partitions of equal size and a uniform sparsity.

    One partition is dense and the others are sparse:
    `(1 - sparsity) (kappa - 1) / kappa + 1 / kappa`.

    ```python
    gap_density(4, 0.8)  # 0.4
    ```

    Args:
        partitions: kappa, how many partitions, at least 1.
        sparsity: Fraction of zeros in a sparse partition, in [0, 1).

    Raises:
        ValueError: If an argument is out of range.
    """
    check_sparsity(sparsity)
    integer("partitions", partitions)
    return (1 - sparsity) * (partitions - 1) / partitions + 1 / partitions


def check_lengths(
    steps: int | None, epochs_per_step: int | None, finetune_epochs: int | None
) -> None:
    """Checks what a user gave of the lengths, before any run is known.

    Raises:
        ValueError: If one is not an integer of at least 1.
    """
    given = {
        "steps": steps,
        "epochs_per_step": epochs_per_step,
        "finetune_epochs": finetune_epochs,
    }
    for name, value in given.items():
        finetunes = name == "finetune_epochs" and value == 0
        why = "Without an epoch after the last step its partition would end dense."
        optional(integer, name, value, cure=why if finetunes else "")


def default_partitions(
    epochs: int,
    layers: int,
    steps: int | None = None,
    epochs_per_step: int | None = None,
    finetune_epochs: int | None = None,
) -> int:
    """Four partitions, or as many as a model's layers and a round within the run allow.

    Args:
        epochs: Epochs of the `fit`.
        layers: Layers to prune.
        steps: K, or `None`.
        epochs_per_step: T, or `None`.
        finetune_epochs: T', or `None`.
    """
    fitting = (epochs - (finetune_epochs or 1)) // (epochs_per_step or 1)
    return max(1, min(4, layers, fitting, steps or fitting))


def fit_lengths(
    epochs: int,
    partitions: int,
    steps: int | None = None,
    epochs_per_step: int | None = None,
    finetune_epochs: int | None = None,
    rounds: int = 2,
) -> Lengths:
    """Shares the epochs of a run out, as far as the user left it open.

    By default two rounds take two thirds of the run, fewer where they do not fit, and
    fine-tuning takes what is left.

    ```python
    fit_lengths(48, 4)  # Lengths(steps=8, epochs_per_step=4, finetune_epochs=16)
    ```

    Args:
        epochs: Epochs of the `fit`.
        partitions: kappa, how many partitions.
        steps: K, or `None`.
        epochs_per_step: T, or `None`.
        finetune_epochs: T', or `None`.
        rounds: How many rounds there are at most if neither steps nor their length are given.

    Raises:
        ValueError: If the run is too short for a round, some partition would never grow, or the
            lengths do not add up to the run.
    """
    if steps is not None and steps < partitions:
        raise ValueError(
            f"steps={steps} grows only {steps} of {partitions} partitions, and the others keep "
            f"their random masks. Give steps={partitions} (one round) or more, or fewer "
            "partitions."
        )
    shortest = (steps or partitions) * (epochs_per_step or 1) + (finetune_epochs or 1)
    if shortest > epochs:
        raise ValueError(
            f"fit(epochs={epochs}) is too short: {steps or partitions} steps of "
            f"{epochs_per_step or 1} and {finetune_epochs or 1} of fine-tuning take {shortest} "
            f"epochs. Give fit(epochs={shortest}) or more, or ask for less."
        )
    room = 2 * epochs // 3 if finetune_epochs is None else epochs - finetune_epochs
    length = epochs_per_step or 1
    if steps is None:
        fitting = room // (partitions * length)
        steps = partitions * max(1, fitting if epochs_per_step else min(fitting, rounds))
    if epochs_per_step is None:
        epochs_per_step = max(1, room // steps)
    lengths = Lengths(steps, epochs_per_step, finetune_epochs or epochs - steps * epochs_per_step)
    if lengths.epochs != epochs or lengths.finetune_epochs < 1:
        training = steps * epochs_per_step
        raise ValueError(
            f"{steps} steps of {epochs_per_step} epochs and {lengths.finetune_epochs} of "
            f"fine-tuning take {lengths.epochs} epochs, and fit(epochs={epochs}) has another "
            f"number. Give finetune_epochs={max(1, epochs - training)}, or "
            f"fit(epochs={training + max(1, lengths.finetune_epochs)})."
        )
    return lengths


def dense_in_each_step(
    steps: int,
    partitions: int,
    of_target: Sequence[int],
    layer_of_target: Sequence[int],
    order: str = "cyclic",
    seed: int = 0,
) -> np.ndarray:
    """Which weight tensors are dense when.

    Args:
        steps: K, how many steps.
        partitions: kappa, how many partitions.
        of_target: The number of each tensor's partition.
        layer_of_target: The number of each tensor's layer.
        order: `"cyclic"`, or `"random"`: each step draws, from all layers, as many as the
            partition has whose turn it would be.
        seed: Seed of the random order.

    Returns:
        Booleans of shape `(steps + 2, tensors)`: before the first step, in each step, and in
        fine-tuning.

    Raises:
        ValueError: For another order.

    Source: Ma et al. (2022), Algorithm 1, and A.2 for the random order.
    """
    if order not in ORDERS:
        raise unknown_name("order", order, ORDERS)
    owner, layer = np.asarray(of_target), np.asarray(layer_of_target)
    dense = np.zeros((steps + 2, len(owner)), bool)
    generator = np.random.default_rng(seed)
    for step, (grow, _) in enumerate(gap_schedule(steps, partitions)):
        grown = owner == grow
        if order == "random":
            count = len(np.unique(layer[grown]))
            drawn = generator.choice(layer.max() + 1, count, replace=False)
            grown = np.isin(layer, drawn)
        dense[step + 1] = grown
    return dense
