"""How much pre-training a small ResNet needs before it is pruned, by the data's size.

    python benchmarks/pretraining_cnn.py

ResNet-20 of width 8 on sub-datasets of CIFAR-10, all trained for as many steps. After each tenth of
them i-SpaSP makes a copy of half the operations, which is tuned for a few steps and then tested
(Wolfe 2023, Tables 5 and 6, with the other one of its methods).
"""

import itertools
from pathlib import Path
from typing import Any

import keras
import numpy as np

import keras_sparse as ks
from keras_sparse.experiments import benchmark as bench
from keras_sparse.plots import pretraining_curve
from keras_sparse.structured import pretraining_report

SETTINGS = {"width": 8, "steps": 400, "batch": 64, "rate": 0.1, "test": 1000}
SETTINGS |= {"samples": 500, "tuning": 25, "tuning_rate": 0.02, "flops": 0.5}
IMAGES = (1000, 2500, 5000)
# Residual streams stay: i-SpaSP is not defined for them.
INNER = {"scope": "group", "exclude": "stem"}
ABOUT = """\
Accuracy on {test:,} test images. {steps} steps of {batch} images, {tuning} more for each copy;
i-SpaSP looks at {samples} training images. Steps are those after which the mean over the seeds is
at most a point below the best (plateau) or as good as the dense network at the end (winning
ticket)."""


def run(config: dict, folder: Path) -> list[list[float]]:
    """The probes of one training."""
    seed, batch = config["seed"], config["batch"]
    data = ks.data.load("cifar10", limit=config["images"], seed=seed)
    x, y = data.train
    test = tuple(part[: config["test"]] for part in data.test)
    rows = np.random.default_rng(seed).integers(0, len(x), config["steps"] * batch)

    def pruned(model: keras.Model, _: Any, size: int) -> keras.Model:
        sample = (x[: config["samples"]], y[: config["samples"]])
        small = ks.structured.prune(
            model, flops=config["flops"], criterion="i_spasp", data=sample, seed=seed, **INNER
        )
        bench.compiled(small, bench.warm_cosine(config["tuning_rate"], config["tuning"]))
        tuned = rows[: config["tuning"] * batch]
        small.fit(x[tuned], y[tuned], batch_size=batch, shuffle=False, verbose=0)
        return small

    keras.utils.set_random_seed(seed)
    model = ks.models.resnet20(width=config["width"], seed=seed)
    rate = bench.warm_cosine(config["rate"], config["steps"], warmup=config["steps"] // 20)
    bench.compiled(model, rate, weight_decay=5e-4)
    probe = ks.PretrainingProbe(test, 1, every="10%", pruner=pruned)
    model.fit(x[rows], y[rows], batch_size=batch, shuffle=False, verbose=0, callbacks=[probe])
    return [list(each) for each in probe.history]


def describe(content: dict) -> bench.Document:
    settings = content["config"]
    history = {int(name): np.array(runs) for name, runs in content["results"].items()}
    rows, curves, plateaus, tickets, reports = [], {}, [], [], []
    for size, found in history.items():
        at, _, _, dense, accuracy = found.mean(axis=0).T
        report = pretraining_report(at, accuracy, dense)
        reports.append((report, accuracy))
        plateaus.append(report.plateau)
        tickets.append(np.inf if report.winning_ticket is None else report.winning_ticket)
        best = found[..., 4].max(axis=1)
        ticket = "never" if report.winning_ticket is None else f"{report.winning_ticket:.0f}"
        rows.append(
            (
                f"{size:,}",
                *(bench.percent(each) for each in (found[:, 0, 4], best, found[:, -1, 3])),
                f"{report.plateau:.0f}",
                ticket,
            )
        )
        curves |= {f"{size:,} images, pruned": (at, accuracy)}
        curves |= {f"{size:,} images, dense": (at, dense)}
    early = all(report.plateau <= 0.75 * report.steps[-1] for report, _ in reports)
    poor = all(accuracy.max() - accuracy[0] >= 0.1 for _, accuracy in reports)
    claims = {
        "The plateau is reached at or before 75 % of the training": early,
        "A network pruned at step 0 is ten points or more behind the best": poor,
        "The plateau does not come sooner with more images": bool((np.diff(plateaus) >= 0).all()),
    }
    lines = [f"{text}: {'holds' if told else 'does not hold'}." for text, told in claims.items()]
    sooner = any(b < a for a, b in itertools.pairwise(tickets))
    found = "does not hold" if sooner else "holds"
    if np.isinf(tickets).all():
        found = "none is reached, so it cannot be told"
    lines.append(f"The winning ticket does not come sooner with more images: {found}.")
    header = ("images", "pruned at step 0, %", "best pruned, %", "dense at the end, %")
    table = bench.Table("Steps", (*header, "plateau", "winning ticket"), rows)
    picture = pretraining_curve(curves, label="accuracy")
    title = "How much pre-training is enough: ResNet-20 on CIFAR-10"
    blocks = [ABOUT.format(**settings), table, bench.notes(lines)]
    return bench.Document(title, blocks, picture, "accuracy by steps of pre-training")


if __name__ == "__main__":
    script = bench.Script(__doc__, images=IMAGES, seeds=2, steps=int, tuning=int)
    config = script.chosen(SETTINGS)
    variants = {str(n): bench.Variant({**config, "images": n}) for n in script.args.images}
    study = bench.Study(variants, range(script.args.seeds), run)
    script.study(study, describe, config)
