"""Pruning at initialization by synaptic flow, without data."""

from __future__ import annotations

from typing import Any

from typing_extensions import Unpack

from keras_sparse.messages.arguments import integer, sample_shape
from keras_sparse.methods.at_start.base import InitialMasks, check_min_per_layer
from keras_sparse.methods.at_start.synaptic_flow import synflow_masks
from keras_sparse.sparsity.recipe import CommonArguments
from keras_sparse.sparsity.selection import Selection


class SynFlow(InitialMasks):
    """Prunes before the first step, in rounds, what carries least of a signal of ones.

    A weight's score is its share of the sum over all paths of the products of their absolute
    weights. It needs no data, and in rounds it does not empty a layer before all others, however
    high the sparsity. Masks then stay as they are, also when a training is resumed.

    ```python
    model.fit(x_train, y_train, epochs=30, callbacks=[ks.SynFlow(sparsity=0.98)])
    ```

    Args:
        sparsity: Fraction of weights to remove, in [0, 1).
        rounds: Rounds of pruning; after round k of n a density of `rho^(k/n)` is left.
        reinitialize: A Keras initializer that draws the pruned layers' kernels anew, once the
            masks are chosen. Defaults to keeping the weights.
        isometry: Whether to make the pruned kernels as orthogonal as their masks allow: `True`,
            or a mapping of arguments of `enforce_isometry`.
        min_per_layer: Weights that each layer keeps at least, or a fraction below 1 of them.
        input_shape: Shape of one sample without the batch axis, where the model's is open; a
            list of them for a model of several inputs.
        **kwargs: `granularity`, `allocation`, `exclude`, `include`, `keep_dense`, `strict`, `seed`:
            see `SparseCallback`.

    Attributes:
        masks: Boolean arrays by the paths of the weights, once training has begun.

    Raises:
        ValueError: At construction for arguments out of range; before the first step if the
            input shape is not known, or flows are all zero (outputs that are a softmax sum up to
            a constant: give a model of logits) or not finite.

    Source: Tanaka et al. (2020), Algorithm 1.
    """

    command = "synflow"

    def __init__(
        self,
        sparsity: float | None = None,
        *,
        rounds: int = 100,
        reinitialize: Any = None,
        isometry: Any = False,
        min_per_layer: float = 0,
        input_shape: Any = None,
        **kwargs: Unpack[CommonArguments],
    ) -> None:
        super().__init__(sparsity, reinitialize=reinitialize, isometry=isometry, **kwargs)
        check_min_per_layer(min_per_layer)
        self.rounds, self.min_per_layer = integer("rounds", rounds), min_per_layer
        self.input_shape = sample_shape("input_shape", input_shape)

    def choose(self, selection: Selection, weights: list[Any]) -> list[Any]:
        """What carries most when all else is pruned."""
        return synflow_masks(
            self.model,
            self.recipe,
            selection,
            rounds=self.rounds,
            min_per_layer=self.min_per_layer,
            input_shape=self.input_shape,
        )
