"""Half of the channels of ten networks removed: exactness, seconds and latency, beside onnxsim.

    pip install keras-sparse[onnxsim]
    python benchmarks/shrink.py

Networks of `keras.applications` with random weights. Of every group the half of the smallest L1
norm is removed. Latency is that of one image on one thread: medians, the models taking turns. A
sixteenth of the channels shows what of Keras's latency no channel less takes away.
"""

import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from latencies import keras_latencies
from networks import application
from shrink_onnxsim import IMPLEMENTATIONS, cells, of_onnxsim

from keras_sparse.deploy import litert_costs
from keras_sparse.experiments.benchmark import (
    Document,
    Script,
    Study,
    Table,
    Variant,
    notes,
    points,
)
from keras_sparse.structured.coupling.groups import ChannelGroups, channel_groups
from keras_sparse.structured.criteria import scores
from keras_sparse.structured.selecting import Bounds, Ladder
from keras_sparse.structured.shrink import build
from keras_sparse.structured.training import Samples

NETWORKS = (
    *("ResNet50", "MobileNetV2", "EfficientNetV2B0", "ConvNeXtTiny", "DenseNet121"),
    *("InceptionV3", "Xception", "NASNetMobile", "VGG16", "MobileNetV3Small"),
)
RUNTIMES = ("Keras", "LiteRT")


def largest(model: keras.Model, groups: ChannelGroups, parts: int = 2) -> dict[str, np.ndarray]:
    """One part of so many of each group's channels, those whose norms are largest."""
    free = [group for group in groups.groups if group.reason is None]
    ladder = Ladder(free, scores("l1", model, free, Samples()), "group", Bounds({}))
    return ladder.keep(ladder.top - ladder.top // parts)


def run(config: dict, folder: Path) -> dict[str, Any]:
    """What became of one network, ours or that of onnxsim."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    model, x = application(config["network"], config["seed"])
    if config["peer"]:
        return of_onnxsim(model, x, folder / "model.onnx")
    times = [time.perf_counter()]
    groups = channel_groups(model)
    times.append(time.perf_counter())
    keep = largest(model, groups)
    times.append(time.perf_counter())
    smaller = build(groups, keep, masked=False)
    times.append(time.perf_counter())
    least = build(groups, largest(model, groups, parts=16), masked=False)
    mine, masked = (np.asarray(each(x)) for each in (smaller, build(groups, keep, masked=True)))
    return {
        "frozen": [f"{g.name}: {g.reason}" for g in groups.groups if g.reason is not None],
        "kept": smaller.count_params() / model.count_params(),
        "error": float(np.abs(mine - masked).max() / np.abs(masked).max()),
        "analysis": times[1] - times[0],
        "rebuild": times[3] - times[2],
        "Keras": keras_latencies([model, smaller, least], x),
        "LiteRT": [cost.seconds for cost in litert_costs([model, smaller], x, runs=60)],
    }


def ratio(seconds: list[float], which: int = 1) -> float:
    return seconds[which] / seconds[0]


CHECKS = {
    "Masked and smaller model equal within 1e-5 of the outputs' size": lambda o: o["error"] <= 1e-5,
    "Analysis and rebuild below 60 s each": lambda o: max(o["analysis"], o["rebuild"]) < 60,
    "LiteRT's latency at most 0.6 of what it was": lambda o: ratio(o["LiteRT"]) <= 0.6,
    "Keras's latency at most 0.6 of what it was": lambda o: ratio(o["Keras"]) <= 0.6,
    "Only the outputs keep their size": lambda o: len(o["frozen"]) == 1,
}


def describe(content: dict) -> Document:
    found, rows, theirs, drawn = content["results"], [], [], {}
    ours = {name: runs[0] for name, runs in found.items() if name in NETWORKS}
    for name, one in ours.items():
        row = [f"{one['kept']:.2f}", f"{one['error']:.0e}"]
        row += [f"{one[key]:.1f}" for key in ("analysis", "rebuild")]
        for runtime in RUNTIMES:
            row += ["{:.1f} to {:.1f}".format(*(1000 * s for s in one[runtime]))]
            row += [f"{ratio(one[runtime]):.2f}"]
            drawn[f"{name}, {runtime}"] = [ratio(one[runtime])]
        row += [f"{ratio(one['Keras'], 2):.2f}"]
        rows.append((name, *row))
        theirs.append((name, f"{one['kept']:.2f}", *cells(found[f"{name}, onnxsim"][0])))
    lines = []
    for claim, holds in CHECKS.items():
        missed = [name for name, one in ours.items() if not holds(one)]
        lines.append(f"{claim}: {'not ' + ', '.join(missed) if missed else 'all'}.")
    lines += [
        "Keras, a sixteenth: what is left of the latency with a sixteenth of the channels, whose "
        "arithmetic is a sixteenth at most. The rest is nothing that fewer channels take away."
    ]
    header = ["network", "parameters kept", "difference", "analysis s", "rebuild s"]
    header += [title for runtime in RUNTIMES for title in (f"{runtime} ms", "ratio")]
    header += ["Keras, a sixteenth"]
    peer = [title for way in IMPLEMENTATIONS for title in (f"{way} keeps", "difference", "s")]
    blocks = [Table("Half of every group", header, rows), notes(lines)]
    blocks += ["onnxsim's structured pruning of half, by its two implementations:"]
    blocks += [Table("onnxsim", ["network", "parameters kept here", *peer], theirs)]
    blue = {name: "C0" for name in drawn if name.endswith(RUNTIMES[1])}
    picture = points(drawn, "latency that is left", blue)
    return Document("Ten networks with half of their channels", blocks, picture, "latency left")


def main() -> None:
    script = Script(__doc__, networks=list(NETWORKS))
    variants = {}
    for name in script.args.networks:
        variants[name] = Variant({"network": name, "peer": False})
        variants[f"{name}, onnxsim"] = Variant({"network": name, "peer": True})
    script.study(Study(variants, [0], run), describe, processes=1)


if __name__ == "__main__":
    main()
