"""The dense model that an AC/DC run leaves, trained to its end, against dense training.

    python benchmarks/acdc_dense.py benchmarks/results/mnist_lenet300

The settings are those of the comparison in the folder, and so is the dense training. What is
measured goes into `acdc_dense.json` there, where `claims.py` finds it.
"""

import functools
import json
from pathlib import Path

import keras

import keras_sparse as ks
from keras_sparse.experiments import benchmark as bench
from keras_sparse.experiments.config import RunConfig
from keras_sparse.experiments.run import compiled_model

COLUMNS = {"sparse": bench.cell("sparse", ".2%"), "dense, fine-tuned": bench.cell("dense", ".2%")}


def run(config: dict, folder: Path) -> dict[str, float]:
    """Test accuracy of the sparse model of a run, and of its dense one after fine-tuning."""
    settings = RunConfig(**config)
    keras.utils.set_random_seed(settings.seed)
    dataset = ks.data.load(settings.data, limit=settings.limit, seed=settings.seed)
    named = {name: getattr(settings, name) for name in ("batch_size", "augment", "seed")}
    batches = functools.partial(ks.data.pipeline, *dataset.train, **named)
    model, checkpoint = compiled_model(settings, dataset), folder / "dense.weights.h5"
    acdc = ks.ACDC(settings.sparsity, seed=settings.seed, dense_checkpoint=checkpoint)
    model.fit(batches(), epochs=settings.epochs, callbacks=[acdc], shuffle=False, verbose=2)
    rest = batches(initial_epoch=acdc.dense_epochs)
    dense, _ = ks.finetune_dense(model, acdc, rest, shuffle=False, verbose=2)
    models = {"sparse": model, "dense": dense}
    return {name: bench.accuracy(models[name], dataset.test) for name in models}


def describe(content: dict) -> bench.Document:
    title, runs = "AC/DC's two models", {str(i): [run] for i, run in enumerate(content["runs"])}
    return bench.Document(title, [bench.by_variant(title, "seed", COLUMNS, runs)])


if __name__ == "__main__":
    script = bench.Script(__doc__)
    script.parser.add_argument("folder", type=Path, help="what keras-sparse compare has written")
    script.args.out = script.args.folder
    settings = json.loads((script.args.folder / "compare.json").read_text())
    variant = bench.Variant({**settings, "method": "acdc", "sparsity": 0.9})
    study = bench.Study({"acdc": variant}, range(3), run)
    script.study(study, describe, content=lambda found: {"sparsity": 0.9, "runs": found["acdc"]})
