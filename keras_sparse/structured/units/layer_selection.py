"""Greedy forward selection in one layer of a deep network, by the loss of the whole network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_sparse.backend.compiled import compiled
from keras_sparse.distribute.communicator import Communicator
from keras_sparse.messages.arguments import function, instance, optional, wrong
from keras_sparse.structured.units.accuracy import accuracy
from keras_sparse.structured.units.consumers import Consumer
from keras_sparse.structured.units.contributions import numbers
from keras_sparse.structured.units.distributed_selection import Council, fingerprint, share_of_units
from keras_sparse.structured.units.greedy_selection import GreedySelection
from keras_sparse.structured.units.objective import Objective
from keras_sparse.structured.units.picking import Plan, pick_greedily

_CHUNK = 2_000_000  # numbers that candidates' features take at a time
_PARTS = (
    4  # in which candidates are compared at least, so that little is in vain where few are left
)
_ROWS = 512  # samples at a time, where there is one set of picks


class _Channels:
    """The channels of a layer, whose gains are `C count / k`."""

    digits = 6

    def __init__(
        self,
        outputs: np.ndarray,
        others: Sequence[np.ndarray],
        rest: Callable[..., Any],
        objective: Objective,
        council: Council | None,
    ) -> None:
        self.outputs, self.others, self.objective = outputs, others, objective
        self.counts = np.zeros(outputs.shape[-1])
        self._council, self._rest = council, compiled(self._predict(rest))
        self._predictions: np.ndarray = np.zeros(0)
        self._width: int | None = None

    def _predict(self, rest: Callable[..., Any]) -> Callable[..., Any]:
        def predict(x: Any, gains: Any, others: Any) -> Any:
            sets = ops.shape(gains)[0]
            spread = ops.reshape(gains, (sets, *[1] * (len(x.shape) - 1), x.shape[-1]))
            scaled = ops.reshape(x[None] * spread, (-1, *x.shape[1:]))
            repeated = [ops.tile(o, (sets, *[1] * (len(o.shape) - 1))) for o in others]
            return rest(scaled, *repeated)

        return predict

    def predictions(self, gains: np.ndarray, rows: Any = None) -> Any:
        """Those of the network with the layer's channels scaled, a set for each row of gains."""
        at = slice(None) if rows is None else rows
        arrays = [ops.convert_to_tensor(each[at], "float32") for each in self.others]
        x = ops.convert_to_tensor(self.outputs[at], "float32")
        return self._rest(x, ops.convert_to_tensor(gains, "float32"), arrays)

    def losses(self, units: np.ndarray, rows: np.ndarray | None) -> np.ndarray:
        """The loss with each of some channels added."""
        channels = len(self.counts)
        one = self.outputs[:1].size * (len(self.outputs) if rows is None else len(rows))
        each = self._together(one, units)
        found = []
        for i in range(0, len(units), each):
            # The last chunk is filled up, so that all are of one shape.
            chosen = np.resize(units[i : i + each], each)
            gains = np.tile(self.counts, (each, 1))
            gains[np.arange(each), chosen] += 1
            gains *= channels / gains[0].sum()
            made = self.objective.of_predictions(self.predictions(gains, rows), each, rows)
            found.append(made[: len(units[i : i + each])])
        return np.concatenate(found)

    def _together(self, numbers_of_one: int, units: np.ndarray) -> int:
        """Candidates at a time: as many for each pick, though fewer are left, to trace once."""
        if self._width is None:
            few = -(-len(units) // _PARTS)
            self._width = min(max(_CHUNK // numbers_of_one, 1), max(few, 1))
        return self._width

    def agree(self, loss: float, unit: int) -> int:
        """Adds the best channel."""
        if self._council is not None:
            unit, _ = self._council.agree(loss, unit, lambda: np.zeros(0))
        self.counts[unit] += 1
        return unit

    def loss(self) -> float:
        """The loss of the network with the channels added so far."""
        gains = len(self.counts) * self.counts / self.counts.sum()
        self._predictions = self.predictions(gains[None])
        return float(self.objective.of_predictions(self._predictions, 1)[0])

    def accuracy(self) -> float:
        """The fraction of samples that the latest predictions are right about."""
        return accuracy(ops.convert_to_numpy(self._predictions), self.objective.targets)


class _ConsumedChannels(_Channels):
    """Channels that enter a layer that is linear in them: it is computed once for each of them.

    What the layer makes of the picks is kept as their sum, to which a pick adds its own part. It is
    never computed anew from all channels, which all workers would have to do for each pick.
    """

    def __init__(self, consumer: Consumer, *given: Any) -> None:
        outputs, others, rest, objective, council = given

        def whole(x: Any, *more: Any) -> Any:
            return rest(consumer.activation(consumer.summed(x) + consumer.bias), *more)

        def tail(summed: Any, *more: Any) -> Any:
            return rest(consumer.activation(summed), *more)

        super().__init__(outputs, others, whole, objective, council)
        self._consumer = consumer
        self._each, self._tail = compiled(self._predict_each(rest)), compiled(tail)
        self._alone = compiled(lambda x, kernel: consumer.each(x, kernel)[0])
        self._kernel = ops.convert_to_numpy(consumer.kernel)
        self._bias = np.asarray(ops.convert_to_numpy(consumer.bias), "float32")
        shape = consumer.layer.compute_output_shape(outputs.shape)
        self._sum = np.zeros(shape, "float32")

    def _predict_each(self, rest: Callable[..., Any]) -> Callable[..., Any]:
        def predict(x: Any, kernel: Any, total: Any, others: Any) -> Any:
            made = self._consumer.activation(self._consumer.each(x, kernel) + total[None])
            sets = x.shape[-1]
            repeated = [ops.tile(o, (sets, *[1] * (len(o.shape) - 1))) for o in others]
            made = rest(ops.reshape(made, (-1, *made.shape[2:])), *repeated)
            return ops.reshape(made, (sets, -1, *made.shape[1:]))

        return predict

    def losses(self, units: np.ndarray, rows: np.ndarray | None) -> np.ndarray:
        """The loss with each of some channels added."""
        at = np.arange(len(self.outputs)) if rows is None else rows
        scale = np.float32(len(self.counts) / (self.counts.sum() + 1))
        kernel = scale * self._kernel
        one = self._consumer.size((1, *self.outputs.shape[1:]))
        # Either several candidates on all samples, or one after the other on a few.
        block = min(max(_CHUNK // one, 1), len(at))
        each = self._together(one * len(at), units)
        made: list[list[np.ndarray]] = []
        for j in range(0, len(at), block):
            part = at[j : j + block]
            x = self.outputs[part]
            others = [ops.convert_to_tensor(o[part]) for o in self.others]
            total = ops.convert_to_tensor(scale * self._sum[part] + self._bias)
            made.append([])
            for i in range(0, len(units), each):
                chosen = np.resize(units[i : i + each], each)
                given = _channels_of(x, kernel, chosen)
                made[-1].append(ops.convert_to_numpy(self._each(*given, total, others)))
        joined = np.concatenate([np.concatenate(sets) for sets in made], axis=1)[: len(units)]
        return self.objective.of_predictions(
            joined.reshape(-1, *joined.shape[2:]), len(units), rows
        )

    def agree(self, loss: float, unit: int) -> int:
        """Adds the best channel."""
        unit = super().agree(loss, unit)
        for i in range(0, len(self.outputs), _ROWS):
            given = _channels_of(self.outputs[i : i + _ROWS], self._kernel, np.array([unit]))
            self._sum[i : i + _ROWS] += ops.convert_to_numpy(self._alone(*given))
        return unit

    def loss(self) -> float:
        """The loss of the network with the channels added so far."""
        scale = np.float32(len(self.counts) / self.counts.sum())
        made = []
        for i in range(0, len(self.outputs), _ROWS):
            others = [ops.convert_to_tensor(o[i : i + _ROWS]) for o in self.others]
            total = ops.convert_to_tensor(scale * self._sum[i : i + _ROWS] + self._bias)
            made.append(ops.convert_to_numpy(self._tail(total, *others)))
        self._predictions = np.concatenate(made)
        return float(self.objective.of_predictions(ops.convert_to_tensor(self._predictions), 1)[0])


def _channels_of(x: np.ndarray, kernel: np.ndarray, chosen: np.ndarray) -> list[Any]:
    """Some channels, with their part of the kernel."""
    parts = x[..., chosen], kernel[..., chosen, :]
    return [ops.convert_to_tensor(np.ascontiguousarray(part)) for part in parts]


def select_channels(
    outputs: Any,
    targets: Any,
    rest: Callable[..., Any],
    size: int | None = None,
    *,
    others: Sequence[Any] = (),
    consumer: keras.layers.Layer | None = None,
    epsilon: float | None = None,
    loss: Any = "sparse_categorical_crossentropy",
    batch_size: int | None = None,
    replacement: bool = True,
    num_candidates: int | None = None,
    seed: int | None = 0,
    workers: Communicator | None = None,
) -> GreedySelection:
    """Greedy forward selection of the channels of a layer inside of a network.

    From an empty layer on, the channel is added with which the whole network's loss is least; the
    layers before are as they are (pruned, if they were), those behind are dense. With k picks
    channel i is multiplied with `C count_i / k`, behind its nonlinearity. To prune a network, go
    through its layers from input to output, each time on outputs that are recorded anew.

    ```python
    part = ks.structured.cut(model, "relu_1", (x, y))
    selection = ks.structured.select_channels(
        part.outputs, part.targets, part.rest, epsilon=0.05, others=part.others,
        num_candidates=50, replacement=False, batch_size=64,
    )
    ```

    Args:
        outputs: What the layer makes of the samples, channels last, shape `(m, ..., C)`.
        targets: Of the samples, as the loss takes them.
        rest: Makes the network's predictions of such outputs, and of `others`: a function of
            tensors that the backend can compile, in inference mode.
        size: Picks. Give it or `epsilon`.
        others: What else the rest of the network takes, such as what a skip connection carries,
            one entry for each sample.
        consumer: The layer that alone takes the channels, `Dense` or a convolution: `rest` is then
            what follows it. Its part of the work is done once for each channel and not once for
            each candidate with all channels.
        epsilon: Stops where the accuracy on all samples is at least `1 - epsilon` times that of
            the dense layer, so that a larger one leaves fewer channels. A layer that does not come
            to it in C picks stays whole.
        loss: A loss of Keras of predictions, or its name.
        batch_size: Samples of the batch that is drawn anew for each pick. Defaults to all samples.
        replacement: Whether a channel can be picked again.
        num_candidates: Random channels that are compared for each pick, such as 50. Defaults to
            all.
        seed: Of batches and candidates.
        workers: What `keras_sparse.distribute.connect` returns: each scores a share of the
            channels, and tells the best one's loss and number, whatever the data's size.

    Returns:
        A `GreedySelection`.

    Raises:
        ValueError: If an argument is out of range.

    Source: Wolfe (2023), Algorithm 7 and B.3.2; Ye et al. (2020) for random candidates.
    """
    found = numbers("outputs", outputs).astype("float32")
    if found.ndim < 2:
        raise wrong("outputs", outputs, "an array of shape (m, ..., channels)")
    function("rest", rest)
    optional(instance, "workers", workers, Communicator, "a Communicator")
    carried = [numbers("others", each).astype("float32") for each in others]
    if any(len(each) != len(found) for each in carried):
        raise wrong("others", others, f"arrays with one entry for each of {len(found)} samples")
    objective = Objective(targets, loss)
    if len(objective.targets) != len(found):
        raise wrong("targets", targets, f"one for each of the {len(found)} samples")
    channels = found.shape[-1]
    plan = Plan(
        channels,
        len(found),
        size,
        epsilon,
        batch_size,
        replacement,
        num_candidates,
        seed=seed,
    )
    council, own = None, None
    if workers is not None:
        if seed is None:
            raise wrong("seed", seed, "an integer of at least 0", "All workers draw the same.")
        identity = {"data": fingerprint(found, objective.targets), "plan": str(plan)}
        council = Council(workers, identity, np.zeros(0))
        own = share_of_units(channels, workers)
    if consumer is None:
        units: _Channels = _Channels(found, carried, rest, objective, council)
    else:
        taken = Consumer(consumer)
        if taken.channels != channels:
            raise wrong("consumer", consumer, f"a layer that takes {channels} channels")
        units = _ConsumedChannels(taken, found, carried, rest, objective, council)
    dense = units.predictions(np.ones((1, channels)))
    start = float(objective.of_predictions(dense, 1)[0])
    least = 0.0
    if epsilon is not None:
        least = (1 - epsilon) * accuracy(ops.convert_to_numpy(dense), objective.targets)
    made = pick_greedily(plan, units, start, own, lambda: units.accuracy() >= least)
    alpha = made.alpha
    if epsilon is not None and units.accuracy() < least:
        alpha = np.full(channels, 1 / channels)
    floats = council.floats if council is not None else 0
    return GreedySelection(made.picks, made.losses, made.seconds, alpha, floats)
