"""Tables, claims and pictures of `signal_propagation.py`, by part."""

import math

import numpy as np
from signal_propagation_runs import EVERY, LOSS, PIPELINES

from keras_sparse.experiments import benchmark as bench
from keras_sparse.plots.pretraining import pretraining_curve


def errors(runs: list[dict], key: str = "accuracy") -> list[float]:
    return [100 * (1 - run[key]) for run in runs]


def pair(values: list[float], form: str = ".2f") -> str:
    spread = f" ± {bench.spread(values):{form}}" if len(values) > 1 else ""
    return f"{np.mean(values):{form}}{spread}"


def means(runs: list[dict], *keys: str) -> float:
    """The mean over seeds of what stands under some keys, infinite where a seed has none."""
    values = []
    for run in runs:
        for key in keys:
            run = run[key]
        values.append(math.inf if run is None else run)
    return float(np.mean(values))


def steps_of(runs: list[dict], limit: int) -> list[int]:
    """Steps to the loss, as many as were taken where it was not reached."""
    return [limit if run["steps"] is None else run["steps"] for run in runs]


def steps_told(runs: list[dict], limit: int) -> str:
    never = sum(run["steps"] is None for run in runs)
    if never == len(runs):
        return "never"
    told = pair(steps_of(runs, limit), ".0f")
    return f"{told} ({never} never)" if never else told


def held(says: str, asked: str, measured: float, holds: bool, form: str = ".2f") -> tuple:
    return says, asked, f"{measured:{form}}", "holds" if holds else "does not hold"


def claims(rows: list[tuple]) -> bench.Table:
    return bench.Table("Claims", ("claim", "asked", "measured", ""), rows)


def curve(found: dict, name: str, every: int = EVERY) -> tuple[list[int], list[float]]:
    """The mean loss over seeds, up to where all have one."""
    runs = [run["losses"] for run in found[name]]
    rows = [row for row in zip(*runs, strict=False) if None not in row]
    return [every * (i + 1) for i in range(len(rows))], [float(np.mean(row)) for row in rows]


def describe_training(part: dict, found: dict) -> bench.Document:
    limit, rows, said = part["steps"], [], []
    every = part.get("every", EVERY)
    places = list(dict.fromkeys(name.rpartition(" ")[0] for name in found))
    for name, runs in found.items():
        jsv = f"{means(runs, 'jsv', 'mean'):.3g}"
        score = f"{means(runs, 'score'):.2f}"
        told = (steps_told(runs, limit), pair(errors(runs)), pair(errors(runs, "best")))
        rows.append((name, score, jsv, *told))
    for place in places:
        of = {name: found[f"{place} {name}"] for name in PIPELINES}
        steps = {name: float(np.mean(steps_of(runs, limit))) for name, runs in of.items()}
        ratio = steps["LDI-CS"] / steps["LDI-CS-AI"]
        says = f"{place}: steps of LDI-CS by those of LDI-CS-AI"
        said.append(held(says, "at least 2", ratio, ratio >= 2))
        ratio = steps["LDI-Rand"] / steps["LDI-Rand-AI"]
        never = all(run["steps"] is None for run in of["LDI-Rand"])
        says = f"{place}: steps of LDI-Rand by those of LDI-Rand-AI"
        said.append(held(says, "at least 3, or never", ratio, never or ratio >= 3))
        ratio = steps["LDI-CS-AI"] / steps["LDI-Rand-AI"]
        says = f"{place}: steps of LDI-CS-AI by those of LDI-Rand-AI"
        said.append(held(says, "at most 1", ratio, ratio <= 1))
        for how in ("CS", "Rand"):
            apart = means(of[f"LDI-{how}-AI"], "jsv", "mean")
            ratio = apart / means(of[f"LDI-{how}"], "jsv", "mean")
            says = f"{place}: mean singular value after isometry of {how} by that before"
            said.append(held(says, "at least 10", ratio, ratio >= 10, ".1f"))
    header = ("network", "score", "mean sigma", f"steps to {LOSS}", "error, %", "lowest, %")
    text = (
        f"Before training: the orthogonality score, and the mean singular value of the Jacobian of "
        f"100 images. The training loss is the mean of {every} steps; of {limit:,} steps in all, "
        f"each of 100 images. The lowest error is that of every {10 * every} steps, which the "
        "source reports; it is chosen on the test images and so too good. Where a loss was never "
        "reached all steps count, and the ratio may be larger."
    )
    shown = next(place for place in reversed(places) if place.startswith("tanh"))
    curves = {name: curve(found, f"{shown} {name}", every) for name in PIPELINES}
    picture = pretraining_curve(
        curves, label="training loss", xlabel="steps", logarithmic=True, title="tanh, 90 % zeros"
    )
    blocks = [bench.Table("Steps to a loss", header, rows), text, claims(said)]
    title = "Steps to a training loss, with isometry and without"
    return bench.Document(title, blocks, picture, "training loss by steps")


