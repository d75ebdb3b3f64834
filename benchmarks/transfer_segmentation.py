"""A segmentation model with a sparse encoder, put from circles and squares to other shapes.

    python benchmarks/transfer_segmentation.py

A small U-Net learns to segment circles and squares, dense or while four fifths of its weights are
pruned; then it is put to triangles and crosses by full transfer, with a new, dense head. The shapes
are drawn by `keras_sparse.data.shape_images`.
"""

from pathlib import Path

import keras
from keras import layers

import keras_sparse as ks
from keras_sparse.experiments import benchmark as bench

SPARSE = "80 % sparse"
ABOUT = """\
{images} images of {size} x {size} of each task, {epochs} epochs each with Adam; mean intersection
over union of the three classes on {images} others, in percent. {seeds} seeds."""


def network(size: int, seed: int) -> keras.Model:
    """Two steps down, two up, with what was there before beside it."""
    keras.utils.set_random_seed(seed)

    def block(x: object, filters: int, strides: int = 1) -> object:
        x = layers.Conv2D(filters, 3, strides, padding="same", use_bias=False)(x)
        return layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))

    inputs = keras.Input((size, size, 1))
    first = block(inputs, 8)
    second = block(first, 16, 2)
    deep = block(second, 32, 2)
    up = layers.Concatenate()([second, layers.UpSampling2D()(deep)])
    up = layers.Concatenate()([first, layers.UpSampling2D()(block(up, 16))])
    return keras.Model(inputs, layers.Conv2D(3, 1, name="shapes")(block(up, 8)))


def iou() -> keras.metrics.Metric:
    return keras.metrics.MeanIoU(3, sparse_y_pred=False, name="iou")


def run(config: dict, folder: Path) -> dict[str, float]:
    """One model, trained upstream and transferred."""
    size, images, seed = config["size"], config["images"], config["seed"]

    def drawn(shapes: list[str], offset: int) -> tuple:
        return ks.data.shape_images(shapes, images, size=size, seed=1000 * seed + offset)

    model = network(size, seed)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(5e-3), loss, metrics=[iou()])
    pruning = [ks.GMP(0.8, exclude="shapes")] if config["sparse"] else []
    fit = {"epochs": config["epochs"], "batch_size": 16, "verbose": 0}
    model.fit(*drawn(["circle", "square"], 0), callbacks=pruning, **fit)
    upstream = model.evaluate(*drawn(["circle", "square"], 1), verbose=0)[1]
    task = ks.transfer.full(
        model,
        *drawn(["triangle", "cross"], 2),
        head={"shapes": layers.Conv2D(3, 1, name="new_shapes")},
        dense=not config["sparse"],
        optimizer=keras.optimizers.Adam(5e-3),
        metrics=[iou()],
        seed=seed,
        **fit,
    )
    found = task.model.evaluate(*drawn(["triangle", "cross"], 3), verbose=0)[1]
    return {"upstream": upstream, "iou": found, "sparsity": task.backbone_sparsity}


def describe(content: dict) -> bench.Document:
    results = content["results"]
    columns = {
        "circles and squares": lambda runs: bench.percent([run["upstream"] for run in runs]),
        "triangles and crosses": lambda runs: bench.percent([run["iou"] for run in runs]),
        "zeros": bench.cell("sparsity", ".1%"),
    }
    claim = bench.Claim(SPARSE, "dense", -3.0)
    told = {"claim": lambda claim: f"{claim.better} within 3 points of {claim.worse}"}
    blocks = [
        ABOUT.format(**content["config"]),
        bench.by_variant("Segmentation", "model", columns, results),
        "Claim:",
        bench.claims_table(
            "Claim", told, [claim], lambda name, _: [run["iou"] for run in results.get(name, ())]
        ),
    ]
    return bench.Document("Segmentation transferred from sparse models", blocks)


if __name__ == "__main__":
    script = bench.Script(__doc__, seeds=3, images=150, size=64, epochs=10)
    config = {name: getattr(script.args, name) for name in ("images", "size", "epochs")}
    variants = {
        "dense": bench.Variant({**config, "sparse": False}),
        SPARSE: bench.Variant({**config, "sparse": True}),
    }
    seeds = script.args.seeds
    script.study(bench.Study(variants, range(seeds), run), describe, {**config, "seeds": seeds})
