"""Training with a mask that never changes."""

from __future__ import annotations

from typing import Any

from keras import ops
from typing_extensions import Unpack

from keras_sparse.messages.arguments import one_of
from keras_sparse.methods.at_start.base import InitialMasks
from keras_sparse.sparsity.given_masks import check_masks, masks_of
from keras_sparse.sparsity.recipe import CommonArguments
from keras_sparse.sparsity.saliency import SALIENCIES, scores
from keras_sparse.sparsity.selection import Selection

_CURRENT = "current"


class StaticMask(InitialMasks):
    """Trains with masks that are chosen before the first step and never change.

    ```python
    model.fit(x, y, epochs=30, callbacks=[ks.StaticMask(sparsity=0.9)])  # random at init
    model.fit(x, y, epochs=5, callbacks=[ks.StaticMask(mask="current")])  # fine-tune a sparse model
    ```

    Args:
        sparsity: Fraction of weights to remove, in [0, 1). Left out where the mask says it.
        mask: `"random"`, `"magnitude"` (of the weights at the start), `"current"` (the zeros
            that the model has), or masks: boolean arrays, either a mapping from layer names or
            variable paths, or a list in the order of the weights to prune.
        isometry: Whether to make the pruned kernels as orthogonal as their masks allow: `True`,
            or a mapping of arguments of `enforce_isometry`.
        reinitialize: A Keras initializer that draws the pruned layers' kernels anew, once the
            masks are chosen. Defaults to keeping the weights.
        **kwargs: `granularity`, `allocation`, `exclude`, `include`, `keep_dense`, `strict`, `seed`:
            see `SparseCallback`.

    Raises:
        ValueError: For a sparsity together with given masks, isometry together with a
            reinitialization, unknown names, masks of the wrong shape, or a model with nothing to
            prune.

    Attributes:
        masks: Boolean arrays by the paths of the weights, once training has begun.

    Source: the random and magnitude baselines at initialization of Lee (2020), chapter 4.
    """

    command = "static"

    def __init__(
        self,
        sparsity: float | None = None,
        mask: Any = "random",
        *,
        isometry: Any = False,
        reinitialize: Any = None,
        **kwargs: Unpack[CommonArguments],
    ) -> None:
        self.mask = _checked_mask(mask)
        if not self.sparsity_required and sparsity is not None:
            raise ValueError(
                "sparsity follows from the mask when mask is 'current' or masks. "
                f"Received: sparsity={sparsity}. Leave one of the two out."
            )
        super().__init__(sparsity, isometry=isometry, reinitialize=reinitialize, **kwargs)

    @property
    def sparsity_required(self) -> bool:
        """Whether there must be a sparsity."""
        return isinstance(self.mask, str) and self.mask != _CURRENT

    def choose(self, selection: Selection, weights: list[Any]) -> list[Any]:
        """The masks to train with."""
        if self.mask == _CURRENT:
            return [ops.convert_to_numpy(weight) != 0 for weight in weights]
        if not self.sparsity_required:
            return masks_of(selection, self.mask, "mask")
        tensors = [ops.convert_to_tensor(weight) for weight in weights]
        return self.recipe.masks(selection, scores(self.mask, tensors, self.seed))


def _checked_mask(mask: Any) -> Any:
    """A name, a mapping of boolean arrays, or a list of them."""
    if isinstance(mask, str):
        return one_of("mask", mask, (*SALIENCIES, _CURRENT))
    allowed = "'random', 'magnitude', 'current', or boolean arrays in a mapping or a list"
    return check_masks("mask", mask, allowed)
