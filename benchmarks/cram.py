"""One dense model for many compressions: SGD, SAM, CrAM, CrAM+-Multi, C-SAM and Top-K+.

    python benchmarks/cram.py --data mnist
    python benchmarks/cram.py --data cifar10

Each model is trained once and compressed in one shot to several sparsities, to 2:4 and to few bits;
accuracy is measured right after that and after batch-norm tuning on 1,000 training images. SGD also
trains for twice the epochs, with as many gradients as the others take. MNIST is LeNet-5 (8 and 16
filters, 120 and 84 units, with batch normalization), CIFAR-10 is ResNet-20. Each run is a process
of its own. What is finished is not run again and what was interrupted goes on from its last epoch,
so the command may be repeated.
"""

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import cram_report
import keras
from keras import layers
from processes import HERE, run_script
from progress import set_batch_norm_momentum
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import keras_sparse as ks


class Setting(NamedTuple):
    """What differs between the data sets."""

    images: int
    epochs: int
    batch: int
    learning_rate: float
    seeds: int
    levels: tuple[float, ...]
    rho: float
    sam_rho: float


SETTINGS = {
    "mnist": Setting(10000, 10, 128, 0.05, 3, (0.5, 0.7, 0.9), 0.1, 0.05),
    "cifar10": Setting(20000, 20, 128, 0.1, 1, (0.5, 0.7, 0.8, 0.9, 0.95), 0.15, 0.1),
}
LONGER = "SGD, twice the epochs"
METHODS = {
    "SGD": lambda s, seed: [],
    LONGER: lambda s, seed: [],
    "SAM": lambda s, seed: [ks.SAM(s.sam_rho)],
    "CrAM-k70": lambda s, seed: [ks.CrAM(0.7, s.rho, plus=False)],
    "CrAM+-Multi": lambda s, seed: [
        ks.CrAM(s.levels, s.rho, sparse_gradients=True, seed=seed),
    ],
    "C-SAM-Multi": lambda s, seed: [ks.CSAM(s.levels, s.sam_rho, seed=seed)],
    "Top-K+-Multi": lambda s, seed: [ks.TopKPlus(s.levels, seed=seed)],
}
SPARSITIES = (0.5, 0.7, 0.8, 0.9, 0.95)
BITS = ("8bit", "4bit")
CALIBRATION = 1000


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", choices=SETTINGS, default="mnist")
    parser.add_argument("--images", type=int, help="training images")
    parser.add_argument("--epochs", type=int, help="epochs of two gradients a step")
    parser.add_argument("--seeds", type=int, help="runs of each method")
    parser.add_argument("--width", type=int, default=8, help="filters of ResNet-20's first stage")
    parser.add_argument("--tested", type=int, default=10000, help="test images")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--out", type=Path, default=HERE / "results")
    parser.add_argument("--report-only", action="store_true", help="report what is finished")
    parser.add_argument("--folder", type=Path, help="where a run leaves its files (internal)")
    parser.add_argument("--seed", type=int, help="the seed of a run (internal)")
    args = parser.parse_args()
    for name in ("images", "epochs", "seeds"):
        if getattr(args, name) is None:
            setattr(args, name, getattr(SETTINGS[args.data], name))
    return args


def lenet5(seed: int) -> keras.Model:
    """LeNet-5 with batch normalization, whose inputs but the first come in fours."""
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input((28, 28, 1))], name="lenet5")
    for i, filters in enumerate((8, 16), start=1):
        model.add(layers.Conv2D(filters, 5, use_bias=False, name=f"conv{i}"))
        model.add(layers.BatchNormalization(name=f"norm{i}"))
        model.add(layers.ReLU())
        model.add(layers.MaxPooling2D(2))
    model.add(layers.Flatten())
    for i, units in enumerate((120, 84), start=1):
        model.add(layers.Dense(units, use_bias=False, name=f"dense{i}"))
        model.add(layers.BatchNormalization(name=f"dense_norm{i}"))
        model.add(layers.ReLU())
    model.add(layers.Dense(10, name="logits"))
    return model


