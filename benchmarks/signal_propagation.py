"""Why pruned networks train slowly, and what orthogonal starts and isometry do about it.

    python benchmarks/signal_propagation.py --part training

Parts, each after a table or figure of the source (Lee 2020, Chapter 4), on perceptrons of seven
layers of 100 units and MNIST unless said otherwise:

- `training` (Figure 4.2b): steps until the training loss is 0.3, at 90 % zeros, from orthogonal
  weights or variance scaling, pruned by connection sensitivity (CS), at random or by magnitude of
  trained weights (Mag), with approximate isometry (AI) and without; tanh and linear.
- `training_digits`: the same on scikit-learn's digits with seven layers of 64 units, without
  momentum, at 80 % and 90 %.
- `singular_values` (Figure 4.2a): the mean singular value of the Jacobian against sparsity.
- `gammas` (Table 4.1): connection sensitivity at Gaussian weights of six variances; the pruned
  network is then trained from weights of variance scaling.
- `unsupervised` (Table 4.4): losses to score with, of 3, 5 and 7 layers.
- `transfer` (Table 4.5): masks of one data set on another, LeNet-300-100 at 97 %.
- `networks` (Table 4.2): a small residual network on CIFAR-10 at 90 %, starts and isometry.
- `sculpting` (Table 4.6): wider, deeper and shallower perceptrons at one number of parameters.

Scores are those of the whole training set, in inference mode, and the squared Frobenius norm is
minimized. One process makes all variants of a seed.
"""

import functools
import math
from pathlib import Path

import keras
import numpy as np
from keras import layers

import keras_sparse as ks
from keras_sparse.analysis.signal.report import summed_up
from keras_sparse.experiments import benchmark as bench
from keras_sparse.plots.pretraining import pretraining_curve

PARTS = {
    "training": {"steps": 3000, "rates": {"tanh": 0.1, "linear": 0.01}, "sparsity": 0.9},
    "training_digits": {
        "steps": 1500,
        "rates": {"tanh": 0.1},
        "sparsities": [0.8, 0.9],
        "width": 64,
        "every": 25,
        "momentum": 0.0,
    },
    "singular_values": {"steps": 1000, "activations": ["tanh", "linear"]},
    "gammas": {"steps": 1000, "sparsity": 0.9, "values": [1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0]},
    "unsupervised": {"steps": 1000, "sparsity": 0.9, "depths": [3, 5, 7]},
    "transfer": {"steps": 1000, "sparsity": 0.97},
    "networks": {"epochs": 4, "sparsity": 0.9, "images": 5000},
    "sculpting": {"steps": 1000},
}
LOSS, EVERY, WIDTH = 0.3, 50, 100
PIPELINES = (
    "LDI-Dense",
    "VS-CS",
    "LDI-CS",
    "LDI-CS-AI",
    "LDI-Rand",
    "LDI-Rand-AI",
    "LDI-Mag",
)


def perceptron(
    seed: int,
    activation: str = "tanh",
    depth: int = 7,
    width: int = WIDTH,
    shape: tuple[int, ...] = (28, 28, 1),
):
    """Layers of one width, the last of 10 logits, drawn by variance scaling (LeCun)."""
    keras.utils.set_random_seed(seed)

    def dense(units, kind=None):
        return layers.Dense(units, kind, kernel_initializer="lecun_normal")

    hidden = [dense(width, activation) for _ in range(depth - 1)]
    return keras.Sequential([keras.Input(shape), layers.Flatten(), *hidden, dense(10)])


@functools.cache
def images(name: str, seed: int, limit: int | None = 54000):
    return ks.data.load(name, limit=limit, seed=seed)


