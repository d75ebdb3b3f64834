"""ResNet-20 pruned by TensorFlow's Model Optimization Toolkit, on the Keras that it needs.

`cifar10_resnet20.py` and `overhead.py` call it in a process that never imports keras_sparse, which
would bring Keras 3 into it.
"""

import runpy
import time
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_model_optimization as tfmot
import tf_keras as keras

layers = keras.layers
PRUNED = (layers.Conv2D, layers.Dense)


def resnet20(width: int) -> Any:
    """The architecture of `keras_sparse.models.resnet20`, with its layer names."""
    inputs = keras.Input((32, 32, 3))
    x = layers.ReLU(name="stem_relu")(_conv_bn(inputs, width, 1, "stem"))
    for stage in (1, 2, 3):
        for block in (1, 2, 3):
            stride = 2 if stage > 1 and block == 1 else 1
            x = _residual_block(x, width * 2 ** (stage - 1), stride, f"stage{stage}_block{block}")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, layers.Dense(10, name="logits")(x), name="resnet20")


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
        if isinstance(layer, PRUNED):
            return tfmot.sparsity.keras.prune_low_magnitude(layer, pruning_schedule=schedule)
        return layer

    return keras.models.clone_model(model, clone_function=wrap)


def compiled(model: Any, optimizer: Any) -> Any:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"])
    return model


class Log(keras.callbacks.Callback):
    """Adds seconds and the fraction of zeros to the logs."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Starts the clocks."""
        self.began = time.perf_counter(), time.process_time()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Counts, once UpdatePruningStep has masked the weights."""
        inner = [getattr(layer, "layer", layer) for layer in self.model.layers]
        kernels = [layer.kernel.numpy() for layer in inner if isinstance(layer, PRUNED)]
        kept = sum(int(np.count_nonzero(kernel)) for kernel in kernels)
        logs["sparsity"] = 1 - kept / sum(kernel.size for kernel in kernels)
        logs["seconds"] = time.perf_counter() - self.began[0]
        logs["cpu_seconds"] = time.process_time() - self.began[1]


def run(plan: dict, folder: Path) -> dict[str, Any]:
    """Trains, and leaves the weights in `weights.npz`."""
    keras.utils.set_random_seed(plan["seed"])
    exported, times = folder.with_name(plan["after"]), plan["schedule"]
    images, weights = (dict(np.load(exported / f"{name}.npz")) for name in ("data", "weights"))
    schedule = tfmot.sparsity.keras.PolynomialDecay(
        0.0, plan["sparsity"], times["begin"], times["end"], frequency=times["every"]
    )
    plain = resnet20(plan["width"])
    for layer in plain.layers:
        layer.set_weights([weights[f"{layer.name}/{i}"] for i in range(len(layer.weights))])
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = plan["batch_norm_momentum"]
    model = wrapped(plain, schedule)
    decay = keras.optimizers.schedules.CosineDecay(plan["learning_rate"], plan["steps"])
    sgd = keras.optimizers.SGD(decay, plan["momentum"], weight_decay=plan["weight_decay"])
    # `keras_sparse.data.pipeline`, from its file: the package itself would import Keras 3.
    pipeline = runpy.run_path(plan["pipeline"])["pipeline"]
    options = {"augment": True, "shuffle": True, "initial_epoch": 0, "drop_remainder": False}
    train = images["x_train"], images["y_train"], plan["batch"]
    logs = compiled(model, sgd).fit(
        pipeline(*train, seed=plan["seed"], **options),
        epochs=plan["epochs"],
        validation_data=[images[name][: plan["monitored"]] for name in ("x_test", "y_test")],
        validation_batch_size=500,
        callbacks=[tfmot.sparsity.keras.UpdatePruningStep(), Log()],
        verbose=2,
    )
    trained = {layer.name: layer.get_weights() for layer in plain.layers}
    named = {f"{name}/{i}": value for name in trained for i, value in enumerate(trained[name])}
    np.savez(folder / "weights.npz", **named)
    columns = logs.history.values()
    rows = [dict(zip(logs.history, row, strict=True)) for row in zip(*columns, strict=True)]
    return {"cpu_seconds": sum(row["cpu_seconds"] for row in rows), "history": rows}
