"""Sparse training where the optimizer is not `model.optimizer`: GANs and loops of one's own."""

from __future__ import annotations

import copy
import math
from typing import Any

import keras

from keras_sparse.engine.callback import SparseCallback
from keras_sparse.engine.installation import LossScaleOptimizer
from keras_sparse.messages.arguments import instance, integer
from keras_sparse.sparsity.duration import Run


def sparse_optimizer(
    optimizer: keras.optimizers.Optimizer,
    model: keras.Model,
    method: SparseCallback,
    *,
    steps: int,
    epochs: int = 1,
) -> Any:
    """Makes an optimizer keep a model sparse by a method, without `model.fit`.

    For models whose `train_step` uses optimizers of its own, such as GANs, and for training loops
    of one's own. Every step of the optimizer is a step of the method.

    ```python
    optimizer = ks.sparse_optimizer(keras.optimizers.Adam(), model, ks.GMP(0.9), steps=1000)
    for x, y in batches:
        with tf.GradientTape() as tape:
            loss = loss_function(y, model(x, training=True))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables))
    optimizer.finalize_variable_values(model.trainable_variables)
    ```

    The last line is needed where the optimizer averages weights (`use_ema`) and where the method
    draws weights at random. What a callback does at the ends of epochs, logs above all, is left
    out: `ks.report(model)` says how sparse the model is.

    Args:
        optimizer: The Keras optimizer that trains the model, which must be new or have trained
            this model only.
        model: The built model whose weights it trains, such as the generator of a GAN. It need
            not be compiled.
        method: A callback of this package with its settings, such as `ks.GMP(0.9)`.
        steps: Steps of the whole training, by which the method plans.
        epochs: Into how many epochs of equal length they are divided, for methods that plan in
            epochs (`ACDC`, and durations given in epochs).

    Returns:
        The optimizer to train with in place of the given one.

    Raises:
        ValueError: If the model or the number of steps does not suit the method, or the method
            needs `model.fit`, as those do that take two gradients in a step or several workers.
    """
    instance("optimizer", optimizer, keras.optimizers.Optimizer, "a Keras optimizer")
    instance("method", method, SparseCallback, "a callback, such as keras_sparse.GMP(0.9)")
    integer("steps", steps)
    integer("epochs", epochs)
    run = Run(epochs, math.ceil(steps / epochs))
    scaled = isinstance(optimizer, LossScaleOptimizer)
    inner = optimizer.inner_optimizer if scaled else optimizer
    sparse = copy.copy(method).install_in(inner, model, run)
    if not scaled:
        return sparse
    optimizer.inner_optimizer = sparse
    return optimizer
