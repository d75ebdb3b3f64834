"""How alike sparse models and their dense ones are, sample by sample, by three methods.

    python benchmarks/agreement.py

The task is that of `memorization.py`, without random labels. Pairs: AC/DC's sparse model and its
fine-tuned dense one, a model that GMP pruned and the dense one it began with, and sparse
variational dropout with and without its threshold. One process trains all pairs of a seed.
"""

from pathlib import Path

import keras
from memorization import clusters, perceptron

import keras_sparse as ks
from keras_sparse.experiments import benchmark as bench

SPARSITIES = (0.8, 0.9)
ACDC, GMP, DROPOUT = "AC/DC", "GMP from dense", "sparse variational dropout"
PAIRS = {
    f"{method} {100 * s:g} %": {"method": method, "sparsity": s}
    for method in (ACDC, GMP)
    for s in SPARSITIES
} | {DROPOUT: {"method": DROPOUT}}
ABOUT = """\
{samples:,} training samples of clusters; a perceptron 32-{width}-{width}-10, {epochs} epochs (GMP
prunes for as many more, AC/DC's dense model is fine-tuned for the epochs of its last phase),
batches of {batch}, SGD with momentum 0.9. Compared on 5,000 test samples; cross-entropy is of the
sparse model by the dense one, in nats. {seeds} seeds. Sparse variational dropout finds its own
sparsity, which the table names."""


class Unthresholded(keras.callbacks.Callback):
    """Keeps the weights that sparse variational dropout has learned, before any is set to zero."""

    def __init__(self, method: ks.SparseVariationalDropout) -> None:
        super().__init__()
        self.method = method

    def on_train_end(self, logs: dict | None = None) -> None:
        """Looks at them before they are gone."""
        self.dense = copied(self.model)
        learned = self.method.optimizer.tensors.weights
        variables = self.method.selection.variables(self.dense)
        for variable, weight in zip(variables, learned, strict=True):
            variable.assign(keras.ops.convert_to_numpy(weight))


def copied(model: keras.Model) -> keras.Model:
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


def fitted(model: keras.Model, config: dict, data: tuple, *callbacks: object) -> keras.Model:
    steps = config["epochs"] * -(-len(data[1]) // config["batch"])
    bench.compiled(model, bench.warm_cosine(config["rate"], steps), weight_decay=1e-4)
    batches = ks.data.pipeline(*data, config["batch"], seed=config["seed"])
    epochs = config["epochs"]
    model.fit(batches, epochs=epochs, shuffle=False, verbose=0, callbacks=list(callbacks))
    return model


def pair(config: dict, folder: Path, data: tuple) -> tuple[keras.Model, keras.Model]:
    """A sparse model and its dense one."""
    model = perceptron(config["width"], config["seed"])
    if config["method"] == ACDC:
        acdc = ks.ACDC(config["sparsity"], dense_checkpoint=str(folder / "dense.weights.h5"))
        fitted(model, config, data, acdc)
        dense, _ = ks.finetune_dense(model, acdc, *data, batch_size=config["batch"], verbose=0)
        return model, dense
    if config["method"] == GMP:
        dense = copied(fitted(model, config, data))
        return fitted(model, config, data, ks.GMP(config["sparsity"])), dense
    dropout = ks.SparseVariationalDropout(kl_weight=1 / config["samples"])
    before = Unthresholded(dropout)
    return fitted(model, config, data, before, dropout), before.dense


def run(config: dict, folder: Path) -> dict:
    """How alike the models of each pair are, from one seed."""
    data, (x, y) = clusters(config["samples"], 1 + config["seed"]), clusters(5000, 1000)
    found = {}
    for name, how in PAIRS.items():
        models = pair({**config, **how}, folder, data)
        outputs = [each.predict(x, batch_size=1000, verbose=0) for each in models]
        sparse, dense = (keras.ops.convert_to_numpy(keras.ops.softmax(each)) for each in outputs)
        (alike,) = ks.agreement_report({name: (sparse, dense)}, y=y).pairs.values()
        found[name] = {**alike._asdict(), "sparsity": ks.report(models[0]).sparsity}
    return found


def describe(content: dict) -> bench.Document:
    config, (runs,) = content["config"], content["results"].values()
    results = {name: [run[name] for run in runs] for name in PAIRS}
    columns = {
        "agreement, %": lambda runs: bench.percent([run["agreement"] for run in runs]),
        "where dense is wrong, %": lambda runs: bench.percent(
            [run["agreement_when_wrong"] for run in runs]
        ),
        "cross-entropy": bench.cell("cross_entropy", ".4f"),
        "sparse accuracy, %": lambda runs: bench.percent([run["accuracies"][0] for run in runs]),
        "dense accuracy, %": lambda runs: bench.percent([run["accuracies"][1] for run in runs]),
        "zeros": bench.cell("sparsity", ".1%"),
    }
    claims = [
        bench.Claim(f"{ACDC} {100 * s:g} %", f"{GMP} {100 * s:g} %", -1.0) for s in SPARSITIES
    ]
    claims += [bench.Claim(DROPOUT, f"{ACDC} {100 * s:g} %", 0.0) for s in SPARSITIES]

    def agreements(name: str, _: object) -> list[float]:
        return [run["agreement"] for run in results.get(name, ())]

    told = {"claim": lambda claim: f"{claim.better} agrees more than {claim.worse}"}
    blocks = [
        ABOUT.format(**config),
        bench.by_variant("Agreement", "pair", columns, results),
        "Claims of the source:",
        bench.claims_table("Claims", told, claims, agreements),
    ]
    rows = {
        name: tuple(
            bench.mean([run[key] for run in runs]) for key in ("agreement", "cross_entropy")
        )
        for name, runs in results.items()
    }
    title = "Sparse and dense models, sample by sample"
    return bench.Document(title, blocks, ks.plots.agreement_points(rows), "agreement")


if __name__ == "__main__":
    script = bench.Script(__doc__, seeds=3)
    common = {"samples": 3000, "width": 128, "epochs": 40, "batch": 64, "rate": 0.05}
    seeds = script.args.seeds
    study = bench.Study({"all pairs": bench.Variant(common)}, range(seeds), run)
    script.study(study, describe, {**common, "seeds": seeds})
