"""What `signal_propagation.py` trains, prunes and measures, by part."""

import functools
import math

import keras
import numpy as np
from keras import layers

import keras_sparse as ks
from keras_sparse.analysis.signal.report import summed_up
from keras_sparse.experiments import benchmark as bench

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
