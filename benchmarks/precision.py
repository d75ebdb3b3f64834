"""What low precision costs a network: the ten schedules, critical periods, graphs and text.

    python benchmarks/precision.py --part digits

Parts: `digits` and `noisy` (a perceptron on scikit-learn's digits, 800 images to train and 997 to
test, all ten schedules beside static and float training), `periods` (few bits at other times),
`graphs` (a graph convolutional network of three layers on Cora and CiteSeer, PLANETOID_DIR, with
full-precision and quantized aggregation), `text` (a word-level LSTM on `--text`, plain text, lower
case, its lines split 90/5/5) and `images` (a convolutional network on Fashion-MNIST or CIFAR-10).
One process trains all variants of a seed. The arithmetic is simulated: costs are bit operations
relative to static training at 8 bits.
"""

import csv
import dataclasses
import io
from pathlib import Path

import keras
import numpy as np
from keras import layers

import keras_sparse as ks
from keras_sparse.experiments import benchmark as bench
from keras_sparse.plots.precision import precision_scatter
from keras_sparse.precision import ConstantPrecision, CyclicPrecision, DeficitPrecision
from keras_sparse.precision.schedules.cyclic import SUITE
from keras_sparse.storage.files import replace_file

PARTS = {
    "digits": {"steps": 800, "low": 2, "high": 8, "cycles": 8, "noise": 0.0},
    "noisy": {"steps": 1600, "low": 3, "high": 8, "cycles": 8, "noise": 0.3},
    "periods": {"steps": 800, "low": 2, "high": 8, "noise": 0.0},
    "graphs": {"steps": 160, "low": 3, "high": 8, "cycles": 8},
    "text": {"steps": 400, "low": 5, "high": 8, "cycles": 2},
    "images": {"steps": 800, "low": 3, "high": 8, "cycles": 8},
}
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


def periods(part: dict, seed: int, names: list[str]) -> dict[str, dict]:
    """Deficits of other lengths before the normal run, and a window that slides."""
    low, high, normal = part["low"], part["high"], part["steps"]
    runs = {"no deficit": (None, normal)}
    runs |= {f"deficit {r}": ((0, r), r + normal) for r in (400, 1600)}
    runs |= {f"window {a}": ((a, a + 400), 1200) for a in (0, 300, 600)}
    found = {}
    for name, (window, steps) in runs.items():
        train, test = digit_data(part["noise"], seed)
        schedule = DeficitPrecision(*window, low, high) if window else ConstantPrecision(high)
        found[name] = trained(perceptron(seed), train, test, schedule, seed, steps)
    return found


def graphs(part: dict, seed: int, names: list[str]) -> dict[str, dict]:
    found = {}
    for graph_name in ("cora", "citeseer"):
        graph = ks.graphs.load(graph_name)
        train = ks.graphs.FullGraph(graph, "gcn", steps=part["steps"]).dataset()
        test = ks.graphs.FullGraph(graph, "gcn", split="test")
        for aggregation in ("full", "quantized"):
            for name, schedule in suite(part, names).items():
                if name == "float" and aggregation == "quantized":
                    continue
                keras.utils.set_random_seed(seed)
                model = ks.graphs.gcn(
                    graph.num_features, graph.num_classes, (64, 64), dropout=0.5, seed=seed
                )
                model.compile(
                    keras.optimizers.Adam(
                        keras.optimizers.schedules.CosineDecay(1e-2, part["steps"], 0.1),
                        weight_decay=5e-4,
                    ),
                    keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                    weighted_metrics=["accuracy"],
                )
                settings = {"aggregation": aggregation, "keep_float": ()}
                model.fit(
                    train, shuffle=False, verbose=0, callbacks=callbacks(schedule, seed, **settings)
                )
                cost = schedule and schedule.over(part["steps"]).relative_cost()
                metric = model.evaluate(test, verbose=0)[1]
                key = f"{graph_name} {aggregation} {name}"
                found[key] = {"metric": metric, "cost": cost}
    return found


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


RUNS = {
    "digits": digits,
    "noisy": digits,
    "periods": periods,
    "graphs": graphs,
    "text": text,
    "images": images,
}


def run(config: dict, folder: Path) -> dict[str, dict]:
    """All variants of a part from one seed."""
    return RUNS[config["part"]](config, config["seed"], config["schedules"])


@dataclasses.dataclass
class Claims:
    """Statements on metrics of the same seeds, a row each."""

    found: dict[str, list[float]]
    rows: list[tuple[str, ...]] = dataclasses.field(default_factory=list)

    def at_least(self, says: str, better: list[float], worse: list[float], margin: float) -> None:
        """That the mean of differences, in the metric's units, is at least a margin."""
        apart = [a - b for a, b in zip(better, worse, strict=True)]
        holds = "holds" if np.mean(apart) >= margin else "does not hold"
        spread = f"{bench.spread(apart):.2f}" if len(apart) > 1 else ""
        self.rows.append((says, f"{margin:+.2f}", f"{np.mean(apart):+.2f}", spread, holds))

    def mean_of(self, names: list[str]) -> list[float]:
        """The mean over several variants, for each seed."""
        return np.mean([self.found[name] for name in names], axis=0).tolist()