def compiled_model(args: argparse.Namespace, steps: int) -> keras.Model:
    setting, seed = SETTINGS[args.data], args.seed
    on_mnist = args.data == "mnist"
    model = lenet5(seed) if on_mnist else ks.models.resnet20(width=args.width, seed=seed)
    set_batch_norm_momentum(model.layers, 0.9)
    rate = keras.optimizers.schedules.CosineDecay(
        setting.learning_rate / 10,
        max(steps - steps // 10, 1),
        warmup_target=setting.learning_rate,
        warmup_steps=steps // 10,
    )
    model.compile(
        keras.optimizers.SGD(rate, momentum=0.9, weight_decay=5e-4),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def run(args: argparse.Namespace) -> None:
    """Trains one method from one seed, goes on where it was interrupted, and compresses it."""
    (method,), setting = args.methods, SETTINGS[args.data]
    dataset = ks.data.load(args.data, limit=args.images, seed=0)
    epochs = args.epochs * (2 if method == LONGER else 1)
    model = compiled_model(args, epochs * -(-args.images // setting.batch))
    progress = args.folder / "epoch"
    began = int(progress.read_text()) if progress.exists() else 0
    batches = ks.data.pipeline(
        *dataset.train,
        batch_size=setting.batch,
        augment=args.data == "cifar10",
        seed=args.seed,
        initial_epoch=began,
    )
    backup = keras.callbacks.BackupAndRestore(str(args.folder / "backup"), delete_checkpoint=False)
    note = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: progress.write_text(str(epoch + 1))
    )
    # The note follows the checkpoint: an interruption between the two repeats an epoch's order.
    callbacks = [*METHODS[method](setting, args.seed), backup, note]
    clock = time.process_time()
    model.fit(batches, epochs=epochs, callbacks=callbacks, shuffle=False, verbose=2)
    result = {"method": method, "seed": args.seed, "cpu_seconds": time.process_time() - clock}
    tested = tuple(side[: args.tested] for side in dataset.test)
    result["rows"] = compressed(model, tested, dataset.x_train[:CALIBRATION])
    partial = args.folder / "result.partial"
    partial.write_text(json.dumps(result))
    partial.replace(args.folder / "result.json")


def compressed(model: keras.Model, tested: Any, calibration: Any) -> list[dict[str, Any]]:
    """The model's accuracy after each compression."""
    common = {"calibration": calibration, "evaluate_untuned": True, "verbose": False}
    ranked = ks.one_shot_sweep(model, tested, sparsities=SPARSITIES, operators=BITS, **common)
    first = next(layer for layer in model.layers if layer.trainable_weights)
    pattern = ks.one_shot_sweep(
        model, tested, sparsities=(), operators=["2:4"], exclude=first, **common
    )
    rows = [*ranked.rows[: 1 + len(SPARSITIES)], pattern.rows[1], *ranked.rows[-len(BITS) :]]
    return [{"label": r.label, "before": r.before, "after": r.after} for r in rows]


def folder_of(args: argparse.Namespace, method: str, seed: int) -> Path:
    width = f"-w{args.width}" if args.data == "cifar10" else ""
    name = f"{args.data}{width}-n{args.images}-e{args.epochs}-t{args.tested}"
    slug = "".join(c if c.isalnum() else "_" for c in method.lower())
    return HERE / "build" / "cram" / name / f"{slug}-{seed}"


def run_all(args: argparse.Namespace) -> None:
    """Each run in a process of its own, unless it is finished."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    jobs = [(method, seed) for seed in range(args.seeds) for method in args.methods]
    with Progress(*columns, TimeElapsedColumn()) as progress:
        bar = progress.add_task("", total=len(jobs))
        for method, seed in jobs:
            progress.update(bar, description=f"{method}, seed {seed}")
            folder = folder_of(args, method, seed)
            if not (folder / "result.json").exists():
                folder.mkdir(parents=True, exist_ok=True)
                words = {"folder": folder, "seed": seed, "methods": method, "data": args.data}
                words |= {n: getattr(args, n) for n in ("images", "epochs", "width", "tested")}
                line = [word for name, value in words.items() for word in (f"--{name}", str(value))]
                with (folder / "log").open("a") as log:
                    status = run_script("cram.py", line, log)
                if status:
                    raise SystemExit(f"{method}, seed {seed} failed: see {folder / 'log'}")
            progress.advance(bar)


def main() -> None:
    args = arguments()
    if args.folder:
        run(args)
        return
    if not args.report_only:
        run_all(args)
    results = [
        json.loads(path.read_text())
        for method in args.methods
        for seed in range(args.seeds)
        if (path := folder_of(args, method, seed) / "result.json").exists()
    ]
    if not results:
        Console().print("No run is finished yet.")
        return
    args.out.mkdir(parents=True, exist_ok=True)
    config = {"data": args.data, "calibration": CALIBRATION, **SETTINGS[args.data]._asdict()}
    config |= {name: getattr(args, name) for name in ("images", "epochs", "seeds", "tested")}
    if args.data == "cifar10":
        config["width"] = args.width
    cram_report.write(results, config, args.out)


if __name__ == "__main__":
    main()
