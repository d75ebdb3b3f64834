"""The callback that trains in low precision."""

from __future__ import annotations

import contextlib
import dataclasses
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_sparse.backend.replicas import strategy_scope
from keras_sparse.backend.training_state import fetch_state, steps_are_pure
from keras_sparse.engine import installation
from keras_sparse.engine.fit_callback import FitCallback
from keras_sparse.engine.train_step import leave_step, standing_around, surround_step
from keras_sparse.messages.arguments import integer, one_of, optional, random_seed
from keras_sparse.messages.warning import SparsityWarning
from keras_sparse.precision.choice import PrecisionReport, check_keep_float, choose
from keras_sparse.precision.cost import CostMeter
from keras_sparse.precision.fitting import LowPrecisionLayers
from keras_sparse.precision.force import Bits, Precision, Widths
from keras_sparse.precision.quantizers import QUANTIZERS, Quantization
from keras_sparse.precision.schedules.base import PrecisionSchedule, check_schedule
from keras_sparse.precision.schedules.cyclic import CyclicPrecision
from keras_sparse.probe.batch_norm import batch_norm_tuning
from keras_sparse.probe.nonzeros import count_nonzero
from keras_sparse.sparsity.duration import Run
from keras_sparse.sparsity.selection import Which, check_layers

EVALUATE = ("max", "float")
_PRUNED = 0.1


