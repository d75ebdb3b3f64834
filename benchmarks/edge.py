"""What zeros save on edge runtimes: sizes, latencies on this machine, instructions on Arm.

    python benchmarks/edge.py --arm ../shared/edge/arm64

Three Dense(1024) at 90 % zeros in the patterns and formats that LiteRT has; then networks of 1x1
convolutions at 224x224, dense and pruned with granularity="xnnpack", as they are and as
`deploy.make_eligible` rewrites them. Sizes and speed do not depend on what the weights are, and
they are random, but for EfficientNet-Lite0's where `--lite0` says where it is. `--arm` names a
script whose `count FILE` prints the Arm instructions of an inference.
"""

import itertools
import subprocess
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np

import keras_sparse as ks
from keras_sparse.experiments.benchmark import Document, Script, Study, Table, Variant, notes

HERE = Path(__file__).parent
# By name: the pattern of zeros, how many these are, and how it is exported.
DENSE: dict[str, tuple[str, float, dict[str, Any]]] = {
    "dense, float32": ("unstructured", 0.0, {"sparse": False}),
    "dense, dynamic int8": ("unstructured", 0.0, {"sparse": False, "quantize": "dynamic"}),
    "unstructured, float32": ("unstructured", 0.9, {}),
    "blocks of (4, 1), float32": ("4x1", 0.9, {}),
    "the same at 95 % zeros": ("4x1", 0.95, {}),
    "blocks of (16, 1), dynamic int8": (
        *("16x1", 0.9),
        {"quantize": "dynamic", "kernels": "built-in"},
    ),
}
PLAIN, _, _, BY_FOUR, _, BY_SIXTEEN = DENSE
SHAPE = (224, 224, 3)
ZEROS = {"mobilenet": 0.9, "MobileNetV2": 0.9, "EfficientNet-Lite0": 0.8}
PAIRS = (("bytes", 1e6, ".1f"), ("instructions", 1e6, ".1f"))


def perceptron(config: dict, folder: Path) -> dict[str, Any]:
    """Sizes, latencies and memory of three Dense(1024) in each format."""
    found: dict[str, Any] = {}
    x = np.random.default_rng(0).normal(size=(8, 1024)).astype("float32")
    for i, (name, (pattern, zeros, settings)) in enumerate(DENSE.items()):
        keras.utils.set_random_seed(0)
        layers = [keras.layers.Dense(1024, activation="relu") for _ in range(3)]
        model = keras.Sequential([keras.Input((1024,)), *layers])
        ks.prune(model, zeros, granularity=pattern, allocation="uniform")
        report = ks.deploy.to_litert(model, folder / f"{i}.tflite", inputs=x, **settings)
        found[name] = {"bytes": report.bytes, "error": report.max_error, "ms": {}, "cold": {}}
    for kernels, key in itertools.product(("all", "built-in"), ("ms", "cold")):
        # XNNPACK computes wrong numbers with what is exported for the built-in kernels.
        timed = [
            (i, name)
            for i, (name, (_, _, settings)) in enumerate(DENSE.items())
            if kernels == "built-in" or "kernels" not in settings
        ]
        files = [folder / f"{i}.tflite" for i, _ in timed]
        cold = key == "cold"
        rows = ks.deploy.benchmark(files, config["runs"], kernels=kernels, cold=cold).rows
        for (_, name), row in zip(timed, rows, strict=True):
            found[name][key][kernels] = [1e3 * each for each in (row.low, row.median, row.high)]
            if not cold:
                found[name]["memory"] = row.memory
    return found


def network(config: dict, folder: Path) -> dict[str, Any]:
    """Sizes and instructions of a network, dense and pruned."""
    keras.utils.set_random_seed(0)
    if config["network"] == "mobilenet":
        model = ks.models.mobilenet(1.0, SHAPE, 1000, seed=0)
    elif config["network"] == "MobileNetV2":
        model = keras.applications.MobileNetV2(SHAPE, weights=None)
    else:
        model = keras.saving.load_model(config["file"], compile=False)
    if config["rewritten"]:
        model = ks.deploy.make_eligible(model)
    eligible = ks.deploy.eligibility(model)
    found: dict[str, Any] = {"rule": next((row.rule for row in eligible.slow), "")}
    for kind in ("dense", "pruned"):
        if kind == "pruned" and eligible.all_fast():
            ks.prune(model, config["zeros"], granularity="xnnpack", allocation="uniform")
        elif kind == "pruned":
            # The same weights, though they will be computed with as if they were dense.
            others = [row.weight for row in eligible.rows if row.kind == "other"]
            ks.prune(model, config["zeros"], allocation="uniform", exclude=others)
        file = folder / f"{kind}.tflite"
        with warnings.catch_warnings():
            # Random networks give almost the same for all random images.
            warnings.simplefilter("ignore", ks.SparsityWarning)
            report = ks.deploy.to_litert(model, file, sparse=kind == "pruned", tolerance=1e-2)
        counted = instructions(config["arm"], file) if config["arm"] else None
        found[kind] = {"bytes": report.bytes, "error": report.max_error, "instructions": counted}
    return found


