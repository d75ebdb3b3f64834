"""Pruning at initialization that preserves the gradient flow."""

from __future__ import annotations

from typing import Any

from typing_extensions import Unpack

from keras_sparse.methods.at_start.sensitivity import GRASP_TEMPERATURE
from keras_sparse.methods.at_start.snip import SNIP, SNIPArguments


class GraSP(SNIP):
    """Prunes once, before the first step, so that the gradient stays as large as it can.

    Removing a weight changes the squared norm of the gradient, to first order, by
    `-2 w (H g)` with the Hessian `H` of the loss. The weights where this is highest go (their
    removal harms the gradient flow least, or even helps it); those with the highest `w (H g)`
    stay. Gradient and Hessian are those of the whole data, at logits that are divided by a
    temperature: near the uniform prediction, where the scores say how the network carries
    gradients and not which of its first guesses happen to be wrong.

    ```python
    grasp = ks.GraSP(sparsity=0.95, data=(x_train[:100], y_train[:100]))
    model.fit(x_train, y_train, epochs=30, callbacks=[grasp])
    ```

    Args:
        sparsity: Fraction of weights to remove, in [0, 1).
        data: What to score on: `(x, y)`, or batches that can be gone through twice.
        loss: A Keras cross-entropy, its name, or a function `loss(y, logits)` to score with; or
            the name of one that needs no labels, as for `SNIP`. Defaults to the compiled loss.
        temperature: What logits are divided by for scoring, greater than 0. Of models that end
            in a softmax or sigmoid the logits are taken back from the probabilities. A loss that
            has no logits, such as that of a regression, needs 1.
        **kwargs: `batch_size`, `initializer`, `reinitialize`, `isometry`, `min_per_layer` and
            the common arguments: see `SNIP`.

    Attributes:
        masks: Boolean arrays by the paths of the weights, once training has begun.

    Raises:
        ValueError: As `SNIP`.

    Source: Wang, Zhang and Grosse (2020), "Picking winning tickets before training by preserving
    gradient flow", Eq. 8; the temperature is that of the authors' code.
    """

    command = "grasp"

    def __init__(
        self,
        sparsity: float | None = None,
        data: Any = None,
        *,
        loss: Any = None,
        temperature: float = GRASP_TEMPERATURE,
        **kwargs: Unpack[SNIPArguments],
    ) -> None:
        super().__init__(
            sparsity, data, criterion="grasp", loss=loss, temperature=temperature, **kwargs
        )
