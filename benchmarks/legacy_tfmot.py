"""ResNet-20 pruned by TensorFlow's Model Optimization Toolkit, on the Keras that it needs.

`cifar10_resnet20.py` and `overhead.py` call it in a process that never imports keras_sparse, which
would bring Keras 3 into it.
"""

import csv
import json
import runpy
import time
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras as keras

layers = keras.layers


def resnet20(width: int, num_classes: int = 10) -> Any:
    """The architecture of `keras_sparse.models.resnet20`, with its layer names."""
    inputs = keras.Input((32, 32, 3))
    x = layers.ReLU(name="stem_relu")(_conv_bn(inputs, width, 1, "stem"))
    for stage in (1, 2, 3):
        for block in (1, 2, 3):
            stride = 2 if stage > 1 and block == 1 else 1
            x = _residual_block(x, width * 2 ** (stage - 1), stride, f"stage{stage}_block{block}")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, layers.Dense(num_classes, name="logits")(x), name="resnet20")


def _residual_block(x: Any, filters: int, stride: int, name: str) -> Any:
    y = _conv_bn(x, filters, stride, f"{name}_conv1")
    y = _conv_bn(layers.ReLU(name=f"{name}_relu1")(y), filters, 1, f"{name}_conv2")
    if stride == 2:
        x = layers.AveragePooling2D(1, strides=2, name=f"{name}_shortcut_pixels")(x)
        zeros = layers.Rescaling(0.0, name=f"{name}_shortcut_zeros")(x)
        x = layers.Concatenate(name=f"{name}_shortcut")([x, zeros])
    return layers.ReLU(name=f"{name}_relu2")(layers.Add(name=f"{name}_add")([x, y]))


def _conv_bn(x: Any, filters: int, stride: int, name: str) -> Any:
    if stride == 2:
        x = layers.ZeroPadding2D(1, name=f"{name}_pad")(x)
    padding = "same" if stride == 1 else "valid"
    x = layers.Conv2D(filters, 3, stride, padding=padding, use_bias=False, name=name)(x)
    return layers.BatchNormalization(name=f"{name}_bn")(x)


def wrapped(model: Any, schedule: Any) -> Any:
    """The model with `prune_low_magnitude` around its Conv2D and Dense layers, and no others."""

    def wrap(layer: Any) -> Any:
        if isinstance(layer, (layers.Conv2D, layers.Dense)):
            return tfmot.sparsity.keras.prune_low_magnitude(layer, pruning_schedule=schedule)
        return layer

    return keras.models.clone_model(model, clone_function=wrap)


def compiled(model: Any, optimizer: Any) -> Any:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"])
    return model


def inner(layer: Any) -> Any:
    return getattr(layer, "layer", layer)


def kernels(model: Any) -> dict[str, np.ndarray]:
    """The kernels that tfmot prunes, by the names that keras_sparse has for them."""
    pruned = [inner(layer) for layer in model.layers if isinstance(inner(layer), _PRUNED)]
    return {f"{layer.name}/kernel": layer.kernel.numpy() for layer in pruned}


_PRUNED = (layers.Conv2D, layers.Dense)


def set_initial_weights(model: Any, path: Path) -> None:
    """Starts a model from the weights that the other runs start from."""
    with np.load(path) as stored:
        for layer in map(inner, model.layers):
            own = [stored[key] for key in stored.files if key.split("/")[0] == layer.name]
            for variable, value in zip(layer.weights, own, strict=False):
                variable.assign(value)


class Log(keras.callbacks.Callback):
    """Adds seconds and the nonzeros of each kernel to the logs, and appends these to a file."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Starts the clocks."""
        self.began = time.perf_counter(), time.process_time()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Counts, once UpdatePruningStep has masked the weights."""
        values = kernels(self.model)
        nonzeros = {name: int(np.count_nonzero(value)) for name, value in values.items()}
        logs["sparsity"] = 1 - sum(nonzeros.values()) / sum(v.size for v in values.values())
        logs["seconds"] = time.perf_counter() - self.began[0]
        logs["cpu_seconds"] = time.process_time() - self.began[1]
        with self.path.open("a") as file:
            file.write(json.dumps({"epoch": epoch, "nonzeros": nonzeros}) + "\n")


def read_history(path: Path) -> list[dict[str, float]]:
    """Reads a `CSVLogger` file; of an epoch that was run twice the last row counts."""
    if not path.exists():
        return []
    with path.open() as file:
        rows = {int(row["epoch"]): row for row in csv.DictReader(file)}
    return [{key: float(value) for key, value in rows[epoch].items()} for epoch in sorted(rows)]


def run(plan: dict, folder: Path) -> dict[str, Any]:
    keras.utils.set_random_seed(plan["seed"])
    exported = folder.with_name(plan["after"])
    with np.load(exported / "data.npz") as stored:
        arrays = dict(stored)
    times = plan["schedule"]
    schedule = tfmot.sparsity.keras.PolynomialDecay(
        0.0, plan["sparsity"], times["begin"], times["end"], frequency=times["every"]
    )
    model = wrapped(resnet20(plan["width"]), schedule)
    set_initial_weights(model, exported / "initial_weights.npz")
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = plan["batch_norm_momentum"]
    decay = keras.optimizers.schedules.CosineDecay(plan["learning_rate"], plan["steps"])
    sgd = keras.optimizers.SGD(decay, plan["momentum"], weight_decay=plan["weight_decay"])
    log, nonzeros = folder / "history.csv", folder / "nonzeros.jsonl"
    done = len(read_history(log))
    # `keras_sparse.data.pipeline`, from its file: the package itself would import Keras 3.
    file = json.loads((exported / "result.json").read_text())["pipeline"]
    batches = runpy.run_path(file)["pipeline"](
        arrays["x_train"],
        arrays["y_train"],
        plan["batch"],
        augment=True,
        seed=plan["seed"],
        initial_epoch=done,
    )
    monitored = slice(plan["monitored"])
    validation = arrays["x_test"][monitored], arrays["y_test"][monitored]
    compiled(model, sgd).fit(
        batches,
        epochs=plan["epochs"],
        validation_data=tf.data.Dataset.from_tensor_slices(validation).batch(500),
        callbacks=[
            tfmot.sparsity.keras.UpdatePruningStep(),
            Log(nonzeros),
            keras.callbacks.CSVLogger(str(log), append=done > 0),
            keras.callbacks.BackupAndRestore(str(folder / "backup")),
        ],
        verbose=2,
    )
    stripped = compiled(tfmot.sparsity.keras.strip_pruning(model), "sgd")
    tested = arrays["x_test"], arrays["y_test"]
    loss, accuracy = stripped.evaluate(*tested, batch_size=500, verbose=0)
    history = read_history(log)
    counted = [json.loads(line) for line in nonzeros.read_text().splitlines()]
    return {
        "test_accuracy": accuracy,
        "test_loss": loss,
        "nonzeros": {name: int(np.count_nonzero(k)) for name, k in kernels(stripped).items()},
        "epochs": {line["epoch"]: line["nonzeros"] for line in counted},
        "seconds": sum(row["seconds"] for row in history),
        "cpu_seconds": sum(row["cpu_seconds"] for row in history),
        "history": history,
    }