def ready(
    model: keras.Model, rate: float, steps: int, momentum: float = 0.9, every: int = EVERY
) -> keras.Model:
    falling = keras.optimizers.schedules.PiecewiseConstantDecay(
        [steps // 2, 3 * steps // 4], [rate, rate / 10, rate / 100]
    )
    return bench.compiled(model, falling, momentum, steps_per_execution=every)


def trained(
    model: keras.Model,
    data,
    seed: int,
    steps: int,
    rate: float,
    *callbacks,
    momentum: float = 0.9,
    every: int = EVERY,
) -> dict:
    """Losses of every so many steps, the steps to a loss, and errors on the test images."""
    ready(model, rate, steps, momentum, every)
    model.fit(
        ks.data.pipeline(*data.train, batch_size=100, seed=seed).repeat(),
        steps_per_epoch=every,
        epochs=steps // every,
        validation_data=data.test,
        validation_batch_size=1000,
        validation_freq=10,
        shuffle=False,
        verbose=0,
        callbacks=[keras.callbacks.TerminateOnNaN(), *callbacks],
    )
    history = model.history.history
    losses, accuracies = history["loss"], history.get("val_accuracy", [0.1])
    reached = [every * (i + 1) for i, loss in enumerate(losses) if loss < LOSS]
    return {
        "losses": [loss if math.isfinite(loss) else None for loss in losses],
        "steps": reached[0] if reached else None,
        "accuracy": accuracies[-1],
        "best": max(accuracies),
    }


def sensitivity(model, x, sparsity: float, loss="gt") -> dict:
    if loss == "gt":
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return ks.connection_sensitivity_masks(model, x, sparsity, loss=loss, batch_size=1000)


def masks_of(model, how: str, data, sparsity: float, seed: int) -> dict:
    """The masks of `CS`, `Rand` or `Mag` at the model's weights."""
    if how == "CS":
        return sensitivity(model, data.train, sparsity)
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    if how == "Mag":
        ks.prune(clone, sparsity)
    else:
        random = np.random.default_rng(seed)
        kernels = [v for v in clone.trainable_variables if v.name == "kernel"]
        ranks = [random.random(tuple(v.shape)) for v in kernels]
        least = np.quantile(np.concatenate([rank.ravel() for rank in ranks]), sparsity)
        for kernel, rank in zip(kernels, ranks, strict=True):
            kernel.assign(np.where(rank >= least, np.asarray(kernel), 0))
    kept = {v.path: np.asarray(v) != 0 for v in clone.trainable_variables if v.name == "kernel"}
    return ks.transfer_masks(kept, model)


def signals(model: keras.Model, x) -> dict:
    """Of a model as it is before training."""
    return {
        "score": ks.orthogonality_score(model),
        "jsv": summed_up(ks.jacobian_singular_values(model, x)),
    }


def masked(model: keras.Model, masks: dict) -> None:
    for path, mask in masks.items():
        (kernel,) = [v for v in model.trainable_variables if v.path.endswith(path)]
        kernel.assign(np.asarray(kernel) * mask)


def pruned(model, pipeline: str, data, sparsity: float, seed: int, pretrain=None) -> list:
    """Draws, prunes and mends a model; returns the callbacks to train it with."""
    init, how, *isometry = pipeline.split("-")
    if init == "LDI":
        ks.init_ldi(model, seed=seed)
    if how == "Dense" or sparsity == 0:
        return []
    if how == "Mag":
        pretrain(model)
    masks = masks_of(model, how, data, sparsity, seed)
    masked(model, masks)
    if isometry:
        ks.enforce_isometry(model, masks, verbose=False)
    return [ks.StaticMask(mask=masks)]


def training(part: dict, seed: int) -> dict:
    digits = "width" in part
    data, found = images("digits" if digits else "mnist", seed), {}
    made = {"momentum": part["momentum"], "every": part["every"]} if digits else {}
    shape = {"width": part["width"], "shape": data.input_shape} if digits else {}
    for activation, rate in part["rates"].items():
        for sparsity in part.get("sparsities", [part.get("sparsity")]):
            for pipeline in PIPELINES:
                model = perceptron(seed, activation, **shape)

                def pretrain(model, rate=rate):
                    trained(model, data, seed, part["steps"], rate, **made)

                callbacks = pruned(model, pipeline, data, sparsity, seed, pretrain)
                before = signals(model, data.x_train[:100])
                after = trained(model, data, seed, part["steps"], rate, *callbacks, **made)
                where = f"{activation} {sparsity:.0%}" if digits else activation
                found[f"{where} {pipeline}"] = {**before, **after}
    return found


def singular_values(part: dict, seed: int) -> dict:
    data, found = images("mnist", seed), {}
    for activation in part["activations"]:
        for pipeline in PIPELINES[1:]:
            model = perceptron(seed, activation)

            def pretrain(model, activation=activation):
                rate = 0.1 if activation == "tanh" else 0.01
                trained(model, data, seed, part["steps"], rate)

            if pipeline == "LDI-Mag":  # trained once
                ks.init_ldi(model, seed=seed)
                pretrain(model)
            start = model.get_weights()
            means = []
            for sparsity in np.arange(0, 1, 0.1):
                model.set_weights(start)
                name = pipeline if pipeline != "LDI-Mag" else "VS-Mag"
                pruned(model, name, data, float(sparsity), seed, lambda model: None)
                means.append(ks.jacobian_singular_values(model, data.x_train[:100]).mean)
            found[f"{activation} {pipeline}"] = {"means": means}
    return found


def gammas(part: dict, seed: int) -> dict:
    data, found = images("mnist", seed), {}
    for gamma in part["values"]:
        model = perceptron(seed)
        random = np.random.default_rng(seed)
        kernels = [v for v in model.trainable_variables if v.name == "kernel"]
        start = model.get_weights()
        for kernel in kernels:
            kernel.assign(random.normal(scale=gamma**0.5, size=tuple(kernel.shape)))
        jsv = summed_up(ks.jacobian_singular_values(model, data.x_train[:100]))
        masks = sensitivity(model, data.train, part["sparsity"])
        model.set_weights(start)
        made = trained(model, data, seed, part["steps"], 0.1, ks.StaticMask(mask=masks))
        by_layer = [1 - float(mask.mean()) for mask in masks.values()]
        found[f"{gamma:g}"] = {"jsv": jsv, "layers": by_layer, **made}
    return found


def unsupervised(part: dict, seed: int) -> dict:
    data, found = images("mnist", seed), {}
    losses = ("gt", "uniform", "pred_softmax", "pred_raw", "jacobian_l1", "jacobian_l2")
    for depth in part["depths"]:
        for loss in (*losses, "random"):
            model = perceptron(seed, depth=depth)
            ks.init_ldi(model, seed=seed)
            if loss == "random":
                masks = masks_of(model, "Rand", data, part["sparsity"], seed)
            else:
                # Each image goes through the model ten times for its Jacobian.
                count = 5000 if loss.startswith("jacobian") else None
                sample = tuple(side[:count] for side in data.train)
                masks = sensitivity(model, sample, part["sparsity"], loss)
            callback = ks.StaticMask(mask=masks)
            found[f"{depth} layers, {loss}"] = trained(
                model, data, seed, part["steps"], 0.1, callback
            )
    return found


def transfer(part: dict, seed: int) -> dict:
    found, names = {}, ("mnist", "fashion_mnist")

    def network():
        model = ks.models.get("lenet300", seed=seed)
        ks.init_ldi(model, seed=seed)
        return model

    masks = {
        (source, loss): sensitivity(network(), images(source, seed).train, part["sparsity"], loss)
        for source in names
        for loss in ("gt", "uniform")
    }
    for target in names:
        masks["random", target] = masks_of(network(), "Rand", None, part["sparsity"], seed)
    for (source, loss), mask in masks.items():
        for target in names if source != "random" else (loss,):
            model = network()
            callback = ks.StaticMask(mask=ks.transfer_masks(mask, model))
            kind = "random" if source == "random" else f"{source}, {loss}"
            found[f"{kind} -> {target}"] = trained(
                model, images(target, seed), seed, part["steps"], 0.1, callback
            )
    return found


def residual(seed: int, start: str) -> keras.Model:
    """Five residual blocks of 16 to 64 filters, on images of half the size."""
    keras.utils.set_random_seed(seed)

    def conv(x, filters, size=3, stride=1):
        made = layers.Conv2D(
            filters, size, stride, "same", use_bias=False, kernel_initializer=start
        )
        return layers.BatchNormalization()(made(x))

    inputs = keras.Input((32, 32, 3))
    x = layers.ReLU()(conv(layers.AveragePooling2D(2)(inputs), 16))
    for filters, stride in ((16, 1), (16, 1), (32, 2), (32, 1), (64, 2)):
        y = conv(layers.ReLU()(conv(x, filters, stride=stride)), filters)
        if x.shape[-1] != filters:
            x = conv(x, filters, 1, stride)
        x = layers.ReLU()(layers.Add()([x, y]))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(10, kernel_initializer=start)(x))