class PrecisionScheduler(FitCallback):
    """Trains in low precision, simulated, of as many bits as a schedule gives each step.

    Weights and inputs of the chosen layers are rounded to the step's bits, gradients to `q_max`
    bits, stochastically; weights, optimizer, loss and everything else stay float. The layers of
    the user's own model compute so for the length of the `fit`; nothing is left in it afterwards,
    and a file that is saved meanwhile is plain. What is saved is bit operations, which are
    counted: the arithmetic is simulated, and no step is faster.

    ```python
    model.fit(x, y, epochs=60, callbacks=[ks.PrecisionScheduler("CR", q_min=3, q_max=8)])
    ```

    With a sparse method in the same `fit`, weights are rounded symmetrically, which keeps zeros
    zero. At the end of each epoch the logs get `precision` (mean bits of its steps), `bitops` (bit
    operations so far of the layers in low precision, for each sample of a batch; NaN where the
    input size is unknown) and `relative_bitops` (relative to `q_max` bits throughout).

    Args:
        schedule: `"RR"`, `"RTH"`, `"LR"`, `"LT"`, `"CR"`, `"CT"`, `"RTV"`, `"ETV"`, `"ER"` or
            `"ETH"`, or a schedule such as `ks.precision.ConstantPrecision(8)`, which has its own
            bits and cycles.
        q_min: The fewest bits of a schedule by name; `ks.precision_range_test` finds them.
        q_max: Its most bits, those of training in static precision.
        cycles: Its cycles, 8 by default: 1 or 2 for a short fine-tuning.
        total_steps: Optimizer steps that the schedule spans. Defaults to the whole `fit`.
        quantizer: `"affine"`, or `"symmetric"`, which keeps zeros zero. Defaults to the first, and
            to the second where the `fit` prunes or the model is sparse.
        weights: What of a weight shares a range: `"channel"`, `"tensor"` or `"row"`.
        activations: `"tensor"`, or `"row"` for each vector along the last axis.
        aggregation: `"full"` or `"quantized"` for sums over neighbors in graph layers.
        exclude: Layers, names, globs or a predicate of what stays float.
        keep_float: Any of `"first"`, `"last"` and `"depthwise"`, which stay float.
        evaluate: What is evaluated in the `fit`: the model at `"max"` bits, with running ranges of
            its activations, or in `"float"`.
        update_freq: Whether bits change with each `"step"` or `"epoch"`.
        rounding: Of gradients: `"stochastic"` or `"nearest"`.
        recalibrate: Inputs on which moving statistics of batch normalization are measured anew at
            the end, as `batch_norm_tuning` takes them. Defaults to none.
        seed: Seed of stochastic rounding.

    Attributes:
        report: The `PrecisionReport` of the last `fit`: which layers were in low precision.

    Raises:
        ValueError: If an argument is out of range; when `fit` begins, if the affine quantizer is
            asked for where weights are to stay zero, or nothing can be in low precision.

    Source: Wolfe (2023), chapter 6.
    """

    def __init__(
        self,
        schedule: str | PrecisionSchedule = "CR",
        *,
        q_min: int = 3,
        q_max: int = 8,
        cycles: int = 8,
        total_steps: int | None = None,
        quantizer: str | None = None,
        weights: str = "channel",
        activations: str = "tensor",
        aggregation: str = "full",
        exclude: Which = (),
        keep_float: str | Iterable[str] = "last",
        evaluate: str = "max",
        update_freq: str = "step",
        rounding: str = "stochastic",
        recalibrate: Any = None,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        named = CyclicPrecision.from_name(
            schedule if isinstance(schedule, str) else "CR",
            q_min=q_min,
            q_max=q_max,
            num_cycles=integer("cycles", cycles),
        )
        given = named if isinstance(schedule, str) else check_schedule("schedule", schedule)
        self.schedule: PrecisionSchedule = given
        self.total_steps = optional(integer, "total_steps", total_steps)
        self.quantizer = optional(one_of, "quantizer", quantizer, QUANTIZERS)
        one_of("rounding", rounding, ("stochastic", "nearest"))
        self.quantization = Quantization(
            quantizer or "affine",
            weights,
            activations,
            rounding == "stochastic",
            seed=random_seed("seed", seed) or 0,
        )
        self.quantization.check_bits(given.q_min)
        self.aggregation = one_of("aggregation", aggregation, ("full", "quantized"))
        self.exclude = check_layers("exclude", exclude)
        self.keep_float = check_keep_float(keep_float)
        self.evaluate = one_of("evaluate", evaluate, EVALUATE)
        self.update_freq = one_of("update_freq", update_freq, ("step", "epoch"))
        self.recalibrate = recalibrate
        self.report: PrecisionReport | None = None
        self._layers: LowPrecisionLayers | None = None

    def _settings(self) -> dict[str, Any]:
        gone = ("run", "precision", "planned", "bits", "cost", "_widths", "_offset", "_choice")
        kept = {key: value for key, value in vars(self).items() if key not in gone}
        return {**kept, "_layers": None}

    def install(self, run: Run) -> None:
        """Makes the layers compute in low precision."""
        model = self.model
        if model.optimizer is None:
            raise ValueError(f"Model {model.name!r} is not compiled. Compile it before fit.")
        self._leave_previous()
        if not model.optimizer.built:  # In the first step it would be traced twice.
            with strategy_scope(model):
                model.optimizer.build(model.trainable_variables)
        choice = choose(model, self.exclude, self.keep_float)
        accumulated = installation.own_optimizer(model).gradient_accumulation_steps
        steps = run.steps // (accumulated or 1)
        self.planned = self.schedule
        if self.schedule.total_steps is None:
            self.planned = self.schedule.over(self.total_steps or max(steps, 1))
        self.bits = self._bits(steps, run)
        self._widths = Widths(self.bits, self.planned.q_max)
        at_most = Bits(self.planned.q_max, self.planned.q_max)
        outside = at_most if self.evaluate == "max" else None
        self.precision = Precision(self.quantization, outside)
        self._choice = choice
        self._offset: int | None = None
        self.cost = CostMeter(model, choice, self.planned.q_max)
        self._layers = LowPrecisionLayers(model, choice, self.precision, self.aggregation)
        surround_step(model, self._around)
        _retrace(model)

    def _leave_previous(self) -> None:
        """Takes out what an interrupted `fit` has left."""
        for around in standing_around(self.model):
            other = getattr(around, "__self__", None)
            if not isinstance(other, PrecisionScheduler):
                continue
            if other is not self and other.params is self.params:
                raise ValueError(
                    f"Model {self.model.name!r} has two PrecisionSchedulers in the same fit. "
                    "Give it one."
                )
            other.uninstall()

    def _bits(self, steps: int, run: Run) -> np.ndarray:
        at = np.arange(max(steps, 1))
        if self.update_freq == "epoch":
            at = at - at % max(steps // run.epochs, 1)
        return self.planned.bits(at)

    def uninstall(self) -> None:
        """Gives the layers back."""
        if self._layers is None:
            return
        fetch_state(self.model)
        self._layers.give_back()
        self._layers = None
        leave_step(self.model, self._around)
        _retrace(self.model)

    @contextlib.contextmanager
    def _around(self, *args: Any) -> Iterator[None]:
        """Puts the bits of the optimizer's step in force."""
        affine = self.precision.quantization.quantizer == "affine"
        if affine and installation.find(self.model) is not None:
            self._settle_quantizer()  # An unbuilt model is made to prune after the epoch began.
        optimizer = self.model.optimizer
        held = zip(optimizer.variables, args[0][2], strict=True) if steps_are_pure() else ()
        scope = keras.StatelessScope(list(held)) if steps_are_pure() else contextlib.nullcontext()
        with scope:
            taken = ops.copy(ops.convert_to_tensor(optimizer.iterations))
        step = ops.cast(taken, "int32") - (self._offset or 0)
        with self.precision.inside(Bits(self._widths.at(step), self.planned.q_max, step)):
            yield

    def begin_epoch(self, epoch: int) -> None:
        """Learns at the first epoch where the steps are counted from, and whether it prunes."""
        if self._offset is not None:
            return
        steps = epoch * len(self.bits) // self.run.epochs
        self._offset = int(ops.convert_to_numpy(self.model.optimizer.iterations)) - steps
        self.cost.begin(self.bits[:steps])
        self._settle_quantizer()

    def _settle_quantizer(self) -> None:
        quantizer = self._fitting_quantizer()
        how = dataclasses.replace(self.quantization, quantizer=quantizer)
        how.check_bits(self.planned.q_min)
        self.precision.quantization = how
        self.report = dataclasses.replace(self._choice.report, quantizer=quantizer)

    def _fitting_quantizer(self) -> str:
        kept_zero = self._kept_zero()
        if not kept_zero or self.quantizer == "symmetric":
            return self.quantizer or "affine"
        if self.quantizer == "affine":
            raise ValueError(
                f"The affine quantizer does not keep zeros zero, and {kept_zero}. Give "
                "quantizer='symmetric'."
            )
        warnings.warn(
            f"Weights are rounded by the symmetric quantizer, because {kept_zero} and the affine "
            "one does not keep zeros zero. Give quantizer='symmetric' to have it without this "
            "warning.",
            SparsityWarning,
            stacklevel=2,
        )
        return "symmetric"

    def _kept_zero(self) -> str | None:
        """Why zeros among the weights are to stay zero, if they are."""
        if installation.find(self.model) is not None:
            return "this fit prunes"
        weights = [v for x in self._choice.layers for v in x._trainable_variables if v.ndim > 1]
        size = sum(int(np.prod(v.shape)) for v in weights)
        zeros = size - sum(int(count_nonzero(v)) for v in weights)
        return f"{zeros / size:.0%} of the weights are zero" if zeros > _PRUNED * size else None

    def end_batches(self, epoch: int) -> None:
        """Counts an epoch's bit operations."""
        steps = len(self.bits)
        first, last = (e * steps // self.run.epochs for e in (epoch, epoch + 1))
        self.cost.add(self.bits[first:last])

    def epoch_logs(self, epoch: int, logs: dict[str, float]) -> dict[str, float]:
        """The mean bits of the epoch, and the bit operations so far."""
        return self.cost.logs()

    def end_fit(self) -> None:
        """Measures moving statistics anew, if that is asked for."""
        if self.recalibrate is not None:
            batch_norm_tuning(self.model, self.recalibrate)


def _retrace(model: keras.Model) -> None:
    """Makes the next step, evaluation and prediction compile anew."""
    model.train_function = model.test_function = model.predict_function = None
