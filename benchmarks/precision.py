"""What low precision costs a network: the ten schedules, critical periods, graphs and text.

    python benchmarks/precision.py --part digits

Parts: `digits` and `noisy` (a perceptron on scikit-learn's digits, 800 images to train and 997 to
test, all ten schedules beside static and float training), `periods` (few bits at other times),
`graphs` (a graph convolutional network of three layers on Cora and CiteSeer, PLANETOID_DIR, with
full-precision and quantized aggregation), `graph_periods` (few bits at other times on Cora), `text`
(a word-level LSTM on `--text`, plain text, lower case, its lines split 90/5/5) and `images` (a
convolutional network on 5,000 images of `--data`, with at most 8 and at most 6 bits). One process
trains all variants of a seed. The arithmetic is simulated: costs are bit operations relative to
static training at 8 bits.
"""

import csv
import io
from pathlib import Path

import numpy as np
from precision_claims import claims_of, families_of
from precision_tasks import STATIC, digits, graph_periods, graphs, images, periods, text

from keras_sparse.experiments import benchmark as bench
from keras_sparse.plots.precision import precision_scatter
from keras_sparse.precision.schedules.cyclic import SUITE
from keras_sparse.storage.files import replace_file

PARTS = {
    "digits": {"steps": 800, "low": 2, "high": 8, "cycles": 8, "noise": 0.0},
    "noisy": {"steps": 1600, "low": 3, "high": 8, "cycles": 8, "noise": 0.3},
    "periods": {"steps": 800, "low": 2, "high": 8, "noise": 0.0},
    "graph_periods": {"steps": 160, "low": 2, "high": 8},
    "graphs": {"steps": 160, "low": 3, "high": 8, "cycles": 8},
    "text": {"steps": 400, "low": 5, "high": 8, "cycles": 2},
    "images": {"steps": 800, "low": 3, "high": 8, "cycles": 8},
}
RUNS = {
    "digits": digits,
    "noisy": digits,
    "periods": periods,
    "graph_periods": graph_periods,
    "graphs": graphs,
    "text": text,
    "images": images,
}


def run(config: dict, folder: Path) -> dict[str, dict]:
    """All variants of a part from one seed."""
    return RUNS[config["part"]](config, config["seed"], config["schedules"])


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
        *panel, word = name.removesuffix(", at most 6").removesuffix(" high").split()
        profile, form, reflection, _ = SUITE.get(word, ("", "", None, ""))
        # Of a graph and its aggregation, or of a deficit and its length.
        panel, word = (panel, word) if part == "graphs" else ([], name.partition(",")[0])
        point = {"cost": cost[name], "metric": np.mean(found[name]), "name": word}
        point |= {"profile": profile, "form": reflection or form}
        point |= {"q_max": 6 if name.endswith("6") else 8}
        point |= {"spread": bench.spread(found[name])} if len(seeds) > 1 else {}
        point |= {"panel": f"{panel[0]}, {panel[1]} aggregation"} if panel else {}
        # Far below all others, it would leave them a line.
        if cost[name] is not None and word != "static low":
            points.append(point)
    metric = "perplexity" if part == "text" else "test accuracy %"
    header = ("training", "cost", metric, "spread")
    title = f"Low precision: {' of '.join([part, *content.get('data', [])])}"
    blocks = [bench.Table(title, header, rows)]
    families = families_of(found)
    if families:
        header = ("schedules, mean over them", f"{metric} above static high", "spread")
        blocks.append(bench.Table("Families", header, families))
    claims = claims_of(part, content["setting"], found)
    if claims:
        header = ("statement", "at least", "measured", "spread", "")
        blocks.append(bench.Table("Statements", header, claims))
    plain = [
        p for p in points if p["name"] in (STATIC, *SUITE) and p["q_max"] == 8 and "panel" not in p
    ]
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
    picture = precision_scatter(points, label=metric, title=title)
    return bench.Document(title, blocks, picture, "Cost and metric")


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
    name = f"precision_{args.part}" + (f"_{args.data}" if args.part == "images" else "")

    def content(found: dict) -> dict:
        made = {"part": args.part, "setting": setting, "runs": found[args.part]}
        made |= {"data": [args.data]} if args.part == "images" else {}
        args.out.mkdir(parents=True, exist_ok=True)
        replace_file(args.out / f"{name}.csv", csv_of(made))
        return made

    script.study(study, describe, content=content, name=name)


if __name__ == "__main__":
    main()