def networks(part: dict, seed: int) -> dict:
    found, data = {}, images("cifar10", seed, part["images"])
    starts = {"VS-L": "lecun_normal", "VS-G": "glorot_normal", "VS-H": "he_normal"}
    steps = part["epochs"] * len(data.x_train) // 100
    for name in (*starts, "LDI", "LDI-AI"):
        model = residual(seed, starts.get(name, "he_normal"))
        pipeline = f"{name.split('-')[0]}-CS" + ("-AI" if name == "LDI-AI" else "")
        callbacks = pruned(model, pipeline, data, part["sparsity"], seed)
        score = ks.orthogonality_score(model)
        bench.compiled(model, bench.warm_cosine(0.1, steps), weight_decay=5e-4)
        model.fit(
            ks.data.pipeline(*data.train, batch_size=100, seed=seed),
            epochs=part["epochs"],
            shuffle=False,
            verbose=0,
            callbacks=callbacks,
        )
        found[name] = {"score": score, "accuracy": bench.accuracy(model, data.test)}
    return found


def sculpting(part: dict, seed: int) -> dict:
    data, steps = images("mnist", seed), part["steps"]
    shapes = {
        "base": (32, 4),
        "wider, 2x": (64, 4),
        "wider, 4x": (128, 4),
        "wider, 8x": (256, 4),
        "wider and shallower": (128, 3),
        "deeper": (32, 7),
    }
    variants = {
        name: lambda width=width, depth=depth: ready(
            perceptron(seed, depth=depth, width=width), 0.1, steps
        )
        for name, (width, depth) in shapes.items()
    }
    budget = variants["base"]().count_params()
    fit = {
        "x": ks.data.pipeline(*data.train, batch_size=100, seed=seed).repeat(),
        "steps_per_epoch": 10 * EVERY,
        "epochs": steps // (10 * EVERY),
        "validation_data": data.test,
        "validation_batch_size": 1000,
        "shuffle": False,
        "verbose": 0,
    }
    made = ks.sculpt(variants, budget, data.x_train[:10000], fit, seed=seed)
    return {
        row.name: {
            "parameters": row.parameters,
            "sparsity": row.sparsity,
            "kept": row.kept,
            "accuracy": row.metric,
            "best": max(made.histories[row.name]["val_accuracy"]),
        }
        for row in made.rows
    }


