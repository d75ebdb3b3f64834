"""Top-K+: the gradient of the dense and of the pruned model, together."""

from __future__ import annotations

import numpy as np

from keras_sparse.engine.rule import Rule
from keras_sparse.methods.compression_aware.base import CompressionAwareCallback
from keras_sparse.methods.compression_aware.cram import CrAMRule
from keras_sparse.sparsity.duration import Run
from keras_sparse.sparsity.selection import Selection


class TopKPlus(CompressionAwareCallback):
    """Trains a dense model by the sum of its gradient and that of the pruned model.

    `theta <- theta - eta (grad L(theta) + M grad L(M theta))`, M the mask of the largest weights:
    `CrAM` with masked gradients and without a perturbation. Without the first gradient it is
    `STE`. A step costs two steps of plain training.

    ```python
    model.fit(x, y, epochs=30, callbacks=[ks.TopKPlus([0.5, 0.7, 0.9])])
    ```

    Args:
        sparsities: As in `CrAM`.
        operators: As in `CrAM`.
        **kwargs: `granularity` and `allocation` of the sparsities, `exclude`, `include`,
            `keep_dense`, `strict`, `seed`: see `SparseCallback`.

    Raises:
        ValueError: As `CrAM` does.

    Source: Peste et al. (2023), equation 5.9.
    """

    command = "topk_plus"

    def make_rule(self, run: Run, selection: Selection, final: np.ndarray) -> Rule:
        """Two gradients a step."""
        return CrAMRule(self.bound(selection), self.seed or 0, rho=0.0, sparse_gradients=True)
