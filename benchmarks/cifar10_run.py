"""One run of `cifar10_resnet20.py` with keras_sparse, in a process of its own.

It is started by that script, which writes the plan that it reads:

    python benchmarks/cifar10_run.py --plan benchmarks/build/.../plan.json --method acdc
"""

import argparse
import json
import os
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
from progress import Clock, epochs_done, read_history, set_batch_norm_momentum

import keras_sparse as ks
from keras_sparse import data, models

AFTER_DENSE = ("woodfisher",)
CALIBRATION = 1000
# STR has no sparsity to ask for: it follows from these.
STR = {"threshold": 0.3, "weight_decay": 0.22, "momentum": 0.0}


def method_callback(method: str, plan: dict, arrays: dict) -> list[keras.callbacks.Callback]:
    sparsity, times = plan["sparsity"], plan["schedule"]
    gradual = ks.Polynomial(*(f"{times[key]}st" for key in ("begin", "end", "every")))
    make = {
        "acdc": lambda: ks.ACDC(sparsity),
        "gmp": lambda: ks.GMP(sparsity, schedule=gradual),
        "gmp_uniform": lambda: ks.GMP(sparsity, schedule=gradual, allocation="uniform"),
        "one_shot": lambda: ks.GMP(sparsity, schedule=ks.OneShot(f"{times['one_shot']}st")),
        "random": lambda: ks.StaticMask(sparsity, mask="random", seed=plan["seed"]),
        "rigl": lambda: ks.RigL(sparsity, seed=plan["seed"]),
        "top_kast": lambda: ks.TopKAST(sparsity, allocation="global"),
        "dpf": lambda: ks.DPF(sparsity),
        "str": lambda: ks.STR(**STR),
        "snip": lambda: ks.SNIP(sparsity, calibration(arrays)),
    }
    return [] if method == "dense" else [make[method]()]


def calibration(arrays: dict) -> tuple[np.ndarray, np.ndarray]:
    return arrays["x_train"][:CALIBRATION], arrays["y_train"][:CALIBRATION]


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
            *method_callback(method, plan, arrays),
            Clock(keras.callbacks.Callback),
            keras.callbacks.CSVLogger(str(log), append=done > 0),
            keras.callbacks.BackupAndRestore(str(folder / "backup")),
        ],
        verbose=2,
    )


def trained(history: list[dict]) -> dict:
    """What the run's log says of it."""
    return {
        "train_flops_ratio": history[-1].get("train_flops_ratio", 1.0),
        "seconds": sum(row["seconds"] for row in history),
        "cpu_seconds": sum(row["cpu_seconds"] for row in history),
        "history": history,
    }


def prune_dense(model: keras.Model, arrays: dict, plan: dict, dense: Path) -> dict:
    """Prunes the dense run's model, and measures what that costs."""
    model.load_weights(dense / "model.weights.h5")
    images, labels = calibration(arrays)
    began, cpu = time.perf_counter(), time.process_time()
    ks.woodfisher(model, (images, labels), sparsity=plan["sparsity"])
    ks.batch_norm_tuning(model, images)
    return {
        "train_flops_ratio": 1.0,
        "seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time() - cpu,
        "history": [],
    }


def outcome(model: keras.Model, arrays: dict) -> dict:
    loss, accuracy = model.evaluate(arrays["x_test"], arrays["y_test"], batch_size=500, verbose=0)
    report = ks.report(model)
    kernels = [row for row in report.rows if row.reason is None]
    return {
        "test_accuracy": accuracy,
        "test_loss": loss,
        "sparsity": report.sparsity,
        "layer_sparsity": {row.path: row.sparsity for row in kernels},
        "inference_flops_ratio": report.flops / report.dense_flops,
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
    if args.method in AFTER_DENSE:
        cost = prune_dense(model, arrays, plan, folder.with_name("dense"))
        result = outcome(model, arrays) | cost
    else:
        train(model, arrays, args.method, plan, folder)
        result = outcome(model, arrays) | trained(read_history(folder / "history.csv"))
        model.save_weights(folder / "model.weights.h5")
    (folder / "result.json").write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
