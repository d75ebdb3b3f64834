"""ResNet-20 pruned by TensorFlow's Model Optimization Toolkit, on the Keras that it needs.

It is started by `cifar10_resnet20.py`, with TF_USE_LEGACY_KERAS=1, and never imports keras_sparse,
which would bring Keras 3 into the process:

    python benchmarks/legacy_tfmot.py --plan benchmarks/build/.../plan.json
"""

import argparse
import importlib.util
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras as keras
from progress import Clock, epochs_done, read_history, set_batch_norm_momentum

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


class NonzeroLog(keras.callbacks.Callback):
    """Appends the nonzeros of each kernel to a file, a line an epoch."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Counts, once UpdatePruningStep has masked the weights."""
        values = kernels(self.model)
        nonzeros = {name: int(np.count_nonzero(value)) for name, value in values.items()}
        logs["sparsity"] = 1 - sum(nonzeros.values()) / sum(v.size for v in values.values())
        with self.path.open("a") as file:
            file.write(json.dumps({"epoch": epoch, "nonzeros": nonzeros}) + "\n")


def pipeline(file: Path) -> Callable[..., Any]:
    """`keras_sparse.data.pipeline`, from its file: the package itself would import Keras 3."""
    spec = importlib.util.spec_from_file_location("pipeline_module", file)
    module: ModuleType = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module.pipeline


def train(model: Any, arrays: dict, plan: dict, folder: Path) -> None:
    log = folder / "history.csv"
    done = epochs_done(log)
    batches = pipeline(Path(plan["pipeline"]))(
        arrays["x_train"],
        arrays["y_train"],
        plan["batch"],
        augment=True,
        seed=plan["seed"],
        initial_epoch=done,
    )
    monitored = slice(plan["monitored"])
    validation = arrays["x_test"][monitored], arrays["y_test"][monitored]
    model.fit(
        batches,
        epochs=plan["epochs"],
        validation_data=tf.data.Dataset.from_tensor_slices(validation).batch(500),
        callbacks=[
            tfmot.sparsity.keras.UpdatePruningStep(),
            NonzeroLog(folder / "nonzeros.jsonl"),
            Clock(keras.callbacks.Callback),
            keras.callbacks.CSVLogger(str(log), append=done > 0),
            keras.callbacks.BackupAndRestore(str(folder / "backup")),
        ],
        verbose=2,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plan", type=Path, required=True)
    args = parser.parse_args()
    plan = json.loads(args.plan.read_text())
    folder = args.plan.parent / "tfmot"
    folder.mkdir(exist_ok=True)
    tf.config.threading.set_intra_op_parallelism_threads(plan["threads"])
    keras.utils.set_random_seed(plan["seed"])
    with np.load(args.plan.with_name("data.npz")) as stored:
        arrays = dict(stored)
    times = plan["schedule"]
    schedule = tfmot.sparsity.keras.PolynomialDecay(
        0.0, plan["sparsity"], times["begin"], times["end"], frequency=times["every"]
    )
    model = wrapped(resnet20(plan["width"]), schedule)
    set_initial_weights(model, args.plan.with_name("initial_weights.npz"))
    set_batch_norm_momentum(model.layers, plan["batch_norm_momentum"])
    decay = keras.optimizers.schedules.CosineDecay(plan["learning_rate"], plan["steps"])
    sgd = keras.optimizers.SGD(decay, plan["momentum"], weight_decay=plan["weight_decay"])
    train(compiled(model, sgd), arrays, plan, folder)
    stripped = compiled(tfmot.sparsity.keras.strip_pruning(model), "sgd")
    loss, accuracy = stripped.evaluate(
        arrays["x_test"], arrays["y_test"], batch_size=500, verbose=0
    )
    history = read_history(folder / "history.csv")
    result = {
        "test_accuracy": accuracy,
        "test_loss": loss,
        "nonzeros": {name: int(np.count_nonzero(k)) for name, k in kernels(stripped).items()},
        "seconds": sum(row["seconds"] for row in history),
        "cpu_seconds": sum(row["cpu_seconds"] for row in history),
        "versions": {
            "tensorflow-model-optimization": tfmot.__version__,
            "tf-keras": keras.__version__,
        },
        "history": history,
    }
    (folder / "result.json").write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
