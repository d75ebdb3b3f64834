"""Stochastic gradient descent whose settings are variables."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_sparse.messages.arguments import boolean, integer, number


@keras.saving.register_keras_serializable(package="keras_sparse")
class MomentumSGD(keras.optimizers.Optimizer):
    """SGD with momentum, in which the learning rate stands outside of the sum of gradients.

    `v = m v + g`, then `w -= r v`, or with Nesterov's form `w -= r (g + m v)`. Keras's own SGD has
    `v = m v - r g` and `w += v`: the same at a constant rate, but one that falls is felt later.
    All settings are variables, so that `set` changes them and compiles nothing anew.

    ```python
    model.compile(ks.tuning.MomentumSGD(0.1, momentum=0.9), "mse")
    model.optimizer.build(model.trainable_variables)
    model.optimizer.set(learning_rate=0.05, momentum=0.99)
    ```

    Args:
        learning_rate: The rate r at the first update.
        momentum: m, 0 for plain SGD.
        nesterov: Whether to use Nesterov's form.
        decay_steps: Updates over which the rate falls linearly; 0 for a constant one.
        end_learning_rate_factor: What it is multiplied with at the end of them.
        warmup_steps: Updates over which it rises linearly from 0 first.
        **kwargs: Further arguments of `keras.optimizers.Optimizer`, such as
            `gradient_accumulation_steps`, whose micro-batches are no updates.

    Raises:
        ValueError: If an argument is out of range.

    Source: Lee (2020), Table 2.1 and Section 5.2.1; Sutskever et al. (2013).
    """

    def __init__(
        self,
        learning_rate: float = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        decay_steps: int = 0,
        end_learning_rate_factor: float = 1.0,
        warmup_steps: int = 0,
        **kwargs: Any,
    ) -> None:
        kwargs.pop("learning_rate", None)
        number("learning_rate", learning_rate, "[0, inf)")
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.nesterov = boolean("nesterov", nesterov)
        self._settings = {
            "momentum": number("momentum", momentum, "[0, 1)"),
            "decay_steps": integer("decay_steps", decay_steps, 0),
            "end_learning_rate_factor": number(
                "end_learning_rate_factor", end_learning_rate_factor, "[0, 1]"
            ),
            "warmup_steps": integer("warmup_steps", warmup_steps, 0),
        }
        self._held: dict[str, Any] = {}

    def build(self, variables: Any) -> None:
        """Makes a velocity for each variable, and a variable of each setting."""
        if self.built:
            return
        super().build(variables)
        self.velocities = self.add_optimizer_variables(variables, "velocity")
        for name, value in self._settings.items():
            initializer = keras.initializers.Constant(value)
            held = self.add_variable(shape=(), initializer=initializer, dtype="float32", name=name)
            self._held[name] = held

    def set(self, **settings: float) -> None:
        """Changes settings, by their names in the constructor.

        Raises:
            ValueError: If there is no such setting.
        """
        for name, value in settings.items():
            if name == "learning_rate":
                self.learning_rate = value
                continue
            if name not in self._settings:
                known = ", ".join(("learning_rate", *self._settings))
                raise ValueError(f"MomentumSGD has no setting {name!r}. It has {known}.")
            self._settings[name] = value
            if self.built:
                self._held[name].assign(value)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Takes one step of a variable."""
        kind = variable.dtype
        momentum, last, factor, warmup = (
            ops.convert_to_tensor(self._held[name]) for name in self._settings
        )
        update = ops.cast(self.iterations, "float32")
        share = ops.minimum(update / ops.maximum(last, 1.0), 1.0)
        decay = ops.where(last > 0, 1.0 - (1.0 - factor) * share, 1.0)
        decay = decay * ops.minimum((update + 1.0) / ops.maximum(warmup, 1.0), 1.0)
        rate = ops.cast(learning_rate, kind) * ops.cast(decay, kind)
        momentum, gradient = ops.cast(momentum, kind), ops.cast(gradient, kind)
        velocity = self.velocities[self._get_variable_index(variable)]
        moved = momentum * ops.convert_to_tensor(velocity) + gradient
        self.assign(velocity, moved)
        step = gradient + momentum * moved if self.nesterov else moved
        self.assign_sub(variable, rate * step)

    def get_config(self) -> dict[str, Any]:
        """The settings, for a saved model."""
        return {**super().get_config(), "nesterov": self.nesterov, **self._settings}
