"""From a Keras model to a small, verified LiteRT file.

python examples/quickstart.py
"""

import keras

import keras_sparse as ks


def main() -> None:
    """Trains a LeNet on scikit-learn's digits to 90 % zeros, and exports it."""
    digits = ks.data.load("digits")
    model = ks.models.lenet_300_100(digits.input_shape, seed=0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    model.fit(
        *digits.train,
        epochs=30,
        validation_data=digits.test,
        verbose=2,
        callbacks=[ks.ACDC(sparsity=0.9)],
    )
    ks.report(model).print()
    model.save("digits.keras")
    ks.deploy.to_litert(model, "digits.tflite", inputs=digits.x_test[:64]).print()


if __name__ == "__main__":
    main()