def claims_of(part: str, setting: dict, found: dict[str, list[float]]) -> list[tuple[str, ...]]:
    """What the source and the specification state, of percent or perplexity."""
    claims = Claims(found)
    cyclic = [name for name in found if name in SUITE]
    groups = {
        group: [name for name in cyclic if SUITE[name][3] == group] for group in ("I", "II", "III")
    }
    static = found.get(STATIC, [])
    if part == "digits":
        one, two, three = (claims.mean_of(groups[group]) for group in ("I", "II", "III"))
        claims.at_least("group III above group I", three, one, 0.4)
        claims.at_least("group II not below group I", two, one, 0.0)
        claims.at_least("group III near static", three, static, -0.5)
        for name in cyclic:
            claims.at_least(f"{name} above static low", found[name], found["static low"], 2.0)
    if part == "noisy":
        for name in cyclic:
            claims.at_least(f"{name} near static", found[name], static, -1.0)
        claims.at_least("mean of all near static", claims.mean_of(cyclic), static, -0.3)
    if part == "periods":
        clean = found["no deficit"]
        claims.at_least("no deficit above one of 400", clean, found["deficit 400"], 0.3)
        claims.at_least("one of 400 above 1600", found["deficit 400"], found["deficit 1600"], 0.0)
        claims.at_least("late window not worse", found["window 600"], found["window 0"], -0.3)
    if part == "graphs":
        for graph in ("cora", "citeseer"):
            full, rounded = (
                {name: found.get(f"{graph} {way} {name}") for name in (STATIC, "static low")}
                for way in ("full", "quantized")
            )
            says = f"{graph}: at 8 bits, quantized aggregation within a point"
            claims.at_least(says, rounded[STATIC], full[STATIC], -1.0)
            if full["static low"]:
                says = f"{graph}: at 3 bits, full aggregation not worse"
                claims.at_least(says, full["static low"], rounded["static low"], -0.5)
    if part == "text":
        for name in cyclic:
            limit = [1.05 * value for value in static]
            claims.at_least(f"{name} within 1.05 of static", limit, found[name], 0.0)
    if part == "images":
        for name in cyclic:
            claims.at_least(f"{name} near static", found[name], static, -1.5)
            narrow = found.get(f"{name}, at most 6")
            if narrow:
                claims.at_least(f"{name}: 8 bits against 6", found[name], narrow, -0.5)
    return claims.rows


def describe(content: dict) -> bench.Document:
    part, seeds = content["part"], content["runs"]
    scale = 1 if part == "text" else 100
    names = list(seeds[0])
    found = {name: [scale * seed[name]["metric"] for seed in seeds] for name in names}
    cost = {name: seeds[0][name]["cost"] for name in names}
    rows, points = [], []
    for name in names:
        middle = f"{np.mean(found[name]):.2f}"
        spread = f"{bench.spread(found[name]):.2f}" if len(seeds) > 1 else ""
        rows.append((name, "" if cost[name] is None else f"{cost[name]:.3f}", middle, spread))
        word = name.removesuffix(", at most 6").split()[-1]
        profile, form, reflection, _ = SUITE.get(word, ("", "", None, ""))
        point = {"cost": cost[name], "metric": np.mean(found[name]), "name": name}
        point |= {"profile": profile, "form": reflection or form}
        point |= {"q_max": 6 if name.endswith("6") else 8}
        # Far below all others, it would leave them a line.
        if cost[name] is not None and not name.endswith("static low"):
            points.append(point)
    metric = "perplexity" if part == "text" else "test accuracy %"
    header = ("training", "cost", metric, "spread")
    blocks = [bench.Table(f"Low precision: {part}", header, rows)]
    claims = claims_of(part, content["setting"], found)
    if claims:
        header = ("statement", "at least", "measured", "spread", "")
        blocks.append(bench.Table("Statements", header, claims))
    plain = [p for p in points if p["name"] in (STATIC, *SUITE)]
    if len(plain) > 2:
        pearson = np.corrcoef([p["cost"] for p in plain], [p["metric"] for p in plain])[0, 1]
        blocks.append(
            "Pearson's correlation of cost and metric over the schedules and static training at "
            f"the most bits: {pearson:.2f}."
        )
    diverged = [
        f"{name} from seed {i}"
        for i, seed in enumerate(seeds)
        for name in names
        if seed[name].get("diverged")
    ]
    if diverged:
        blocks.append(f"Diverged: {', '.join(diverged)}.")
    blocks.append(
        f"{len(seeds)} seeds; the spread is the sample standard deviation over them. All "
        "models are tested in float after the training, that of the fewest bits throughout too, "
        "which has never computed so."
    )
    picture = precision_scatter(points, label=metric, title=f"Low precision: {part}")
    return bench.Document(f"Low precision: {part}", blocks, picture, "Cost and metric")


def csv_of(content: dict) -> bytes:
    """A row a variant and seed."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(("part", "variant", "seed", "relative_cost", "metric"))
    for seed, found in enumerate(content["runs"]):
        for name, values in found.items():
            writer.writerow((content["part"], name, seed, values["cost"], values["metric"]))
    return table.getvalue().encode()


def main() -> None:
    choices = {"part": PARTS, "schedules": (STATIC, "static low", "float", *SUITE)}
    script = bench.Script(
        __doc__,
        choices=choices,
        part="digits",
        seeds=4,
        steps=int,
        schedules=[STATIC],
        data="fashion_mnist",
        text="kjv.txt",
    )
    script.parser.set_defaults(schedules=None)
    args = script.args
    setting = script.chosen(PARTS[args.part])
    more = {"text": args.text} if args.part == "text" else {}
    more |= {"data": args.data} if args.part == "images" else {}
    config = {"part": args.part, "schedules": args.schedules, **setting, **more}
    study = bench.Study({args.part: bench.Variant(config)}, range(args.seeds), run)
    name = f"precision_{args.part}"

    def content(found: dict) -> dict:
        made = {"part": args.part, "setting": setting, "runs": found[args.part]}
        args.out.mkdir(parents=True, exist_ok=True)
        replace_file(args.out / f"{name}.csv", csv_of(made))
        return made

    script.study(study, describe, content=content, name=name)


if __name__ == "__main__":
    main()
