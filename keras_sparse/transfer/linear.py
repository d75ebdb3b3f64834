"""Linear fine-tuning: a new head on features that stay as they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_sparse.data import pipeline
from keras_sparse.messages.arguments import boolean, integer, number, one_of
from keras_sparse.probe.layer_graph import layer_graph
from keras_sparse.probe.outputs import softmax_layer
from keras_sparse.probe.variables import check_built
from keras_sparse.transfer.backbone import Backbone
from keras_sparse.transfer.features import features_and_labels, features_before
from keras_sparse.transfer.heads import classifier_call, find_head, is_subclassed
from keras_sparse.transfer.labels import class_labels
from keras_sparse.transfer.logistic_regression import GRID, logistic_regression, penalties
from keras_sparse.transfer.result import EpochSeconds, Transfer
from keras_sparse.transfer.training import (
    accuracy_metrics,
    check_sgd,
    classification_loss,
    falling_rate,
    given_data,
    sgd,
)

SOLVERS = ("sgd", "lbfgs")
FEATURES = ("offline", "online")
_TEST_BATCH = 1024  # Features are small.


def linear(
    model: keras.Model,
    x: Any,
    y: Any = None,
    *,
    classes: int | None = None,
    head: Any = None,
    solver: str = "sgd",
    features: str = "offline",
    initializer: Any = "he_uniform",
    dense: bool = False,
    epochs: int = 150,
    batch_size: int = 64,
    learning_rate: float = 0.01,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
    l2: float | Sequence[float] = GRID,
    validation: float = 0.2,
    validation_data: Any = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    seed: int = 0,
    verbose: Any = "auto",
) -> Transfer:
    """Trains a new head of a sparse model on another task; nothing else of the model changes.

    The features that the head takes are computed in inference mode, by statistics of the upstream
    task. Offline they are computed once and kept in memory; online each batch passes through the
    model in each epoch, which batches that are augmented need.

    ```python
    probe = ks.transfer.linear(sparse_model, x, y, classes=10, solver="lbfgs")
    print(probe.regression.l2, probe.model.predict(x_test).argmax(-1))
    ```

    Args:
        model: A built model with zeros among its weights.
        x: Inputs, an array; or batches `(x, y)`, such as a `tf.data.Dataset`, without `y`.
        y: Class indices, shape `(samples,)`.
        classes: How many classes; defaults to what the labels tell.
        head: The layer to replace or its name, found by default. See `replace_head`.
        solver: `"sgd"`, or `"lbfgs"`: logistic regression, whose penalty is searched for the task
            (`logistic_regression`).
        features: `"offline"` or `"online"`; L-BFGS is offline.
        initializer: Of the head's kernel, for SGD.
        dense: Whether the model has no zeros: a dense reference, or one that was made smaller.
        epochs: Passes over the data, for SGD.
        batch_size: Samples in a batch.
        learning_rate: SGD's first, which falls to a tenth after each third of the epochs.
        momentum: SGD's.
        weight_decay: SGD's, decoupled from the gradient.
        l2: L-BFGS's penalty, or several to choose from.
        validation: Fraction of the samples that is held out to choose it.
        validation_data: `(x, y)` or batches of these, on which SGD is tested after each epoch.
        callbacks: More callbacks, for SGD.
        seed: Of the head, of the order of samples and of those that are held out.
        verbose: As for `fit`.

    Returns:
        A `Transfer`, with the compiled model.

    Raises:
        ValueError: If the head cannot be found or takes no vectors, labels do not fit, the model
            has no zeros, or an argument is out of range.

    Source: Peste (2023), 4.4.2, 4.5, B.1 and B.2.1.
    """
    check_built(model)
    one_of("solver", solver, SOLVERS)
    one_of("features", features, FEATURES)
    boolean("dense", dense)
    integer("epochs", epochs)
    penalties(l2)
    number("validation", validation, "(0, 1)")
    check_sgd(learning_rate, momentum, weight_decay)
    if solver == "lbfgs" and features == "online":
        raise ValueError(
            "L-BFGS looks at all samples in each step, so that features are kept. Received: "
            "solver='lbfgs', features='online'. Leave one of the two out."
        )
    batches, count = given_data(x, y, classes, batch_size, seed, indices=True)
    samples = x if y is None else (np.asarray(x), np.asarray(y))
    if features == "offline":
        _check_unweighted(samples)
    if isinstance(validation_data, (tuple, list)) and len(validation_data) == 2:
        validation_data = tuple(map(np.asarray, validation_data))
    _check_last(model, find_head(model, head))
    backbone = Backbone(model, count, head, initializer, seed, dense)
    copy, (layer,) = backbone.copy, backbone.heads
    if solver == "lbfgs":
        seen = _features(copy, layer, samples, batch_size, count)
        how = {"l2": l2, "validation": validation, "use_bias": layer.use_bias, "seed": seed}
        found = logistic_regression(*seen, count, **how)
        _assign(layer, found.kernel, found.bias)
        _compile(copy)
        return backbone.transfer("linear", regression=found)
    compute = features_before(copy, layer)
    if features == "offline":
        seen = _features(copy, layer, samples, batch_size, count)
        batches = pipeline(*seen, batch_size, seed=seed)
        if validation_data is not None:
            tested = _features(copy, layer, validation_data, batch_size, count)
            validation_data = pipeline(*tested, _TEST_BATCH, shuffle=False)
        compute = ops.convert_to_tensor
    probe = _Probe(compute, layer)
    probe.compile(
        sgd(learning_rate, momentum, weight_decay, batches, epochs),
        loss=classification_loss(from_logits=True),
        metrics=accuracy_metrics(),
    )
    seconds = EpochSeconds()
    history = probe.fit(
        batches,
        epochs=epochs,
        shuffle=False,  # The pipeline does.
        validation_data=validation_data,
        callbacks=[*callbacks, *falling_rate(learning_rate, batches, epochs), seconds],
        verbose=verbose,
    )
    _assign(layer, *(ops.convert_to_numpy(variable) for variable in probe.dense.variables))
    _compile(copy)
    return backbone.transfer(
        "linear", history=history.history, epoch_seconds=tuple(seconds.seconds)
    )


class _Probe(keras.Model):
    """The head by itself, on features that are computed or given."""

    def __init__(self, features: Callable[[Any], Any], head: keras.layers.Layer) -> None:
        super().__init__(name="probe")
        *_, inputs, classes = head.kernel.shape
        self.features = features
        self.dense = keras.layers.Dense(classes, use_bias=head.use_bias, dtype="float32")
        self.dense.build((None, inputs))
        values = (ops.convert_to_numpy(variable) for variable in _parts(head))
        _assign(self.dense, *values)
        self.built = True

    def call(self, x: Any) -> Any:
        return self.dense(ops.stop_gradient(self.features(x)))

    def save(self, *args: Any, **kwargs: Any) -> None:
        raise ValueError(
            "What is trained here is the head alone, by itself no model to be saved. Save the "
            "model of the Transfer that is returned, or its weights by save_weights_only=True."
        )


def _parts(head: keras.layers.Layer) -> list[Any]:
    return [head.kernel, head.bias] if head.use_bias else [head.kernel]


def _assign(head: keras.layers.Layer, *values: np.ndarray) -> None:
    for variable, value in zip(_parts(head), values, strict=False):
        variable.assign(np.reshape(value, variable.shape))


def _check_unweighted(data: Any) -> None:
    """Checks that batches have no sample weights, as far as they can be asked.

    Raises:
        ValueError: If they have.
    """
    batch = getattr(data, "element_spec", None)
    if isinstance(data, keras.utils.PyDataset):
        batch = data[0]
    if isinstance(batch, tuple) and len(batch) > 2:
        raise ValueError(
            "Batches (x, y, sample_weight) were given, and on kept features weights do not count. "
            "Leave them out, or give features='online' with solver='sgd'."
        )


def _features(
    model: keras.Model, head: keras.layers.Layer, data: Any, batch_size: int, classes: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """The features and labels of all samples."""
    found, targets = features_and_labels(model, data, head, batch_size)
    labels = np.concatenate([np.asarray(each) for each in targets])
    return found, class_labels(labels, classes)[0]


def _check_last(model: keras.Model, head: keras.layers.Layer) -> None:
    """Checks that nothing with weights stands behind the head, as far as that can be seen."""
    if is_subclassed(model):
        return
    call = classifier_call(layer_graph(model))
    if call is None or call.operation is not head:
        raise ValueError(
            f"A linear head is the last layer with weights, a dense layer or 1x1 convolution, and "
            f"{head.name!r} of model {model.name!r} is not. Leave head out, or train the model as "
            "a whole with ks.transfer.full."
        )


def _compile(model: keras.Model) -> None:
    """Makes a model ready to be evaluated."""
    loss = classification_loss(softmax_layer(model) is None)
    model.compile(loss=loss, metrics=accuracy_metrics())
