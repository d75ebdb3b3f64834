"""How many whole filters of a model are zero."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from keras_sparse.probe.convolutions import CONVOLUTIONS, DEPTHWISE, SEPARABLE, TRANSPOSED
from keras_sparse.probe.variables import check_built
from keras_sparse.sparsity.selection import kernels_of

_CONVOLUTIONS = (*CONVOLUTIONS, *DEPTHWISE, *TRANSPOSED, *SEPARABLE)


def pruned_filters(model: keras.Model) -> float:
    """The fraction of the filters of convolutions that are zero as a whole.

    A filter is what makes one output channel; of a depthwise convolution, what makes one output of
    one input channel. Only what is exactly 0 counts as zero.

    ```python
    print(f"{ks.pruned_filters(model):.1%} of the filters are gone")
    ```

    Args:
        model: A built model.

    Returns:
        A number in [0, 1].

    Raises:
        ValueError: If the model is not built or has no convolution.

    Source: Peste (2023), Table 4.4.
    """
    check_built(model)
    gone = total = 0
    for layer in model._flatten_layers():
        if not isinstance(layer, _CONVOLUTIONS):
            continue
        for kernel, layout in kernels_of(layer):
            matrix = layout.to_matrix(ops.convert_to_tensor(kernel))
            used = np.any(ops.convert_to_numpy(matrix) != 0, axis=(0, 1))
            gone, total = gone + int((~used).sum()), total + used.size
    if not total:
        raise ValueError(
            f"Model {model.name!r} has no convolution, and so no filters. ks.report(model) tells "
            "the zeros of any model."
        )
    return gone / total
