"""What other packages for Keras and JAX cost beside this one, on the same network in one run.

    pip install keras-sparse[peers] git+https://github.com/google-research/jaxpruner
    python benchmarks/peers.py

Steps: PQuantML 0.1.0's methods for Keras, without quantization, and GMP, each over the plain step
of the same turn, on a convolutional network without branches, which is all that PQuantML converts.
Mask updates: JaxPruner's magnitude pruning, all weights ranked together, and RigL on the kernels of
ResNet-50 under `jax.jit`, and GMP and RigL as `mask_update.py` times them.
"""

import functools
import time
from pathlib import Path
from typing import Any

import keras
import mask_update
import numpy as np
from stepping import Trial, paired
from timed_methods import METHODS, SPARSITY

from keras_sparse.experiments.benchmark import Document, Script, Study, Table, Variant

HERE = Path(__file__).parent
PQUANT = ("pdp", "cs", "dst", "mdmm", "autosparse")
JAXPRUNER = {"JaxPruner, magnitude": "GlobalMagnitudePruning", "JaxPruner, RigL": "RigL"}


def network() -> keras.Model:
    keras.utils.set_random_seed(0)
    layers: list[Any] = [keras.Input((32, 32, 3))]
    for width in (32, 64, 128):
        for _ in range(2):
            layers += [
                keras.layers.Conv2D(width, 3, padding="same", use_bias=False),
                keras.layers.BatchNormalization(),
                keras.layers.ReLU(),
            ]
        layers.append(keras.layers.MaxPooling2D(2))
    return keras.Sequential([*layers, keras.layers.Flatten(), keras.layers.Dense(10)])


def pquant(model: keras.Model, method: str, batch: int) -> tuple[keras.Model, Any]:
    """The model in PQuantML's layers, and the callback that trains it."""
    import pquant as peer
    from pquant.core.keras.train import PQuantCallback

    config = getattr(peer, f"{method}_config")()
    config.quantization_parameters.enable_quantization = False
    training = config.training_parameters
    training.pretraining_epochs = training.fine_tuning_epochs = 0
    training.rounds, training.epochs = 1, 2
    converted = peer.add_compression_layers(model, config, (batch, 32, 32, 3))
    return converted, PQuantCallback(config, log_ebops=False, apply_final_compression=False)


def steps(config: dict, folder: Path) -> dict[str, Any]:
    """Seconds of each step, by the wall's clock and by the processor's."""
    count = 3 + config["blocks"] + 1000

    def trial(name: str) -> Trial:
        model, callbacks = network(), []
        if name in PQUANT:
            model, callback = pquant(model, name, config["batch"])
            callbacks = [callback]
        elif name != "plain":
            timed = METHODS["gmp"]
            callbacks = [timed.busy() if name == "gmp, every step" else timed.quiet(f"{count}st")]
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(0.001, momentum=0.9), loss)
        return Trial(keras, model, callbacks, config["batch"], count)

    names = ("plain", "gmp", "gmp, every step", *PQUANT)
    return dict(paired({name: trial(name) for name in names}, config["blocks"]))


def jax_updates(config: dict, folder: Path) -> dict[str, Any]:
    """The same of JaxPruner's mask updates alone."""
    import jax

    # JaxPruner was written for releases of JAX that had it by this name.
    jax.tree_map = jax.tree_util.tree_map
    import jaxpruner
    import optax

    model = keras.applications.ResNet50(weights=None, input_shape=(32, 32, 3), classes=1000)
    kernels = [v for v in model.trainable_variables if len(v.shape) > 1]
    draw = np.random.default_rng(0)
    weights, gradients = (
        {
            str(i): jax.numpy.asarray(draw.normal(size=v.shape), "float32")
            for i, v in enumerate(kernels)
        }
        for _ in range(2)
    )
    share: dict[str, Any] = {"sparsity": SPARSITY}
    if config["class"] == "RigL":
        uniform = functools.partial(jaxpruner.sparsity_distributions.uniform, **share)
        share = {"sparsity_distribution_fn": uniform}
    pruner = getattr(jaxpruner, config["class"])(
        scheduler=jaxpruner.sparsity_schedules.PeriodicSchedule(1, 0, None), **share
    )
    state = pruner.wrap_optax(optax.sgd(0.01, 0.9)).init(weights)
    update = jax.jit(pruner.update_state)
    jax.block_until_ready(update(state, weights, gradients))
    seconds = []
    for _ in range(config["blocks"]):
        wall, processor = time.perf_counter(), time.process_time()
        jax.block_until_ready(update(state, weights, gradients))
        seconds.append((time.perf_counter() - wall, time.process_time() - processor))
    wall_s, cpu = zip(*seconds, strict=True)
    return {"weights": sum(w.size for w in weights.values()), "seconds": wall_s, "cpu": cpu}


def describe(content: dict) -> Document:
    times = {name: np.array(t)[:, 1] for name, t in content["steps"].items()}
    plain = times.pop("plain")
    rows = []
    for name, seconds in times.items():
        low, middle, high = np.percentile(100 * (seconds / plain - 1), (25, 50, 75))
        label = f"PQuantML, {name}" if name in PQUANT else name.replace("gmp", "GMP")
        rows.append((label, f"{middle:+.1f} %", f"{low:+.1f} to {high:+.1f} %"))
    header = ("method", "CPU time over plain", "quartiles")
    title = "A step, batch {batch}".format(**content["config"])
    updates = mask_update.updates_table("A mask update, ResNet-50", content["updates"])
    tables = (Table(title, header, rows), updates)
    blocks = [block for table in tables for block in (f"**{table.title}**", table)]
    return Document("What peers cost", blocks)


def main() -> None:
    script = Script(__doc__, HERE / "results", batch=128, blocks=15, threads=1)
    args = script.parser.parse_args()
    config = {"batch": args.batch, "blocks": args.blocks, "threads": args.threads}
    variants = {"steps": Variant(config, steps)}
    for method in ("gmp", "rigl"):
        own = {**config, "method": method, "network": "resnet50"}
        variants[f"this package, {method}"] = Variant(own, mask_update.run)
    for name, of_class in JAXPRUNER.items():
        variants[name] = Variant({**config, "class": of_class}, jax_updates)

    def measure() -> dict:
        found = Study(variants, [0], steps).timed(HERE / "build" / "peers", args.threads)
        return {"config": config, "steps": found.pop("steps"), "updates": found}

    script.write(args, "peers", measure, describe)


if __name__ == "__main__":
    main()
