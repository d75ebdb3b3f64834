"""AdaPrune: the weights that magnitude keeps, re-fitted to the layers' outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from rich.progress import track
from typing_extensions import Unpack

from keras_sparse.messages.arguments import boolean, integer, number
from keras_sparse.messages.keywords import known_keywords
from keras_sparse.posttrain.command import command
from keras_sparse.posttrain.exact_obs import refit
from keras_sparse.posttrain.layer_hessians import damped
from keras_sparse.posttrain.layer_inputs import PRODUCTS, SQUARES, chosen_layers, input_rows
from keras_sparse.posttrain.layer_shares import layer_budget
from keras_sparse.posttrain.pruned_weights import PrunedWeights, from_rows, to_rows
from keras_sparse.posttrain.recording import called_in_order, recorded, summed
from keras_sparse.posttrain.solving import solve_layers, warn_of_magnitude
from keras_sparse.probe.calibration import calibration_batches
from keras_sparse.probe.graph_walk import Walk, walks
from keras_sparse.sparsity.allocation import Allocation
from keras_sparse.sparsity.recipe import PatternArguments
from keras_sparse.sparsity.report import SparsityReport
from keras_sparse.sparsity.selection import Target

_KEPT_OF_EACH_SIDE = 2**29  # bytes


@command
@known_keywords(PatternArguments)
def adaprune(
    model: keras.Model,
    data: Any,
    sparsity: float | None = None,
    *,
    damping: float = 1e-4,
    batch_size: int = 128,
    verbose: bool = False,
    allocation: Allocation = "global",
    **kwargs: Unpack[PatternArguments],
) -> SparsityReport:
    """Prunes by magnitude and re-fits what is left of each layer to the outputs that it had.

    For every output the kept weights minimize the squared change of that output over the
    calibration samples, by least squares, with the inputs that the layer gets in the dense model.

    The time of a layer grows with `outputs * (density * d) ** 3` for d inputs (`height * width *
    channels` of a kernel). Memory: `3 * d * d * 8` bytes a layer, and the inputs of one batch.

    ```python
    ks.adaprune(model, x[:1000], granularity="2:4")
    ```

    Args:
        model: A built Keras model.
        data: Calibration inputs: arrays, or a finite iterable of batches. Targets are not needed;
            given with them, as `(x, y)`, they play no part.
        sparsity: Fraction of weights to remove. See `prune`.
        damping: Pull towards the old weights, as a fraction of the mean squared input, above 0.
        batch_size: Samples in a forward pass, for arrays.
        verbose: Whether to show progress.
        allocation: See `SparseCallback`. With `"global"` each layer keeps as many weights as a
            ranking of all layers by `W_ij^2 ||X_j||^2`, relative to the larger ones of the layer
            (LAMP), leaves it.
        **kwargs: `granularity`, `exclude`, `include`, `keep_dense`, `strict`: see `SparseCallback`.

    Returns:
        A `SparsityReport` of the pruned model.

    Raises:
        ValueError: For arguments out of range, a model with nothing to prune, or inputs that the
            model does not take or that are not finite.

    Warns:
        SparsityWarning: If a layer is left without a re-fit because its inputs cannot be seen,
            or has more inputs than there are samples.

    Source: Hubara et al. (2021).
    """
    number("damping", damping, "(0, inf)")
    integer("batch_size", batch_size)
    boolean("verbose", verbose)
    chosen = PrunedWeights(model, sparsity, {**kwargs, "allocation": allocation})
    targets = chosen.selection.targets

    def solve(
        i: int, weight: np.ndarray, hessian: np.ndarray | None, keep: int
    ) -> tuple[np.ndarray, np.ndarray]:
        mask = chosen.mask_of(i, np.abs(weight), keep)
        if hessian is None:
            return weight, mask
        return _refitted(targets[i], damping, hessian, hessian, weight, mask), mask

    solved = solve_layers(
        chosen, data, batch_size, PRODUCTS, solve, sequential=False, verbose=verbose
    )
    solved.warn("adaprune")
    return chosen.report()


@command
@known_keywords(PatternArguments)
def global_adaprune(
    model: keras.Model,
    data: Any,
    sparsity: float | None = None,
    *,
    damping: float = 1e-4,
    batch_size: int = 128,
    verbose: bool = False,
    allocation: Allocation = "global",
    **kwargs: Unpack[PatternArguments],
) -> SparsityReport:
    """Prunes as `adaprune` does, with each layer also making up for what those before it lost.

    Sequential least squares: layers are re-fitted one by one, in the order in which the model calls
    them, and not again. A layer's inputs are those of the model as far as it is compressed, its
    targets the outputs that it had in the dense model. (The source trains all layers jointly, with
    Adam.)

    Batches go through the dense and the compressed model side by side and wait before the layer
    that is next; through a subclassed model they run anew for each layer. Memory: `3 * d * d * 8`
    bytes for the largest layer of d inputs, the inputs of one batch twice, the weights twice, and
    1 GiB at most of what waits; where that takes more, batches wait further back.

    ```python
    ks.global_adaprune(model, x[:1000], granularity="2:4")
    ```

    Args:
        model: A built Keras model.
        data: Calibration inputs: arrays, or a finite iterable of batches. Targets are not needed;
            given with them, as `(x, y)`, they play no part.
        sparsity: Fraction of weights to remove. See `prune`.
        damping: Pull towards the old weights, as a fraction of the mean squared input, above 0.
        batch_size: Samples in a forward pass, for arrays.
        verbose: Whether to show progress.
        allocation: See `SparseCallback`. With `"global"` each layer keeps as many weights as a
            ranking of all layers by `W_ij^2 ||X_j||^2`, relative to the larger ones of the layer
            (LAMP), leaves it.
        **kwargs: `granularity`, `exclude`, `include`, `keep_dense`, `strict`: see `SparseCallback`.

    Returns:
        A `SparsityReport` of the pruned model.

    Raises:
        ValueError: As `adaprune`; the model is then as it was.

    Warns:
        SparsityWarning: If a layer is left without a re-fit because its inputs cannot be seen.

    Source: Frantar and Alistarh (2022b), inputs of the compressed network.
    """
    number("damping", damping, "(0, inf)")
    integer("batch_size", batch_size)
    boolean("verbose", verbose)
    chosen = PrunedWeights(model, sparsity, {**kwargs, "allocation": allocation})
    dense = chosen.read()
    batches = [x for x, _ in calibration_batches(model, data, batch_size, targets=False)]
    squares = summed(chosen, SQUARES.layers(chosen), batches, SQUARES.of)
    budget = layer_budget(chosen, [np.ones(()) if s is None else s for s in squares])
    masks = chosen.masks([np.abs(weight) for weight in dense], budget)
    now = list(dense)
    layers = chosen_layers(chosen)
    order = called_in_order(chosen.model, [each for each in layers if each is not None], batches[0])
    seen = [i for i, layer in enumerate(layers) if layer is not None and id(layer) in order]
    seen.sort(key=lambda i: order.index(id(layers[i])))
    sides = [walks(chosen.model, batches, _KEPT_OF_EACH_SIDE) for _ in range(2)]
    inputs = list(zip(batches, *sides, strict=True))
    try:
        for i in track(seen, "layer by layer", disable=not verbose):
            products = _products(chosen, layers[i], i, inputs, dense, now, masks)
            target = chosen.selection.targets[i]
            now[i] = _refitted(target, damping, *products, dense[i], masks[i])
    except BaseException:
        chosen.write(dense, [np.ones_like(mask) for mask in masks])
        raise
    chosen.write(now, masks)
    unseen = [t.path for i, t in enumerate(chosen.selection.targets) if i not in seen]
    warn_of_magnitude(unseen, "global_adaprune", stacklevel=4)
    return chosen.report()


def _products(
    chosen: PrunedWeights,
    layer: keras.layers.Layer,
    place: int,
    inputs: Sequence[tuple[Any, Walk | None, Walk | None]],
    dense: list[np.ndarray],
    now: list[np.ndarray],
    masks: list[np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """Compressed inputs times themselves and times the dense ones, `(d, d)`."""
    variable = chosen.variables[place]
    own: Any = 0.0
    cross: Any = 0.0
    everything = [np.ones_like(mask) for mask in masks]
    for x, of_dense, of_compressed in inputs:
        chosen.write(dense, everything)
        (wanted,) = recorded(chosen.model, [layer], x, of_dense)
        chosen.write(now, masks)
        (given,) = recorded(chosen.model, [layer], x, of_compressed)
        for one, other in zip(given, wanted, strict=True):
            sides = (np.asarray(side, np.float64) for side in (one, other))
            rows, before = (input_rows(layer, variable, side) for side in sides)
            own = own + rows.T @ rows
            cross = cross + rows.T @ before
    return own, cross


def _refitted(
    target: Target,
    damping: float,
    own: np.ndarray,
    cross: np.ndarray,
    weight: np.ndarray,
    mask: np.ndarray,
) -> np.ndarray:
    hessian, _ = damped(own, damping)
    rows = to_rows(target.layout, weight)
    # What damping adds to the matrix it adds to the target, so that it pulls to the old weights.
    wanted = rows @ (cross + hessian - own).T
    return from_rows(target.layout, refit(hessian, wanted, to_rows(target.layout, mask)))
