"""A callback that measures how signals pass through a network while it trains."""

from __future__ import annotations

from typing import Any

from keras_sparse.analysis.signal.jacobians import Jacobians
from keras_sparse.analysis.signal.layers import layer_singular_values, ldi_defect
from keras_sparse.engine.fit_callback import FitCallback
from keras_sparse.messages.arguments import integer
from keras_sparse.probe.calibration import check_data
from keras_sparse.signal_propagation.orthogonality import orthogonality_score
from keras_sparse.sparsity.duration import Run


class SignalPropagation(FitCallback):
    """Logs how signals pass through a network: after some epochs, and before the first step.

    It adds to the logs `orthogonality` (the mean score of the kernels), `jsv_mean`, `jsv_std`,
    `jsv_min`, `jsv_max` and `jsv_condition` (of the singular values of the Jacobian of logits by
    inputs) and `ldi_defect` (the largest of a layer). List it behind the callback that prunes.

    ```python
    probe = ks.SignalPropagation(x[:32], every=5)
    model.fit(x, y, epochs=10, callbacks=[ks.StaticMask(0.9, isometry=True), probe])
    print(probe.start["jsv_mean"])
    ```

    Args:
        x: A few samples: inputs, `(x, y)`, or a finite iterable of batches of them.
        every: After how many epochs it measures. In between it logs what it last found.

    Attributes:
        start: What it found before the first step, by the same names.

    Raises:
        ValueError: At construction for arguments out of range; before the first step for a model
            that ends in a softmax or has several inputs or outputs, or unsuitable data.

    Source: Lee (2020), Figures 4.2a and 4.4.
    """

    def __init__(self, x: Any, every: int = 1) -> None:
        super().__init__()
        check_data(x)
        self.x, self.every = x, integer("every", every)
        self.start: dict[str, float] = {}
        self._last: dict[str, float] = {}
        self._jacobians: Jacobians | None = None

    def _settings(self) -> dict[str, Any]:
        return {**vars(self), "_jacobians": None}

    def install(self, run: Run) -> None:
        """Compiles what it measures with."""
        self._jacobians = Jacobians(self.model)

    def uninstall(self) -> None:
        """Lets go of the model."""
        self._jacobians = None

    def begin_epoch(self, epoch: int) -> None:
        """Measures before the first step of a `fit`."""
        if not self._last:
            self.start = self._last = self._measured_now()

    def epoch_logs(self, epoch: int, logs: dict[str, float]) -> dict[str, float]:
        """What it found."""
        if (epoch + 1) % self.every == 0:
            self._last = self._measured_now()
        return self._last

    def on_train_end(self, logs: Any = None) -> None:
        """Leaves the model; a further `fit` is measured from its own start."""
        super().on_train_end(logs)
        self._last = {}

    def _measured_now(self) -> dict[str, float]:
        if self._jacobians is None:
            raise RuntimeError("SignalPropagation measures in fit only.")
        found = self._jacobians.singular_values(self.x)
        layers = layer_singular_values(self.model, self.x).values()
        return {
            "orthogonality": float(orthogonality_score(self.model)),
            "jsv_mean": found.mean,
            "jsv_std": found.std,
            "jsv_min": found.min,
            "jsv_max": found.max,
            "jsv_condition": found.condition,
            "ldi_defect": max(map(ldi_defect, layers)),
        }
