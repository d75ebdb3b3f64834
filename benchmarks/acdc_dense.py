"""The dense model that an AC/DC run leaves, trained to its end, against dense training.

    python benchmarks/acdc_dense.py benchmarks/results/mnist_lenet300

The settings are those of the comparison in the folder, and so is the dense training. What is
measured goes into `acdc_dense.json` there, where `claims.py` finds it.
"""

import json
from pathlib import Path

import keras

import keras_sparse as ks
from keras_sparse import data
from keras_sparse.experiments import run as runs
from keras_sparse.experiments.comparison import SETTINGS
from keras_sparse.experiments.config import RunConfig
from keras_sparse.experiments.document import Document, Script, Table
from keras_sparse.experiments.study import Study, Variant

HERE = Path(__file__).parent


def run(config: dict, folder: Path) -> dict[str, float]:
    """Test accuracy of the sparse model of a run, and of its dense one after fine-tuning."""
    settings = RunConfig(**config)
    keras.utils.set_random_seed(settings.seed)
    dataset = data.load(settings.data, limit=settings.limit, seed=settings.seed)

    def batches(initial_epoch: int) -> object:
        return data.pipeline(
            *dataset.train,
            batch_size=settings.batch_size,
            augment=settings.augment,
            seed=settings.seed,
            initial_epoch=initial_epoch,
        )

    model = runs.compiled_model(settings, dataset)
    checkpoint = folder / "dense.weights.h5"
    acdc = ks.ACDC(settings.sparsity, seed=settings.seed, dense_checkpoint=checkpoint)
    model.fit(batches(0), epochs=settings.epochs, callbacks=[acdc], shuffle=False, verbose=2)
    dense, _ = ks.finetune_dense(model, acdc, batches(acdc.dense_epochs), shuffle=False, verbose=2)
    models = {"sparse": model, "dense": dense}
    return {k: m.evaluate(*dataset.test, batch_size=500, verbose=0)[1] for k, m in models.items()}


def describe(content: dict) -> Document:
    rows = [
        (str(i), f"{run['sparse']:.2%}", f"{run['dense']:.2%}")
        for i, run in enumerate(content["runs"])
    ]
    title = "AC/DC's two models"
    return Document(title, [Table(title, ("seed", "sparse", "dense, fine-tuned"), rows)])


def main() -> None:
    script = Script(__doc__, HERE, sparsity=0.9, seeds=3)
    script.parser.add_argument("folder", type=Path, help="what keras-sparse compare has written")
    args = script.parser.parse_args()
    args.out = args.folder
    settings = json.loads((args.folder / SETTINGS).read_text())
    variant = Variant({**settings, "method": "acdc", "sparsity": args.sparsity})
    study = Study({"acdc": variant}, range(args.seeds), run)
    build = HERE / "build" / "acdc_dense"

    def measure() -> dict:
        return {"sparsity": args.sparsity, "runs": study.make(build, args.processes)["acdc"]}

    script.write(args, "acdc_dense", measure, describe)


if __name__ == "__main__":
    main()
