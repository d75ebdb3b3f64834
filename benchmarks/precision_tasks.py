"""The trainings of `precision.py`: what all variants of a part reach and cost from one seed."""

from pathlib import Path

import keras
import numpy as np
from keras import layers

import keras_sparse as ks
from keras_sparse.experiments import benchmark as bench
from keras_sparse.precision import ConstantPrecision, CyclicPrecision, DeficitPrecision
from keras_sparse.precision.schedules.cyclic import SUITE

STATIC = "static high"


def suite(part: dict, names: list[str]) -> dict[str, object]:
    """The schedules of a part by their names; `None` is float training."""
    low, high = part["low"], part["high"]
    made = {
        STATIC: ConstantPrecision(high),
        "static low": ConstantPrecision(low, high),
        "float": None,
        **{
            name: CyclicPrecision.from_name(
                name, q_min=low, q_max=high, num_cycles=part["cycles"], total_steps=part["steps"]
            )
            for name in SUITE
        },
    }
    return {name: made[name] for name in names or made}


def callbacks(schedule: object, seed: int, **settings: object) -> list:
    return [] if schedule is None else [ks.PrecisionScheduler(schedule, seed=seed, **settings)]


def decayed(rate: float, steps: int) -> object:
    """A tenth at half of the steps, a hundredth at three quarters."""
    values = [rate, rate / 10, rate / 100]
    return keras.optimizers.schedules.PiecewiseConstantDecay([steps // 2, 3 * steps // 4], values)


def trained(model, data, test, schedule, seed, steps, rate=0.05, batch=32, **settings) -> dict:
    """Accuracy after some steps of SGD, and what they cost."""
    bench.compiled(model, decayed(rate, steps), weight_decay=1e-4)
    pipeline = ks.data.pipeline(*data, batch_size=batch, seed=seed).repeat()
    diverged = False
    try:
        model.fit(
            pipeline,
            steps_per_epoch=steps,
            shuffle=False,
            verbose=0,
            callbacks=callbacks(schedule, seed, **settings),
        )
    except FloatingPointError:
        diverged = True  # It is tested as it is, and knows one class.
    known = schedule is not None
    planned = schedule.over(steps) if known and schedule.total_steps is None else schedule
    return {
        "metric": bench.accuracy(model, test),
        "cost": planned.relative_cost() if known else None,
        "diverged": diverged,
    }


def digits(part: dict, seed: int, names: list[str]) -> dict[str, dict]:
    found = {}
    for name, schedule in suite(part, names).items():
        train, test = digit_data(part["noise"], seed)
        found[name] = trained(perceptron(seed), train, test, schedule, seed, part["steps"])
    return found


def digit_data(noise: float, seed: int) -> tuple:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(images))
    x = images[order].astype("float32") / 16
    x += generator.normal(0, noise, x.shape).astype("float32") if noise else 0
    y = labels[order].astype("int32")
    return (x[:800], y[:800]), (x[800:], y[800:])


def perceptron(seed: int) -> keras.Model:
    keras.utils.set_random_seed(seed)
    hidden = [layers.Dense(64, activation="relu") for _ in range(4)]
    return keras.Sequential([keras.Input((64,)), *hidden, layers.Dense(10)])


def deficits(part: dict) -> dict[str, tuple[object, int]]:
    """Schedules and steps: few bits for a time before the normal run, and in a window of one."""
    low, high, normal = part["low"], part["high"], part["steps"]
    unit = normal // 2
    runs = {"no deficit": (ConstantPrecision(high), normal)}
    for length in (unit, 4 * unit):
        runs[f"deficit {length}"] = DeficitPrecision(0, length, low, high), length + normal
    for start in (0, 3 * unit // 4, 3 * unit // 2):
        runs[f"window {start}"] = DeficitPrecision(start, start + unit, low, high), 3 * unit
    return runs


def periods(part: dict, seed: int, names: list[str]) -> dict[str, dict]:
    found = {}
    for name, (schedule, steps) in deficits(part).items():
        train, test = digit_data(part["noise"], seed)
        found[name] = trained(perceptron(seed), train, test, schedule, seed, steps)
    return found


def graph_periods(part: dict, seed: int, names: list[str]) -> dict[str, dict]:
    graph = ks.graphs.load("cora")
    return {
        name: graph_trained(graph, schedule, seed, steps)
        for name, (schedule, steps) in deficits(part).items()
    }


def graphs(part: dict, seed: int, names: list[str]) -> dict[str, dict]:
    found = {}
    for graph_name in ("cora", "citeseer"):
        graph = ks.graphs.load(graph_name)
        for aggregation in ("full", "quantized"):
            for name, schedule in suite(part, names).items():
                if name != "float" or aggregation == "full":
                    found[f"{graph_name} {aggregation} {name}"] = graph_trained(
                        graph, schedule, seed, part["steps"], aggregation=aggregation
                    )
    return found


def graph_trained(graph, schedule, seed: int, steps: int, **settings: object) -> dict:
    """Accuracy of a graph convolutional network of three layers, and what it costs."""
    keras.utils.set_random_seed(seed)
    model = ks.graphs.gcn(graph.num_features, graph.num_classes, (64, 64), dropout=0.5, seed=seed)
    model.compile(
        keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(1e-2, steps, 0.1), weight_decay=5e-4
        ),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        weighted_metrics=["accuracy"],
    )
    model.fit(
        ks.graphs.FullGraph(graph, "gcn", steps=steps).dataset(),
        shuffle=False,
        verbose=0,
        callbacks=callbacks(schedule, seed, keep_float=(), **settings),
    )
    metric = model.evaluate(ks.graphs.FullGraph(graph, "gcn", split="test"), verbose=0)[1]
    cost = None if schedule is None else schedule.over(steps).relative_cost()
    return {"metric": metric, "cost": cost}


def text(part: dict, seed: int, names: list[str]) -> dict[str, dict]:
    """Perplexity on the lines kept for testing, of the most frequent 2,000 words."""
    lines = Path(part["text"]).read_text(encoding="utf-8").lower().splitlines()
    ends = int(0.9 * len(lines)), int(0.95 * len(lines))
    words = [" ".join(lines[a:b]).split() for a, b in ((0, ends[0]), (ends[1], len(lines)))]
    known, counts = np.unique(words[0], return_counts=True)
    place = {word: i + 1 for i, word in enumerate(known[np.argsort(-counts)][:1999])}
    length, batch = 20, 32
    samples = []
    for side in words:
        codes = np.array([place.get(word, 0) for word in side], "int32")
        cut = codes[: (len(codes) - 1) // length * length + 1]
        samples.append((cut[:-1].reshape(-1, length), cut[1:].reshape(-1, length)))
    found = {}
    for name, schedule in suite(part, names).items():
        keras.utils.set_random_seed(seed)
        model = keras.Sequential(
            [
                keras.Input((length,), dtype="int32"),
                layers.Embedding(2000, 64),
                layers.LSTM(96, return_sequences=True),
                layers.Dropout(0.2),
                layers.Dense(2000),
            ]
        )
        model.compile(
            keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(5e-3, part["steps"])),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        model.fit(
            ks.data.pipeline(*samples[0], batch_size=batch, seed=seed).repeat(),
            steps_per_epoch=part["steps"],
            shuffle=False,
            verbose=0,
            callbacks=callbacks(schedule, seed, keep_float=()),
        )
        loss = model.evaluate(*(side[:1000] for side in samples[1]), batch_size=250, verbose=0)
        known_cost = schedule is not None
        cost = schedule.over(part["steps"]).relative_cost() if known_cost else None
        found[name] = {"metric": float(np.exp(loss)), "cost": cost}
    return found


def images(part: dict, seed: int, names: list[str]) -> dict[str, dict]:
    found = {}
    data = ks.data.load(part["data"], limit=5000, seed=seed)
    for high in (8, 6):
        for name, schedule in suite({**part, "high": high}, names).items():
            keras.utils.set_random_seed(seed)
            model = keras.Sequential([keras.Input(data.input_shape)])
            for filters, stride in ((16, 1), (32, 2), (32, 1), (64, 2)):
                model.add(layers.Conv2D(filters, 3, stride, padding="same", use_bias=False))
                model.add(layers.BatchNormalization())
                model.add(layers.ReLU())
            model.add(layers.GlobalAveragePooling2D())
            model.add(layers.Dense(data.num_classes))
            key = name if high == 8 else f"{name}, at most 6"
            made = trained(model, data.train, data.test, schedule, seed, part["steps"])
            if made["cost"] is not None and high == 6:
                made["cost"] *= 36 / 64
            found[key] = made
    return found
