"""Single-shot pruning at initialization by connection sensitivity."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from typing_extensions import Unpack

from keras_sparse.messages.arguments import integer
from keras_sparse.messages.keywords import known_keywords
from keras_sparse.methods.at_start.base import (
    InitialMasks,
    check_min_per_layer,
    checked_initializer,
    draw,
    masks_by_path,
    masks_from_scores,
)
from keras_sparse.methods.at_start.sensitivity import (
    GRASP_TEMPERATURE,
    check_sensitivity,
    connection_sensitivity,
)
from keras_sparse.methods.at_start.unsupervised import checked_loss
from keras_sparse.probe.calibration import check_data
from keras_sparse.probe.snapshot import borrowed
from keras_sparse.sparsity.recipe import CommonArguments, Recipe, RecipeArguments
from keras_sparse.sparsity.selection import Selection


class SNIPArguments(CommonArguments, total=False):
    """The arguments that `SNIP` and `GraSP` share, besides the sparsity and the data."""

    batch_size: int
    accumulate: str
    initializer: Any
    reinitialize: Any
    isometry: Any
    min_per_layer: float


class SNIP(InitialMasks):
    """Prunes once, before the first step: weights that the loss of some data does not feel go.

    Each weight is scored by `|w g|` with the gradient `g` of the loss at the initial weights, in
    inference mode, in one ranking over all layers. Masks then stay as they are, so that training
    is sparse from its first step. A resumed training keeps its masks and scores nothing anew.

    ```python
    snip = ks.SNIP(sparsity=0.95, data=(x_train[:100], y_train[:100]))
    model.fit(x_train, y_train, epochs=30, callbacks=[snip])
    other.fit(x, y, epochs=30, callbacks=[ks.StaticMask(mask=snip.masks)])
    ```

    Args:
        sparsity: Fraction of weights to remove, in [0, 1).
        data: What to score on: `(x, y)`, or a finite iterable of such batches; without labels,
            inputs alone will do. A callback cannot see the data of `fit`.
        batch_size: Samples in a batch, for arrays.
        accumulate: How batches add up: `"gradient"` (as if they were one), `"saliency"` (the
            mean of absolute scores) or `"ema"` (their moving average, of decay 0.9).
        initializer: A Keras initializer that draws the weights to score with; the model gets its
            own back. Defaults to scoring the model's weights.
        reinitialize: A Keras initializer that draws the pruned layers' kernels anew, once the
            masks are chosen. Defaults to keeping the weights.
        isometry: Whether to make the pruned kernels as orthogonal as their masks allow: `True`,
            or a mapping of arguments of `enforce_isometry`.
        min_per_layer: Weights that each layer keeps at least, or a fraction below 1 of them.
        criterion: `"snip"`, or `"gradient"` for `|g|`.
        loss: A Keras loss, its name, or a function `loss(y, logits)` to score with; or the name
            of one that needs no labels: `"uniform"` (cross-entropy with the same target for all
            classes), `"pred_softmax"` (with the mean prediction as target), `"pred_raw"` (the
            mean logit), `"jacobian_l1"` or `"jacobian_l2"` (the mean norm of the Jacobian of
            logits by inputs). Defaults to the compiled loss.
        temperature: What the model's logits are divided by for scoring.
        **kwargs: `granularity`, `allocation`, `exclude`, `include`, `keep_dense`, `strict`, `seed`:
            see `SparseCallback`.

    Attributes:
        masks: Boolean arrays by the paths of the weights, once training has begun.

    Raises:
        ValueError: At construction for arguments out of range or missing data; before the first
            step for data that does not fit the model, a temperature where the loss takes no
            logits, or scores that are all zero or not finite.

    Source: Lee (2020), Chapter 3, Algorithm 1; without labels and isometry: Chapter 4.
    """

    command = "snip"

    def __init__(
        self,
        sparsity: float | None = None,
        data: Any = None,
        *,
        batch_size: int = 128,
        accumulate: str = "gradient",
        initializer: Any = None,
        reinitialize: Any = None,
        isometry: Any = False,
        min_per_layer: float = 0,
        criterion: str = "snip",
        loss: Any = None,
        temperature: float = 1.0,
        **kwargs: Unpack[CommonArguments],
    ) -> None:
        super().__init__(sparsity, reinitialize=reinitialize, isometry=isometry, **kwargs)
        name = type(self).__name__
        check_arguments(name, data, criterion, accumulate, min_per_layer, temperature)
        self.data, self.accumulate = data, accumulate
        self.batch_size = integer("batch_size", batch_size)
        self.initializer = checked_initializer("initializer", initializer)
        self.min_per_layer, self.criterion = min_per_layer, criterion
        self.loss = checked_loss(loss)
        self.temperature = temperature

    def choose(self, selection: Selection, weights: list[Any]) -> list[Any]:
        """The weights of the highest scores."""
        with borrowed(self.model, weights):
            if self.initializer is not None:
                draw(self.model, weights, self.initializer, self.seed)
            scores = connection_sensitivity(
                self.model,
                weights,
                self.data,
                criterion=self.criterion,
                loss=self.loss,
                batch_size=self.batch_size,
                accumulate=self.accumulate,
                temperature=self.temperature,
            )
        return masks_from_scores(self.recipe, selection, scores, self.min_per_layer)


@known_keywords(RecipeArguments)
def connection_sensitivity_masks(
    model: keras.Model,
    data: Any,
    sparsity: float | None = None,
    *,
    loss: Any = None,
    criterion: str = "snip",
    batch_size: int = 128,
    accumulate: str = "gradient",
    min_per_layer: float = 0,
    temperature: float | None = None,
    **kwargs: Unpack[RecipeArguments],
) -> dict[str, np.ndarray]:
    """The masks that `SNIP` or `GraSP` would train with, without training or changing anything.

    ```python
    masks = ks.connection_sensitivity_masks(model, (x[:100], y[:100]), sparsity=0.9)
    model.fit(x, y, epochs=30, callbacks=[ks.StaticMask(mask=masks)])
    ```

    Args:
        model: A built Keras model.
        data: `(x, y)`, or a finite iterable of such batches.
        sparsity: Fraction of weights to remove, in [0, 1).
        loss: As for `SNIP`, the names of losses without labels included. Defaults to the compiled
            loss.
        criterion: `"snip"`, `"gradient"` or `"grasp"`.
        batch_size: Samples in a batch, for arrays.
        accumulate: `"gradient"`, `"saliency"` or `"ema"`: see `SNIP`.
        min_per_layer: Weights that each layer keeps at least, or a fraction below 1 of them.
        temperature: What the model's logits are divided by. Defaults to 200 for `"grasp"`, as
            its authors have it, and to 1 for the others.
        **kwargs: `granularity`, `allocation`, `exclude`, `include`, `keep_dense`, `strict`: see
            `SparseCallback`.

    Returns:
        Boolean arrays, True where a weight is kept, by the paths of the weights.

    Raises:
        ValueError: For arguments out of range, missing or unsuitable data, no loss or none that
            takes logits, or scores that are all zero or not finite.

    Source: Lee (2020), Eqs. 3.5-3.7.
    """
    if temperature is None:
        temperature = GRASP_TEMPERATURE if criterion == "grasp" else 1.0
    name = "connection_sensitivity_masks"
    check_arguments(name, data, criterion, accumulate, min_per_layer, temperature)
    integer("batch_size", batch_size)
    recipe = Recipe(sparsity, **kwargs)
    selection = recipe.select(model)
    scores = connection_sensitivity(
        model,
        selection.variables(model),
        data,
        criterion=criterion,
        loss=checked_loss(loss),
        batch_size=batch_size,
        accumulate=accumulate,
        temperature=temperature,
    )
    masks = masks_from_scores(recipe, selection, scores, min_per_layer)
    chosen = masks_by_path(selection.targets, masks)
    recipe.check_filled(selection, [int(mask.sum()) for mask in chosen.values()])
    return chosen


def check_arguments(
    name: str,
    data: Any,
    criterion: str,
    accumulate: str,
    min_per_layer: float,
    temperature: float,
) -> None:
    """Checks what can be checked before a model is known.

    Raises:
        ValueError: For missing data, unknown names and numbers out of range.
    """
    if data is None:
        raise ValueError(
            f"{name} scores weights on data and needs some: data=(x, y), such as "
            "data=(x_train[:128], y_train[:128]), or a tf.data.Dataset of batches."
        )
    check_data(data)
    check_sensitivity(criterion, accumulate, 0.9, temperature)
    check_min_per_layer(min_per_layer)