def instructions(counter: str, file: Path) -> int:
    """Arm instructions of an inference."""
    done = subprocess.run(["bash", counter, "count", file], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{counter} failed on {file}: {done.stderr.strip()[-500:]}")
    return int(done.stdout.split()[-1])


def bars(content: dict) -> list[str]:
    """What was to be reached, and what was."""
    dense, mobile = content["dense"], content["networks"]["mobilenet, as it is"]
    by_sixteen, by_four = dense[BY_SIXTEEN], dense[BY_FOUR]
    builtin = {name: found["ms"]["built-in"][1] for name, found in dense.items()}
    smaller = {what: _ratio(mobile, what) for what, _, _ in PAIRS}
    faster = {
        (kernels, key): dense[PLAIN][key][kernels][1] / by_four[key][kernels][1]
        for kernels, key in itertools.product(("all", "built-in"), ("ms", "cold"))
    }
    four = "(4, 1) and float32, times faster"
    reached = [
        ("(16, 1) and int8, times smaller", dense[PLAIN]["bytes"] / by_sixteen["bytes"], 25),
        ("and faster, built-in kernels", builtin[PLAIN] / builtin[BY_SIXTEEN], 10),
        (f"{four}, XNNPACK, weights in the caches", faster["all", "ms"], 4),
        (f"{four}, built-in kernels, weights in the caches", faster["built-in", "ms"], 4),
        (f"{four}, XNNPACK, weights from memory", faster["all", "cold"], 4),
        (f"{four}, built-in kernels, weights from memory", faster["built-in", "cold"], 4),
        ("mobilenet at 90 %, times smaller", smaller["bytes"], 6),
        ("times fewer Arm instructions", smaller["instructions"], 2.6),
    ]
    return [
        f"{name}: {'not counted' if value is None else f'{value:.1f}'} (asked: {least})"
        for name, value, least in reached
    ]


def _ratio(found: dict, what: str) -> float | None:
    dense, pruned = found["dense"][what], found["pruned"][what]
    return dense / pruned if dense and pruned else None


def describe(content: dict) -> Document:
    rows = []
    for name, found in content["dense"].items():
        cells = [name, f"{found['bytes'] / 1e6:.2f}", f"{max(found['error'].values()):.0e}"]
        for key, kernels in itertools.product(("ms", "cold"), ("all", "built-in")):
            times = found[key].get(kernels)
            cells.append(
                "wrong" if times is None else f"{times[1]:.3f} ({times[0]:.3f} to {times[2]:.3f})"
            )
        cells.append("?" if found["memory"] is None else f"{found['memory'] / 1e6:.1f}")
        rows.append(cells)
    times = ("XNNPACK, ms", "built-in kernels, ms", "XNNPACK, cold, ms", "built-in, cold, ms")
    header = ("90 % zeros", "MB", "error", *times, "memory, MB")
    first = Table("Three Dense(1024)", header, rows)
    rows = []
    for name, found in content["networks"].items():
        cells = [name, f"{ZEROS[name.split(', ')[0]]:.0%}"]
        for what, scale, form in PAIRS:
            values = [found[kind][what] for kind in ("dense", "pruned")]
            cells += ["" if value is None else format(value / scale, form) for value in values]
            ratio = _ratio(found, what)
            cells.append("" if ratio is None else f"{ratio:.2f}")
        rows.append(cells)
    pair = ("MB, dense", "pruned", "times fewer")
    arm = ("M Arm instructions, dense", "pruned", "times fewer")
    second = Table("Networks at 224x224", ("network", "zeros", *pair, *arm), rows)
    rules = [
        f"{name}: {found['rule']}" for name, found in content["networks"].items() if found["rule"]
    ]
    text = (
        "Zeros are those of the 1x1 convolutions that come into question (and of Dense kernels in "
        "blocks). Latencies are CPU times on one thread, medians and quartiles; cold ones with the "
        "processor's caches emptied before each inference, so that weights come from memory."
    )
    blocks = [f"**{first.title}**", first, f"**{second.title}**", second, text]
    blocks += ["What `deploy.eligibility` says of those that gain nothing:", notes(rules)]
    return Document("What zeros save on edge runtimes", [*blocks, notes(bars(content))])


def main() -> None:
    script = Script(__doc__, HERE / "results", arm=str, lite0=str, runs=200, threads=1)
    args = script.parser.parse_args()
    if args.arm and not Path(args.arm).exists():
        script.parser.error(f"--arm: there is no {args.arm}, which counts Arm instructions")
    arm = args.arm and str(Path(args.arm).resolve())
    variants = {"dense": Variant({"runs": args.runs}, perceptron)}
    for name, zeros in ZEROS.items():
        if name == "EfficientNet-Lite0" and not args.lite0:
            continue
        of = {"network": name, "zeros": zeros, "arm": arm}
        of["file"] = args.lite0 and str(Path(args.lite0).resolve())
        variants[f"{name}, as it is"] = Variant({**of, "rewritten": False}, network)
        if name != "mobilenet":
            variants[f"{name}, made eligible"] = Variant({**of, "rewritten": True}, network)

    def measure() -> dict:
        study = Study(variants, [0], perceptron)
        found = study.timed(HERE / "build" / "edge", args.threads)
        return {"dense": found.pop("dense"), "networks": found}

    script.write(args, "edge", measure, describe)


if __name__ == "__main__":
    main()