RUNS = {
    "training": training,
    "training_digits": training,
    "singular_values": singular_values,
    "gammas": gammas,
    "unsupervised": unsupervised,
    "transfer": transfer,
    "networks": networks,
    "sculpting": sculpting,
}


def run(config: dict, folder: Path) -> dict[str, dict]:
    """All variants of a part from one seed."""
    return RUNS[config["part"]](config, config["seed"])


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


def describe(content: dict) -> bench.Document:
    seeds = content["runs"]
    found = {name: [run[name] for run in seeds] for name in seeds[0]}
    part = content["part"]
    made = DESCRIBED[part](content["setting"], found)
    count = f"Mean over {len(seeds)} seeds and sample standard deviation."
    return made._replace(blocks=[*made.blocks, count if len(seeds) > 1 else "One seed."])


if __name__ == "__main__":
    script = bench.Script(
        __doc__, choices={"part": PARTS}, part="training", seeds=2, steps=int, images=int
    )
    part = script.args.part
    setting = script.chosen(PARTS[part])
    seeds = range(script.args.seeds)
    study = bench.Study({part: bench.Variant({**setting, "part": part})}, seeds, run)
    script.study(
        study,
        describe,
        content=lambda made: {"part": part, "setting": setting, "runs": made[part]},
        name=f"signal_propagation_{part}",
    )
