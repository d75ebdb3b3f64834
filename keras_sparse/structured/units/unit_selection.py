"""Greedy forward selection in a layer whose units enter the outputs linearly."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_sparse.messages.arguments import wrong
from keras_sparse.structured.units.contributions import Contributions, numbers
from keras_sparse.structured.units.greedy_selection import GreedySelection
from keras_sparse.structured.units.objective import Objective
from keras_sparse.structured.units.picking import Plan, pick_greedily

_CHUNK = 4_000_000  # numbers that candidates' outputs take at a time


class LinearUnits:
    """Units whose contributions add up to the outputs, of which some are candidates here.

    Args:
        contributions: Of the units that are looked at here, scaled so that their mean is the
            dense output.
        objective: The loss.
        numbers_of: The numbers of these units. Defaults to 0 to N - 1.
    """

    digits = 10

    def __init__(
        self, contributions: Contributions, objective: Objective, numbers_of: Any = None
    ) -> None:
        self.contributions, self.objective = contributions, objective
        count = contributions.units
        self.numbers = np.arange(count) if numbers_of is None else np.asarray(numbers_of)
        self.sum = np.zeros((contributions.rows, contributions.outputs))
        self.picked = 0
        if objective.quadratic:
            self._target = objective.residual(contributions.outputs)
            self._norms = contributions.norms()
            self._labels = contributions.inner(self._target)
            self._sums = np.zeros(count)

    def start(self) -> float:
        """The loss with no unit at all."""
        return float(self.objective.of(self.sum[None])[0])

    def loss(self) -> float:
        """The loss of the units added so far."""
        return float(self.objective.of(self.sum[None] / self.picked)[0])

    def losses(self, units: np.ndarray, rows: np.ndarray | None) -> np.ndarray:
        """The loss with each of some units added."""
        places = np.searchsorted(self.numbers, units)
        if not self.objective.quadratic:
            return self._from_outputs(places, rows)
        return self._from_products(places, rows)

    def _from_products(self, places: np.ndarray, rows: np.ndarray | None) -> np.ndarray:
        """`||(z + q) / k - y||^2 / 2`, multiplied out."""
        total, target, k = self.sum, self._target, self.picked + 1
        if rows is None:
            norms, labels = self._norms[places], self._labels[places]
            sums = self._sums[places]
        else:
            part = self.contributions.part(places, rows)
            total, target = total[rows], target[rows]
            norms, labels, sums = part.norms(), part.inner(target), part.inner(total)
        squares = norms + 2 * sums + np.sum(total * total)
        products = labels + np.sum(total * target)
        return (squares / (2 * k**2) - products / k + np.sum(target * target) / 2) / len(total)

    def _from_outputs(self, places: np.ndarray, rows: np.ndarray | None) -> np.ndarray:
        part = self.contributions if rows is None else self.contributions.part(None, rows)
        total = self.sum if rows is None else self.sum[rows]
        each = max(_CHUNK // total.size, 1)
        found = [
            self.objective.of((total + part.of(places[i : i + each])) / (self.picked + 1), rows)
            for i in range(0, len(places), each)
        ]
        return np.concatenate(found)

    def agree(self, loss: float, unit: int) -> int:
        """Adds the best unit."""
        place = int(np.searchsorted(self.numbers, unit))
        self.add(self.contributions.hidden[:, place], self.contributions.weights[place])
        return unit

    def add(self, hidden: np.ndarray, weights: np.ndarray) -> None:
        """Adds a unit, of here or of elsewhere.

        Args:
            hidden: Its activations, shape `(rows, positions)`.
            weights: Its weights, shape `(positions, outputs)`.
        """
        if self.objective.quadratic:
            self._sums += self.contributions.cross(hidden, weights)
        self.sum += hidden @ weights
        self.picked += 1


def select_vertices(
    phi: Any,
    y: Any,
    size: int | None = None,
    *,
    epsilon: float | None = None,
    replacement: bool = True,
    count_unique: bool = False,
) -> GreedySelection:
    """Selects points whose average comes close to another, as the theory has it.

    `q_k = argmin ||(z + q) / k - y||^2 / 2` over the points, `z` the sum of those picked before.
    Of equal ones the first is picked. The loss may rise from one pick to the next.

    ```python
    select_vertices([[1, 0], [0, 1], [0, 0]], [0.6, 0.3], size=10).picks
    # [0, 1, 0, 2, 0, 1, 0, 0, 1, 0]
    ```

    Args:
        phi: The points, shape `(N, m)`: outputs of neurons on the data, over `sqrt(m)`.
        y: Shape `(m,)`: the labels, over `sqrt(m)`.
        size: Picks. Give it or `epsilon`.
        epsilon: Stops at a loss of at most this.
        replacement: Whether a point can be picked again.
        count_unique: Whether `size` counts points, not picks.

    Returns:
        A `GreedySelection`.

    Raises:
        ValueError: If an argument is out of range, or `epsilon` is not reached in N picks.

    Source: Wolfe (2023), Algorithm 2 and equations 10 to 13.
    """
    points, target = numbers("phi", phi), numbers("y", y).ravel()
    if points.ndim != 2:
        raise wrong("phi", phi, "an array of shape (N, m)")
    if points.shape[1] != len(target):
        raise wrong("y", y, f"{points.shape[1]} numbers, as a row of phi")
    units = LinearUnits(
        Contributions(np.ones((1, len(points))), points), Objective(target[None], "mse")
    )
    plan = Plan(
        len(points),
        1,
        size,
        epsilon,
        replacement=replacement,
        count_unique=count_unique,
    )
    return check_reached(plan, pick_greedily(plan, units, units.start()))


def select_units(
    hidden: Any,
    weights: Any,
    targets: Any,
    size: int | None = None,
    *,
    epsilon: float | None = None,
    loss: Any = "mse",
    activation: Any = None,
    bias: Any = None,
    batch_size: int | None = None,
    replacement: bool = True,
    num_candidates: int | None = None,
    count_unique: bool = False,
    seed: int | None = 0,
) -> GreedySelection:
    """Greedy forward selection of the hidden units of a two-layer network.

    From an empty layer on, the unit is added with which the loss is least. The outputs of k picks
    are `N / k` times the sum of theirs, so that all units picked once are the dense network. Of
    equal candidates the first is picked.

    ```python
    selection = select_units(hidden, kernel, y, size=200, bias=bias)
    small = kernel[selection.indices] * selection.gains
    ```

    Args:
        hidden: Activations, shape `(m, N)`.
        weights: The output layer's kernel, shape `(N,)` or `(N, outputs)`.
        targets: As the loss takes them, one for each of the m samples.
        size: Picks. Give it or `epsilon`.
        epsilon: Stops at a loss of at most this, on all samples.
        loss: A loss of Keras, or its name. The squared one is scored by inner products.
        activation: Of the output layer.
        bias: Of the output layer, shape `(outputs,)`; counted once.
        batch_size: Samples of the batch that is drawn anew for each pick. Defaults to all samples.
        replacement: Whether a unit can be picked again, by which its weight grows.
        num_candidates: Random units that are compared for each pick, such as 50. Defaults to all.
        count_unique: Whether `size` counts units, not picks.
        seed: Of batches and candidates.

    Returns:
        A `GreedySelection`.

    Raises:
        ValueError: If an argument is out of range, or `epsilon` is not reached in N picks.

    Source: Wolfe (2023), Algorithms 2 and 6.
    """
    whole = Contributions(hidden, weights)
    objective = Objective(targets, loss, activation, bias)
    check_targets(objective, whole.rows)
    scaled = Contributions(whole.hidden, whole.units * whole.weights)
    units = LinearUnits(scaled, objective)
    plan = Plan(
        whole.units,
        whole.rows,
        size,
        epsilon,
        batch_size,
        replacement,
        num_candidates,
        count_unique,
        seed,
    )
    return check_reached(plan, pick_greedily(plan, units, units.start()))


def check_targets(objective: Objective, rows: int) -> None:
    """Checks that there is a target for each sample.

    Raises:
        ValueError: If there is not.
    """
    if len(objective.targets) != rows:
        raise wrong("targets", objective.targets, f"one for each of the {rows} samples")


def check_reached(plan: Plan, selection: GreedySelection) -> GreedySelection:
    """Checks that a selection has come to what it was to come to, and returns it.

    Raises:
        ValueError: If the loss is above `epsilon`, or fewer units were found than asked for.
    """
    if plan.epsilon is not None and selection.losses[-1] > plan.epsilon:
        raise ValueError(
            f"A loss of {plan.epsilon:g} was not reached in {selection.n_selected} picks; the "
            f"smallest was {selection.losses.min():g}. Give a larger epsilon, or a size. Received: "
            f"epsilon={plan.epsilon!r}"
        )
    if plan.count_unique and plan.size is not None and selection.n_units < plan.size:
        raise ValueError(
            f"{selection.n_selected} picks found {selection.n_units} different units, and no more "
            f"lower the loss. Give replacement=False. Received: size={plan.size}"
        )
    return selection
