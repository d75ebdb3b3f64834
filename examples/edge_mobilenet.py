"""A network for phones: what its zeros save there, before training, after it, and on the file.

python examples/edge_mobilenet.py
"""

import keras
import numpy as np

import keras_sparse as ks

BLOCKS = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1)]
EPOCHS = 20


def enlarged(images: np.ndarray) -> np.ndarray:
    """Images of 8x8 as 32x32, in three equal channels."""
    return np.repeat(keras.ops.image.resize(images, (32, 32)), 3, axis=-1)


def main() -> None:
    """Trains a small MobileNet on digits to 90 % zeros that a phone leaves out of its work."""
    digits = ks.data.load("digits")
    x, y = enlarged(digits.x_train), digits.y_train
    test = enlarged(digits.x_test), digits.y_test
    model = ks.models.mobilenet(0.5, (32, 32, 3), blocks=BLOCKS, seed=0)
    # Before an hour of training: will zeros in these layers save time?
    eligibility = ks.deploy.eligibility(model, runtime="xnnpack-arm")
    eligibility.print()
    if not eligibility.all_fast():
        raise SystemExit("Some of the zeros would save nothing.")

    ks.deploy.to_litert(model, "mobilenet_dense.tflite", sparse=False, inputs=test[0][:32])
    ks.models.set_batch_norm_momentum(model, 0.9)
    model.compile(
        keras.optimizers.Adam(3e-3),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(
        x,
        y,
        batch_size=32,
        epochs=EPOCHS,
        validation_data=test,
        verbose=2,
        callbacks=[ks.GMP(sparsity=0.9, granularity="xnnpack", allocation="uniform")],
    )
    ks.report(model, runtime="xnnpack-arm").print()
    ks.deploy.to_litert(model, "mobilenet.tflite", inputs=test[0][:32]).print()

    # On this machine; a processor with AVX computes convolutions dense.
    ks.deploy.benchmark(["mobilenet_dense.tflite", "mobilenet.tflite"]).print()


if __name__ == "__main__":
    main()