def describe_singular_values(part: dict, found: dict) -> bench.Document:
    at = [round(0.1 * i, 1) for i in range(10)]
    of = {name: np.mean([run["means"] for run in runs], 0) for name, runs in found.items()}
    rows = [(name, *(f"{value:.2g}" for value in values)) for name, values in of.items()]
    said = []
    for activation in part["activations"]:
        for how in ("VS-CS", "LDI-CS", "LDI-Rand"):
            falls = float(np.max(np.diff(of[f"{activation} {how}"])))
            says = f"{activation}: {how} falls with sparsity; largest rise"
            said.append(held(says, "below 0", falls, falls < 0, ".3g"))
        cs, rand = of[f"{activation} LDI-CS"], of[f"{activation} LDI-Rand"]
        least = float(np.min(cs[2:] / rand[2:]))
        says = f"{activation}: CS by random from 20 % on, least"
        said.append(held(says, "above 1", least, least > 1))
        for how in ("CS", "Rand"):
            values = of[f"{activation} LDI-{how}-AI"][:9]
            worst = float(np.max(np.abs(values / values[0] - 1)))
            says = f"{activation}: LDI-{how}-AI from dense up to 80 %, furthest"
            said.append(held(says, "at most 0.2", worst, worst <= 0.2))
    header = ("network", *(f"{100 * s:.0f} %" for s in at))
    curves = {
        name.removeprefix("tanh "): (at, values.tolist())
        for name, values in of.items()
        if name.startswith("tanh")
    }
    picture = pretraining_curve(
        curves, label="mean singular value", xlabel="sparsity", logarithmic=True, title="tanh"
    )
    text = "Mean over 100 images and all singular values of the Jacobian of logits by inputs."
    blocks = [bench.Table("Mean singular values", header, rows), text, claims(said)]
    title = "The mean singular value of the Jacobian by sparsity"
    return bench.Document(title, blocks, picture, "mean singular value by sparsity")


def describe_gammas(part: dict, found: dict) -> bench.Document:
    rows = []
    for gamma, runs in found.items():
        jsv = [f"{means(runs, 'jsv', key):.3g}" for key in ("mean", "std")]
        least = [run["jsv"]["min"] for run in runs]
        ratios = [
            run["jsv"]["max"] / least[i] if least[i] else math.inf for i, run in enumerate(runs)
        ]
        jsv.append(f"{np.mean(ratios):.3g}")
        by_layer = np.mean([run["layers"] for run in runs], 0)
        shown = " ".join(f"{value:.2f}" for value in by_layer)
        rows.append((gamma, *jsv, shown, pair(errors(runs)), pair(errors(runs, "best"))))
    error = {float(gamma): float(np.mean(errors(runs))) for gamma, runs in found.items()}
    best = min(error.values())
    said = []
    for gamma, value in error.items():
        if gamma <= 0.1:
            says = f"gamma {gamma:g}: error by the best"
            said.append(held(says, "below 2", value / best, value < 2 * best))
        else:
            most = max(max(run["layers"]) for run in found[f"{gamma:g}"])
            said.append(held(f"gamma {gamma:g}: error", "above 80", value, value > 80))
            says = f"gamma {gamma:g}: largest sparsity of a layer"
            said.append(held(says, "above 0.98", most, most > 0.98, ".4f"))
    header = ("gamma", "mean sigma", "std", "max / min", "sparsity of layers", "error, %", "lowest")
    text = (
        "Gamma is the variance of all weights that connections are scored at. Singular values are "
        "those of the dense network, at these weights; inf where one is zero to rounding. The "
        "source does not say from which weights it trains: here from variance scaling, the same "
        "for all."
    )
    curves = {f"gamma {gamma}": curve(found, gamma) for gamma in found}
    picture = pretraining_curve(curves, label="training loss", xlabel="steps", logarithmic=True)
    blocks = [bench.Table("Six variances", header, rows), text, claims(said)]
    title = "Connection sensitivity at Gaussian weights of six variances"
    return bench.Document(title, blocks, picture, "training loss by steps")


