"""The dense model that an AC/DC run leaves, trained to its end, against dense training.

    python benchmarks/acdc_dense.py benchmarks/results/mnist_lenet300

The settings are those of the comparison in the folder, and so is the dense training. What is
measured goes into `acdc_dense.json` there, where `claims.py` finds it.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import writing
from rich.progress import track

import keras_sparse as ks
from keras_sparse import data
from keras_sparse.experiments import run as runs
from keras_sparse.experiments.config import RunConfig
from keras_sparse.experiments.study import SETTINGS


def accuracies(config: RunConfig) -> dict[str, float]:
    """Test accuracy of the sparse model of a run, and of its dense one after fine-tuning."""
    keras.utils.set_random_seed(config.seed)
    dataset = data.load(config.data, limit=config.limit, seed=config.seed)

    def batches(initial_epoch: int) -> object:
        return data.pipeline(
            *dataset.train,
            batch_size=config.batch_size,
            augment=config.augment,
            seed=config.seed,
            initial_epoch=initial_epoch,
        )

    def accuracy(model: keras.Model) -> float:
        return model.evaluate(*dataset.test, batch_size=500, verbose=0)[1]

    with tempfile.TemporaryDirectory() as folder:
        model = runs.compiled_model(config, dataset)
        acdc = ks.ACDC(
            config.sparsity,
            seed=config.seed,
            dense_checkpoint=Path(folder) / "dense.weights.h5",
        )
        model.fit(batches(0), epochs=config.epochs, callbacks=[acdc], shuffle=False, verbose=0)
        dense, _ = ks.finetune_dense(
            model, acdc, batches(acdc.dense_epochs), shuffle=False, verbose=0
        )
    return {"sparse": accuracy(model), "dense": accuracy(dense)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="what keras-sparse compare has written")
    parser.add_argument("--sparsity", type=float, default=0.9)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    common = json.loads((args.folder / SETTINGS).read_text())
    configs = [
        RunConfig(**common, method="acdc", sparsity=args.sparsity, seed=seed)
        for seed in range(args.seeds)
    ]
    measured = [accuracies(config) for config in track(configs, "AC/DC and fine-tuning")]
    content = {
        "command": writing.command(),
        "machine": writing.machine(),
        "versions": writing.versions(),
        "sparsity": args.sparsity,
        "runs": measured,
    }
    writing.write_json(args.folder / "acdc_dense.json", content)
    rows = [
        (str(i), f"{run['sparse']:.2%}", f"{run['dense']:.2%}") for i, run in enumerate(measured)
    ]
    writing.print_table("AC/DC's two models", ("seed", "sparse", "dense, fine-tuned"), rows)


if __name__ == "__main__":
    main()
