"""Full fine-tuning of a sparse model on another task."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from typing_extensions import Unpack

from keras_sparse.messages.arguments import boolean, integer
from keras_sparse.messages.keywords import known_keywords
from keras_sparse.methods.at_start.static_mask import StaticMask
from keras_sparse.probe.batch_norm import warn_of_stale_statistics
from keras_sparse.probe.outputs import softmax_layer
from keras_sparse.probe.variables import check_built
from keras_sparse.sparsity.recipe import LayerArguments
from keras_sparse.transfer.backbone import Backbone
from keras_sparse.transfer.result import EpochSeconds, Transfer
from keras_sparse.transfer.training import (
    accuracy_metrics,
    check_sgd,
    classification_loss,
    falling_rate,
    given_data,
    sgd,
    steps_of,
)


@known_keywords(LayerArguments)
def full(
    model: keras.Model,
    x: Any,
    y: Any = None,
    *,
    classes: int | None = None,
    head: Any = None,
    initializer: Any = "he_uniform",
    dense: bool = False,
    epochs: int = 150,
    batch_size: int = 64,
    learning_rate: float = 0.001,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
    optimizer: Any = None,
    loss: Any = None,
    metrics: Sequence[Any] | None = None,
    validation_data: Any = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    seed: int = 0,
    run_eagerly: bool = False,
    verbose: Any = "auto",
    **kwargs: Unpack[LayerArguments],
) -> Transfer:
    """Trains all that is left of a sparse model on another task, with its zeros in place.

    A copy of the model gets a new, dense head. Then all weights that are not zero are trained,
    biases and normalization too; zeros stay zeros in all weights that are pruned by default, and
    in an embedding with `include=`. The given model stays as it is.

    ```python
    task = ks.transfer.full(sparse_model, x, y, classes=10, epochs=8, validation_data=test)
    print(task.best("val_accuracy"), task.sparsity)
    task.model.save("task.keras")
    ```

    Args:
        model: A built model with zeros among its weights.
        x: Inputs, an array; or batches `(x, y)`, such as a `tf.data.Dataset`, without `y`.
        y: Class indices, shape `(samples,)`; with `head` as a mapping any targets.
        classes: How many classes; defaults to what the labels tell.
        head: The layer to replace or its name, found by default; or a mapping from names to new
            layers, for other tasks than classification. See `replace_head`.
        initializer: Of the head's kernel.
        dense: Whether the model has no zeros to keep: a dense reference, or one that was made
            smaller by `ks.structured`.
        epochs: Passes over the data.
        batch_size: Samples in a batch, for arrays.
        learning_rate: SGD's first, which falls to a tenth after each third of the epochs.
        momentum: SGD's.
        weight_decay: SGD's, decoupled from the gradient.
        optimizer: A Keras optimizer in place of SGD with these.
        loss: In place of the cross-entropy of the class indices.
        metrics: In place of the accuracy.
        validation_data: As for `fit`.
        callbacks: More callbacks, such as `ks.Distillation`.
        seed: Of the head and of the order of arrays.
        run_eagerly: As for `compile`.
        verbose: As for `fit`.
        **kwargs: `exclude`, `include`, `keep_dense`, `strict` of what has zeros to keep: see
            `SparseCallback`.

    Returns:
        A `Transfer`, with the compiled model.

    Raises:
        ValueError: If the head cannot be found, labels do not fit, the model has no zeros, or an
            argument is out of range.

    Source: Peste (2023), 4.3.1, 4.4.3 and B.1.
    """
    check_built(model)
    boolean("dense", dense)
    boolean("run_eagerly", run_eagerly)
    integer("epochs", epochs)
    check_sgd(learning_rate, momentum, weight_decay)
    by_name = isinstance(head, Mapping)
    batches, classes = given_data(x, y, classes, batch_size, seed, not by_name)
    backbone = Backbone(model, None if by_name else classes, head, initializer, seed, dense)
    copy = backbone.copy
    lora = [each.name for each in copy._flatten_layers() if getattr(each, "lora_enabled", False)]
    if lora:
        raise ValueError(
            f"Layer {lora[0]!r} of model {model.name!r} has LoRA weights, whose product with each "
            "other has no zeros. Give the model as it was before enable_lora."
        )
    copy.compile(
        optimizer or sgd(learning_rate, momentum, weight_decay, batches, epochs),
        loss=loss or classification_loss(softmax_layer(copy) is None),
        metrics=accuracy_metrics() if metrics is None else list(metrics),
        run_eagerly=run_eagerly,
    )
    last = epochs * (steps_of(batches) or math.inf)
    warn_of_stale_statistics(
        copy,
        last,
        f"After step {last}, the last here,",
        "the upstream task",
        " on the upstream model, keras_sparse.batch_norm_tuning on the new one after it, or train "
        "for more steps",
        stacklevel=3,
    )
    masks = [] if dense else [StaticMask(mask="current", **backbone.without_heads(kwargs))]
    falls = [] if optimizer else falling_rate(learning_rate, batches, epochs)
    seconds = EpochSeconds()
    history = copy.fit(
        batches,
        epochs=epochs,
        shuffle=False,  # The pipeline does.
        validation_data=validation_data,
        callbacks=[*masks, *callbacks, *falls, seconds],
        verbose=verbose,
    )
    return backbone.transfer("full", history=history.history, epoch_seconds=tuple(seconds.seconds))
