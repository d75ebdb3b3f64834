"""Greedy forward selection by several workers, each of which looks at a share of the units."""

from __future__ import annotations

import hashlib
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_sparse.distribute.communicator import Communicator
from keras_sparse.distribute.rounds import Rounds
from keras_sparse.messages.arguments import instance, one_of, wrong
from keras_sparse.structured.units.contributions import Contributions, numbers
from keras_sparse.structured.units.greedy_selection import GreedySelection
from keras_sparse.structured.units.objective import Objective
from keras_sparse.structured.units.picking import Plan, pick_greedily
from keras_sparse.structured.units.unit_selection import (
    LinearUnits,
    check_reached,
    check_targets,
)

SENT = ("weights", "outputs")


class Council:
    """Workers that agree on a unit for each pick.

    Each tells the loss of its best unit, 16 bytes with the unit's number; the worker with the
    least loss (of equal ones that of the lowest number) then tells what the others need of it.

    Args:
        workers: The workers.
        identity: What must be the same on all of them.
        like: What has the shape and type of what a winner tells.

    Attributes:
        floats: Numbers that all workers have broadcast: `k (V + B)` after k picks.

    Source: Wolfe (2023), Algorithm 3 (with the loss of the average, which the print lacks).
    """

    def __init__(self, workers: Communicator, identity: dict[str, Any], like: np.ndarray) -> None:
        self.workers = instance("workers", workers, Communicator, "a Communicator")
        self._rounds = Rounds(workers, {"workers": workers.count, **identity})
        self._rounds.begin([], [])
        self._like, self.floats = like, 0

    def agree(self, loss: float, unit: int, mine: Any) -> tuple[int, np.ndarray]:
        """The unit that wins, and what its worker tells of it.

        Args:
            loss: The least here.
            unit: Its unit.
            mine: A function that makes what is to be told of it, called by the winner.
        """
        said = [np.array([loss]), np.array([unit], np.int64)]
        heard = self._rounds.exchange(said, [said] * self.workers.count)
        pairs = [(float(one[0]), int(which[0])) for one, which in heard]
        winner = min(range(len(pairs)), key=lambda rank: pairs[rank])
        self.floats += len(pairs)
        if not self._like.size:
            return pairs[winner][1], self._like
        own = [np.asarray(mine(), self._like.dtype)] if winner == self.workers.rank else []
        told = [[self._like] if rank == winner else [] for rank in range(len(pairs))]
        message = self._rounds.exchange(own, told)[winner][0]
        self.floats += message.size
        return pairs[winner][1], message


def share_of_units(units: int, workers: Communicator) -> np.ndarray:
    """The units that a worker looks at, disjoint from those of the others.

    Args:
        units: N.
        workers: The workers, seen from one of them.
    """
    return np.arange(workers.rank, units, workers.count)


def fingerprint(*arrays: Any) -> str:
    """What equal arrays have in common and others do not."""
    digest = hashlib.sha256()
    for each in arrays:
        digest.update(np.ascontiguousarray(each).tobytes())
    return digest.hexdigest()[:16]


class _SharedUnits(LinearUnits):
    def __init__(self, council: Council, make: Any, send: str, *given: Any) -> None:
        super().__init__(*given)
        self._council, self._make, self._send = council, make, send

    def agree(self, loss: float, unit: int) -> int:
        def mine() -> np.ndarray:
            place = int(np.searchsorted(self.numbers, unit))
            if self._send == "weights":
                return self._make.neuron(unit)
            return self.contributions.of([place])[0]

        unit, message = self._council.agree(loss, unit, mine)
        if self._send == "weights":
            self.add(*self._make.contribution(message))
            return unit
        self._add_outputs(message)
        return unit

    def _add_outputs(self, outputs: np.ndarray) -> None:
        if self.objective.quadratic:
            self._sums += self.contributions.inner(outputs)
        self.sum += outputs
        self.picked += 1