def describe_unsupervised(part: dict, found: dict) -> bench.Document:
    rows = [
        (name, pair(errors(runs)), pair(errors(runs, "best")), steps_told(runs, part["steps"]))
        for name, runs in found.items()
    ]
    said = []
    for depth in part["depths"]:
        of = {
            name.split(", ")[1]: float(np.mean(errors(runs)))
            for name, runs in found.items()
            if name.startswith(f"{depth} ")
        }
        apart = of["gt"] - of["uniform"]
        said.append(
            held(f"{depth} layers: labels over uniform", "at most 1.5", apart, apart <= 1.5)
        )
        for other in ("pred_raw", "pred_softmax", "random"):
            apart = of[other] - of["uniform"]
            says = f"{depth} layers: {other} over uniform"
            said.append(held(says, "above 0", apart, apart > 0))
    header = ("scored by", "error, %", "lowest, %", f"steps to {LOSS}")
    text = (
        "`gt` scores with labels. The norms of Jacobians are scored on 5,000 images, all others "
        "on 54,000."
    )
    blocks = [bench.Table("Losses to score with", header, rows), text, claims(said)]
    values = {name: [error / 100 for error in errors(runs)] for name, runs in found.items()}
    picture = bench.points(values, "test error", {})
    title = "Pruning without labels"
    return bench.Document(title, blocks, picture, "test error by loss")


def describe_transfer(part: dict, found: dict) -> bench.Document:
    rows = [(name, pair(errors(runs)), pair(errors(runs, "best"))) for name, runs in found.items()]
    of = {name: float(np.mean(errors(runs))) for name, runs in found.items()}
    names, said = ("mnist", "fashion_mnist"), []
    for source, target in (names, names[::-1]):
        worse = {
            loss: of[f"{source}, {loss} -> {target}"] - of[f"{target}, {loss} -> {target}"]
            for loss in ("gt", "uniform")
        }
        apart = worse["gt"] - worse["uniform"]
        says = f"{source} -> {target}: what labels lose by transfer over what uniform loses"
        said.append(held(says, "above 0", apart, apart > 0))
        for loss in ("gt", "uniform"):
            apart = of[f"random -> {target}"] - of[f"{source}, {loss} -> {target}"]
            says = f"{source}, {loss} -> {target}: below random masks"
            said.append(held(says, "above 0", apart, apart > 0))
    header = ("mask of -> trained on", "error, %", "lowest, %")
    blocks = [bench.Table("Transfer of masks", header, rows), claims(said)]
    values = {name: [error / 100 for error in errors(runs)] for name, runs in found.items()}
    picture = bench.points(values, "test error", {})
    title = "Masks of one data set on another: LeNet-300-100 at 97 % zeros"
    return bench.Document(title, blocks, picture, "test error by mask")


def describe_networks(part: dict, found: dict) -> bench.Document:
    rows = [
        (name, pair([run["score"] for run in runs]), pair(errors(runs)))
        for name, runs in found.items()
    ]
    ratio = means(found["LDI-AI"], "score") / means(found["LDI"], "score")
    apart = float(np.mean(errors(found["LDI-AI"])) - np.mean(errors(found["LDI"])))
    said = [
        held("score of LDI-AI by that of LDI", "at most 0.7", ratio, ratio <= 0.7),
        held("error of LDI-AI over that of LDI", "at most 0.5", apart, apart <= 0.5),
    ]
    text = (
        f"A residual network of 12 convolutions and batch normalization on {part['images']:,} "
        f"images, {part['epochs']} epochs."
    )
    header = ("start", "score", "error, %")
    values = {name: [error / 100 for error in errors(runs)] for name, runs in found.items()}
    picture = bench.points(values, "test error", {})
    blocks = [bench.Table("Starts", header, rows), text, claims(said)]
    title = "Starts and isometry of a residual network at 90 % zeros"
    return bench.Document(title, blocks, picture, "test error by start")


def describe_sculpting(part: dict, found: dict) -> bench.Document:
    rows = [
        (
            name,
            f"{runs[0]['parameters']:,}",
            f"{runs[0]['sparsity']:.1%}",
            f"{runs[0]['kept']:,}",
            pair(errors(runs)),
            pair(errors(runs, "best")),
        )
        for name, runs in found.items()
    ]
    of = {name: float(np.mean(errors(runs))) for name, runs in found.items()}
    least = min(value for name, value in of.items() if name != "base")
    says = "least error of a sparse variant over that of the base"
    said = [held(says, "at most 0", least - of["base"], least <= of["base"])]
    header = ("variant", "parameters", "zeros", "kept", "error, %", "lowest, %")
    text = (
        "Sparse variants are drawn orthogonal and pruned without labels (uniform), on 10,000 "
        "images; the base is trained dense from variance scaling."
    )
    values = {name: [error / 100 for error in errors(runs)] for name, runs in found.items()}
    picture = bench.points(values, "test error", {})
    blocks = [bench.Table("One number of parameters", header, rows), text, claims(said)]
    title = "Sculpting: other shapes at one number of parameters"
    return bench.Document(title, blocks, picture, "test error by shape")


DESCRIBED = {
    "training": describe_training,
    "training_digits": describe_training,
    "singular_values": describe_singular_values,
    "gammas": describe_gammas,
    "unsupervised": describe_unsupervised,
    "transfer": describe_transfer,
    "networks": describe_networks,
    "sculpting": describe_sculpting,
}
