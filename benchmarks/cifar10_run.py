"""One training run of `cifar10_resnet20.py` with keras_sparse, in a process of its own.

It is started by that script, which writes the plan that it reads:

    python benchmarks/cifar10_run.py --plan benchmarks/build/.../plan.json --method acdc
"""

import argparse
import json
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
from progress import Clock, epochs_done, read_history, set_batch_norm_momentum

import keras_sparse as ks
from keras_sparse import data, models


def method_callback(method: str, plan: dict) -> list[keras.callbacks.Callback]:
    sparsity, times = plan["sparsity"], plan["schedule"]
    if method == "dense":
        return []
    if method == "acdc":
        return [ks.ACDC(sparsity)]
    if method in ("gmp", "gmp_uniform"):
        gradual = ks.Polynomial(*(f"{times[key]}st" for key in ("begin", "end", "every")))
        allocation = "uniform" if method == "gmp_uniform" else "global"
        return [ks.GMP(sparsity, schedule=gradual, allocation=allocation)]
    if method == "one_shot":
        return [ks.GMP(sparsity, schedule=ks.OneShot(f"{times['one_shot']}st"))]
    return [ks.StaticMask(sparsity, mask="random", seed=plan["seed"])]


def compiled_model(plan: dict) -> keras.Model:
    model = models.resnet20(width=plan["width"], seed=plan["seed"])
    set_batch_norm_momentum(model.layers, plan["batch_norm_momentum"])
    decay = keras.optimizers.schedules.CosineDecay(plan["learning_rate"], plan["steps"])
    model.compile(
        keras.optimizers.SGD(decay, momentum=plan["momentum"], weight_decay=plan["weight_decay"]),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def train(model: keras.Model, arrays: dict, method: str, plan: dict, folder: Path) -> None:
    log = folder / "history.csv"
    done = epochs_done(log)
    batches = data.pipeline(
        arrays["x_train"],
        arrays["y_train"],
        plan["batch"],
        augment=True,
        seed=plan["seed"],
        initial_epoch=done,
    )
    monitored = slice(plan["monitored"])
    model.fit(
        batches,
        epochs=plan["epochs"],
        validation_data=(arrays["x_test"][monitored], arrays["y_test"][monitored]),
        validation_batch_size=500,
        callbacks=[
            *method_callback(method, plan),
            Clock(keras.callbacks.Callback),
            keras.callbacks.CSVLogger(str(log), append=done > 0),
            keras.callbacks.BackupAndRestore(str(folder / "backup")),
        ],
        verbose=2,
    )


def outcome(model: keras.Model, arrays: dict, history: list[dict]) -> dict:
    loss, accuracy = model.evaluate(arrays["x_test"], arrays["y_test"], batch_size=500, verbose=0)
    report = ks.report(model)
    kernels = [row for row in report.rows if row.reason is None]
    last = history[-1]
    return {
        "test_accuracy": accuracy,
        "test_loss": loss,
        "sparsity": report.sparsity,
        "layer_sparsity": {row.path: row.sparsity for row in kernels},
        "inference_flops_ratio": report.flops / report.dense_flops,
        "train_flops_ratio": last.get("train_flops_ratio", 1.0),
        "seconds": sum(row["seconds"] for row in history),
        "cpu_seconds": sum(row["cpu_seconds"] for row in history),
        "history": history,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plan", type=Path, required=True)
    parser.add_argument("--method", required=True)
    args = parser.parse_args()
    plan = json.loads(args.plan.read_text())
    folder = args.plan.parent / args.method
    folder.mkdir(exist_ok=True)
    tf.config.threading.set_intra_op_parallelism_threads(plan["threads"])
    keras.utils.set_random_seed(plan["seed"])
    with np.load(args.plan.with_name("data.npz")) as stored:
        arrays = dict(stored)
    model = compiled_model(plan)
    train(model, arrays, args.method, plan, folder)
    result = outcome(model, arrays, read_history(folder / "history.csv"))
    (folder / "result.json").write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