class _Neurons:
    """The neurons of a hidden layer: what they compute, and how one is told."""

    def __init__(self, inputs: Any, kernel: Any, weights: Any, bias: Any, activation: Any) -> None:
        self.inputs, self.kernel = numbers("inputs", inputs), numbers("kernel", kernel)
        if self.inputs.ndim != 2:
            raise wrong("inputs", inputs, "an array of shape (m, d)")
        if self.kernel.ndim != 2 or len(self.kernel) != self.inputs.shape[1]:
            raise wrong("kernel", kernel, f"an array of shape ({self.inputs.shape[1]}, units)")
        count = self.kernel.shape[1]
        self.weights = numbers("weights", weights).reshape(len(np.asarray(weights)), -1)
        if len(self.weights) != count:
            raise wrong("weights", weights, f"an array with one entry for each of {count} units")
        self.bias = None if bias is None else numbers("hidden_bias", bias).ravel()
        if self.bias is not None and len(self.bias) != count:
            raise wrong("hidden_bias", bias, f"one number for each of {count} units")
        self.activation = keras.activations.get(activation)

    def hidden(self, kernel: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
        """The activations of some neurons, shape `(m, neurons)`."""
        summed = self.inputs @ kernel + (0.0 if bias is None else bias)
        return ops.convert_to_numpy(self.activation(ops.convert_to_tensor(summed))).astype(float)

    def neuron(self, unit: int) -> np.ndarray:
        """All weights of a neuron, incoming and outgoing."""
        parts = [self.kernel[:, unit], self.weights[unit]]
        return np.concatenate(parts if self.bias is None else [*parts, self.bias[[unit]]])

    def contribution(self, told: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Activations and scaled weights of a neuron that was told."""
        features, outputs = len(self.kernel), self.weights.shape[1]
        bias = None if self.bias is None else told[features + outputs :]
        hidden = self.hidden(told[:features, None], bias)
        weights = told[features : features + outputs]
        return hidden, len(self.weights) * weights[None]


def distributed_selection(
    workers: Communicator,
    inputs: Any,
    kernel: Any,
    weights: Any,
    targets: Any,
    size: int | None = None,
    *,
    activation: Any = "relu",
    hidden_bias: Any = None,
    bias: Any = None,
    output_activation: Any = None,
    epsilon: float | None = None,
    loss: Any = "mse",
    send: str = "weights",
    batch_size: int | None = None,
    replacement: bool = True,
    num_candidates: int | None = None,
    count_unique: bool = False,
    seed: int | None = 0,
) -> GreedySelection:
    """Greedy forward selection in a two-layer network, by workers that share out the units.

    Each worker computes and scores its own units alone; all have the same data and seed, which is
    checked. What they tell each other depends on the number of picks and of workers: with
    `"weights"` neither on the size of the data nor on that of the layer. The picks are those of a
    single worker.

    ```python
    workers = ks.distribute.connect()
    selection = ks.structured.distributed_selection(workers, x, kernel, weights, y, size=200)
    ```

    Args:
        workers: What `keras_sparse.distribute.connect` returns.
        inputs: Of the hidden layer, shape `(m, d)`.
        kernel: The hidden layer's, shape `(d, N)`.
        weights: The output layer's kernel, shape `(N,)` or `(N, outputs)`.
        targets: As the loss takes them, one for each sample.
        size: Picks. Give it or `epsilon`.
        activation: Of the hidden layer.
        hidden_bias: Of the hidden layer, shape `(N,)`.
        bias: Of the output layer, shape `(outputs,)`.
        output_activation: Of the output layer.
        epsilon: Stops at a loss of at most this.
        loss: A loss of Keras, or its name.
        send: What the winner of a pick tells: its unit's `"weights"`, `d + outputs` numbers and
            its bias, or its unit's `"outputs"`, `m * outputs` numbers.
        batch_size: See `select_units`.
        replacement: See `select_units`.
        num_candidates: See `select_units`.
        count_unique: See `select_units`.
        seed: See `select_units`.

    Returns:
        A `GreedySelection`, the same on all workers.

    Raises:
        ValueError: If an argument is out of range, or workers differ in data or arguments.
        WorkerLostError: If a worker ends meanwhile.

    Source: Wolfe (2023), Algorithm 3 and Lemma 2.
    """
    instance("workers", workers, Communicator, "a Communicator")
    one_of("send", send, SENT)
    neurons = _Neurons(inputs, kernel, weights, hidden_bias, activation)
    count, rows = len(neurons.weights), len(neurons.inputs)
    objective = Objective(targets, loss, output_activation, bias)
    check_targets(objective, rows)
    if seed is None:
        raise wrong("seed", seed, "an integer of at least 0", "All workers draw the same.")
    plan = Plan(
        count,
        rows,
        size,
        epsilon,
        batch_size,
        replacement,
        num_candidates,
        count_unique,
        seed,
    )
    own = share_of_units(count, workers)
    offset = None if neurons.bias is None else neurons.bias[own]
    contributions = Contributions(
        neurons.hidden(neurons.kernel[:, own], offset), count * neurons.weights[own]
    )
    outputs = neurons.weights.shape[1]
    like = neurons.neuron(0) if send == "weights" else np.zeros((rows, outputs))
    identity = {
        "data": fingerprint(neurons.inputs, objective.targets),
        "network": fingerprint(neurons.kernel, neurons.weights),
        "plan": str(plan),
        "loss": str(getattr(loss, "name", loss)),
    }
    council = Council(workers, identity, like)
    units = _SharedUnits(council, neurons, send, contributions, objective, own)
    found = pick_greedily(plan, units, units.start(), own)
    check_reached(plan, found)
    return GreedySelection(found.picks, found.losses, found.seconds, found.alpha, council.floats)
