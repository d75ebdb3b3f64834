"""Pruning at initialisation that preserves the gradient flow."""

from __future__ import annotations

from typing import Any

from keras_sparse.methods.at_start.snip import SNIP


class GraSP(SNIP):
    """Prunes once, before the first step, so that the gradient stays as large as it can.

    Removing a weight changes the squared norm of the gradient, to first order, by
    `-2 w (H g)` with the Hessian `H` of the loss. The weights where this is highest go (their
    removal harms the gradient flow least, or even helps it); those with the highest `w (H g)`
    stay. Gradient and Hessian are those of the whole data.

    ```python
    grasp = ks.GraSP(sparsity=0.95, data=(x_train[:100], y_train[:100]))
    model.fit(x_train, y_train, epochs=30, callbacks=[grasp])
    ```

    Args:
        sparsity: Fraction of weights to remove, in [0, 1).
        data: What to score on: `(x, y)`, or batches that can be gone through twice.
        **kwargs: `batch_size`, `initializer`, `reinitialize`, `min_per_layer` and the common
            arguments: see `SNIP`.

    Attributes:
        masks: Boolean arrays by the paths of the weights, once training has begun.

    Raises:
        ValueError: As `SNIP`.

    Source: Wang, Zhang and Grosse (2020), "Picking winning tickets before training by preserving
    gradient flow", Eq. 8, with softmax at temperature 1.
    """

    command = "grasp"

    def __init__(self, sparsity: float | None = None, data: Any = None, **kwargs: Any) -> None:
        super().__init__(sparsity, data, criterion="grasp", **kwargs)
