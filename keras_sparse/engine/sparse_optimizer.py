"""An optimizer that keeps a model sparse while another one trains it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from keras.backend import standardize_dtype

from keras_sparse.backend.gradients import as_dense
from keras_sparse.backend.replicas import assign_on_replicas, replica_count, sum_over_replicas
from keras_sparse.engine.buffers import (
    parts,
    resettable_buffers,
    slots_of,
    start_values,
    trainer_of,
)
from keras_sparse.engine.rule import Rule, Tensors
from keras_sparse.engine.sparse_step import Step, Variables, assign, clock_of
from keras_sparse.engine.wrapping_optimizer import WrappingOptimizer
from keras_sparse.messages.arguments import instance, optional, wrong
from keras_sparse.sparsity.saliency import widened
from keras_sparse.sparsity.selection import Target


@keras.saving.register_keras_serializable(package="keras_sparse")
class SparseOptimizer(WrappingOptimizer):
    """Wraps an optimizer so that chosen weights are exactly zero after each of its steps.

    The callbacks of this package install it for the length of a `fit`. Masks and counters are
    its variables, so that checkpoints carry them. One step, all in the compiled graph:
    masks are updated if the rule says that it is time, gradients are masked, the inner optimizer
    takes its step, and the weights are masked again. The batch on which masks change still
    contributes the gradient at the weights before the change.

    ```python
    rule = Rule()  # fixed masks
    optimizer = SparseOptimizer(keras.optimizers.SGD(0.1), rule, selection.targets)
    ```

    Args:
        inner_optimizer: The `keras.optimizers.Optimizer` that trains.
        rule: The `Rule` that decides which weights are kept.
        targets: The `Target`s of the weights to prune.
        notes: First values of what a callback keeps with the masks, arrays by name.

    Attributes:
        notes: The variables of these names, which no step touches.
        fit: Gives what stands for the `fit` that it is installed for, kept from Keras's tracking.
        train_step: The `train_step` that its rule has put in the model, if any.
        trainers: For each target the part of the inner optimizer that trains it.
    """

    def __init__(
        self,
        inner_optimizer: keras.optimizers.Optimizer,
        rule: Rule,
        targets: Sequence[Target],
        name: str | None = None,
        notes: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        super().__init__(inner_optimizer, name)
        self.rule = instance("rule", rule, Rule, "a Rule")
        self.targets = tuple(_checked_targets(targets))
        self.fit: Callable[[], object] = lambda: None
        self.train_step: Any = None
        self.notes: dict[str, Any] = {}
        given = optional(instance, "notes", notes, Mapping, "arrays by name")
        self._first_notes = dict(given or {})
        rule.build(self.targets)

    def build(self, variables: Iterable[Any]) -> None:
        """Creates masks (all True), counters and the rule's tensors; builds the inner optimizer."""
        if self.built:
            return
        variables = list(variables)
        super().build(variables)
        names = [target.path.replace("/", "_") for target in self.targets]
        self.masks = [
            self.add_variable(
                shape=target.layout.shape, dtype="bool", initializer="ones", name=f"{name}_mask"
            )
            for target, name in zip(self.targets, names, strict=True)
        ]
        self.counters = {
            key: self.add_variable(
                shape=(), dtype="int32", initializer=keras.initializers.Constant(value), name=key
            )
            for key, value in self.rule.counters.items()
        }
        # In units of one dense training step; kept here so that resumed runs go on counting.
        self.training_cost = self.add_variable(shape=(), dtype="float32", name="training_cost")
        self.shadows = [self._copy_of(weight) for weight in self._shadowed()]
        weights = [widened(ops.convert_to_tensor(weight)) for weight in self.weights_to_prune]
        self.state = {
            key: [self._holding(v, f"{n}_{key}") for v, n in zip(tensors, names, strict=True)]
            for key, tensors in self.rule.initial_state(weights).items()
        }
        # Last, so that what earlier versions have saved comes first.
        self._add_notes(self._first_notes)
        if not self.inner_optimizer.built:
            self.inner_optimizer.build(variables)
        self._find_buffers()

    def _add_notes(self, values: Mapping[str, np.ndarray]) -> None:
        for name, value in values.items():
            if name not in self.notes:
                self._first_notes[name] = np.asarray(value)
                self.notes[name] = self._holding(self._first_notes[name], name)

    def _shadowed(self) -> list[Any]:
        return self.weights_to_prune if self.rule.shadow else []

    def _copy_of(self, weight: Any) -> Any:
        copy = self.add_variable_from_reference(weight, name="shadow")
        # A true copy: JAX gives buffers away, and would give a shared one away twice.
        copy.assign(ops.copy(ops.convert_to_tensor(weight)))
        return copy

    def _holding(self, value: Any, name: str) -> Any:
        variable = self.add_variable(
            shape=value.shape, dtype=standardize_dtype(value.dtype), name=name
        )
        variable.assign(ops.copy(ops.convert_to_tensor(value)))  # As in `_copy_of`.
        return variable

    def _find_buffers(self) -> None:
        inner, weights = self.inner_optimizer, self.weights_to_prune
        self.buffers = resettable_buffers(inner, self.rule.reset_buffers)
        self._starts = start_values(inner, self.buffers)
        self.slots = [slots_of(inner, w) if self.rule.reset_grown else [] for w in weights]
        self.trainers = [trainer_of(inner, weight) for weight in weights]

    @property
    def weights_to_prune(self) -> list[Any]:
        """The variables of the model that the masks belong to."""
        return [self._trainable_variables[target.index] for target in self.targets]

    @property
    def learned(self) -> list[Any]:
        """What the inner optimizer learns: the model's weights, or dense ones kept apart."""
        return self.shadows or self.weights_to_prune

    @property
    def step(self) -> Any:
        """Batches seen since training began, an integer variable."""
        return self._iterations

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        """Takes one sparse step. See `keras.optimizers.Optimizer.apply`."""
        grads = list(grads)
        if not grads:
            return
        if not self.built:
            self.build(list(trainable_variables))
        given = self._trainable_variables if trainable_variables is None else trainable_variables
        place = {self._var_key(variable): i for i, variable in enumerate(given)}
        places = [place.get(self._var_key(weight)) for weight in self.weights_to_prune]
        gradients = [
            ops.zeros(target.layout.shape)
            if i is None or grads[i] is None
            else self._seen_by_rule(grads[i])
            for i, target in zip(places, self.targets, strict=True)
        ]
        scale = 1.0
        if self.rule.uses_gradients:
            scale = (self.inner_optimizer.loss_scale_factor or 1.0) / replica_count()
            gradients = [g / (scale * replica_count()) for g in sum_over_replicas(gradients)]
        due = self.rule.due(self.step, self.counters)
        rates = self.rates()
        shown = gradients if self.rule.uses_gradients else []
        self._on_replicas(Step.before, due, rates, shown)
        learning = self.rule.learning_gradients(gradients, self._step_variables.tensors(shown))
        for i, gradient in zip(places, learning, strict=True):
            if i is not None and grads[i] is not None:
                scaled = gradient if scale == 1.0 else gradient * scale
                same = scaled.dtype == grads[i].dtype
                grads[i] = scaled if same else ops.cast(scaled, grads[i].dtype)
        self.inner_optimizer.apply(grads, trainable_variables)
        self._on_replicas(Step.after, due, rates, shown)

    def _seen_by_rule(self, gradient: Any) -> Any:
        """A tensor; slices, which the optimizer can do with, where the rule does not look."""
        if hasattr(gradient, "indices") and not self.rule.uses_gradients:
            return gradient
        return widened(as_dense(gradient))

    def rates(self) -> list[Any]:
        """The learning rate, or those of the pruned tensors' own optimizers."""
        several = len({id(trainer) for trainer in self.trainers}) > 1
        trainers = self.trainers if several else self.trainers[:1]
        return [ops.convert_to_tensor(trainer.learning_rate) for trainer in trainers]

    @property
    def _step_variables(self) -> Variables:
        return Variables(
            learned=self.learned,
            masks=self.masks,
            state=self.state,
            weights=self.weights_to_prune,
            step=self.step,
            counters=self.counters,
            buffers=self.buffers,
            slots=self.slots,
        )

    @property
    def tensors(self) -> Tensors:
        """What the rule sees of the pruned tensors."""
        return self._step_variables.tensors()

    def _on_replicas(self, act: Callable[..., None], *arguments: Any) -> None:
        def on_one(variables: Variables, *local: Any) -> None:
            act(Step(self.rule, self._starts, variables), *local)

        strategy = getattr(self, "_distribution_strategy", None)
        assign_on_replicas(strategy, on_one, self.step, self._step_variables, *arguments)

    def replace_rule(self, rule: Rule, notes: Mapping[str, np.ndarray]) -> None:
        """Goes on under another rule of the same type, with the masks and counters at hand."""
        rule.build(self.targets)
        self.rule = rule
        self._add_notes(notes)
        self._find_buffers()

    def set_masks(self, masks: Sequence[Any]) -> None:
        """Puts masks in force at once, outside of training.

        Args:
            masks: Boolean arrays of the targets' shapes.
        """
        assign(self.masks, [ops.convert_to_tensor(mask, "bool") for mask in masks])
        effective = self.rule.effective(clock_of(self.step, self.rates()), self.tensors)
        assign(self.weights_to_prune, effective)

    def show_evaluated(self) -> None:
        """Gives a model whose weights are drawn for each batch those to be evaluated with."""
        if self.rule.sampled:
            assign(self.weights_to_prune, self.rule.evaluated(self.tensors))

    def show_sampled(self) -> None:
        """Gives a model whose weights are drawn for each batch those of the next batch."""
        if self.rule.sampled:
            before = ops.convert_to_tensor(self.step) - 1
            sampled = self.rule.effective(clock_of(before, self.rates()), self.tensors)
            assign(self.weights_to_prune, sampled)

    def finalize_variable_values(self, var_list: Any) -> None:
        """Lets the inner optimizer write averaged weights, and masks those."""
        self.show_evaluated()
        if any(part.use_ema for part in parts(self.inner_optimizer)):
            self.inner_optimizer.finalize_variable_values(var_list)
            assign(self.learned, self.weights_to_prune)
            self.set_masks([ops.convert_to_numpy(mask) for mask in self.masks])

    def save_own_variables(self, store: Any) -> None:
        """Saves masks and counters; the inner optimizer saves its own."""
        for i, variable in enumerate(self._variables):
            store[str(i)] = ops.convert_to_numpy(variable)

    def load_own_variables(self, store: Any) -> None:
        """Restores masks and counters, and refuses those of another model or method."""
        if not self.built:
            super().load_own_variables(store)  # Keras's warning: nothing to load into yet.
            return
        saved = [store[str(i)] for i in range(len(store.keys()))]
        own = [tuple(variable.shape) for variable in self._variables]
        # Files of versions that kept no notes lack these.
        needed = own[: len(own) - len(self.notes)]
        if [tuple(value.shape) for value in saved] not in (own, needed):
            raise ValueError(
                "This checkpoint was written by another sparse training: it holds "
                f"{len(saved)} masks and counters, and {len(own)} of particular shapes are "
                "needed. Use the model, method and arguments that it was written with."
            )
        for variable, value in zip(self._variables, saved, strict=False):
            variable.assign(value)

    def get_config(self) -> dict[str, Any]:
        """The inner optimizer, the rule and the targets, serialized."""
        return {
            "name": self.name,
            "inner_optimizer": keras.saving.serialize_keras_object(self.inner_optimizer),
            "rule": keras.saving.serialize_keras_object(self.rule),
            "targets": [target.get_config() for target in self.targets],
            "notes": {
                key: {"shape": list(value.shape), "dtype": str(value.dtype)}
                for key, value in self._first_notes.items()
            },
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> SparseOptimizer:
        """Builds the optimizer from `get_config`."""
        read = keras.saving.deserialize_keras_object
        return cls(
            read(config["inner_optimizer"], custom_objects=custom_objects),
            read(config["rule"], custom_objects=custom_objects),
            [Target.from_config(target) for target in config["targets"]],
            name=config.get("name"),
            notes={
                key: np.zeros(note["shape"], note["dtype"])
                for key, note in config.get("notes", {}).items()
            },
        )


def _checked_targets(targets: Sequence[Target]) -> Sequence[Target]:
    several = isinstance(targets, Sequence) and not isinstance(targets, str)
    if not several or not all(isinstance(target, Target) for target in targets):
        raise wrong("targets", targets, "the Targets of a Selection")
    return targets
