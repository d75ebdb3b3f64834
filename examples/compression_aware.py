"""One dense model for every sparsity: CrAM, and what it saves when pruned in one shot.

Trains a small convolutional network on scikit-learn's digits with SGD and with CrAM, each for the
same number of gradients, and compresses both to several sparsities, to a 2:4 pattern and to three
bits, with nothing but batch normalization tuned afterwards.

    python examples/compression_aware.py
"""

import keras
from keras import layers

import keras_sparse as ks

EPOCHS, BATCH = 20, 64
OPERATORS = {"sparsities": [0.5, 0.8, 0.9, 0.95], "operators": ["2:4", "3bit"]}
FIRST = {"exclude": "conv1"}  # one input channel is no group of four


def network(input_shape, classes, steps):
    """Four convolutions with batch normalization."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input(input_shape)], name="digits")
    for i, (filters, strides) in enumerate([(16, 1), (32, 2), (32, 1), (64, 2)]):
        model.add(layers.Conv2D(filters, 3, strides, "same", use_bias=False, name=f"conv{i + 1}"))
        model.add(layers.BatchNormalization())
        model.add(layers.ReLU())
    model.add(layers.GlobalAveragePooling2D())
    model.add(layers.Dense(classes, name="logits"))
    rate = keras.optimizers.schedules.CosineDecay(0.1, steps)
    model.compile(
        keras.optimizers.SGD(rate, momentum=0.9, weight_decay=5e-4),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def main() -> None:
    """Trains both models and compresses them."""
    digits = ks.data.load("digits")
    x, y = digits.train
    cram = ks.CrAM([0.5, 0.7, 0.9], rho=0.1, sparse_gradients=True, seed=0, **FIRST)
    # A step of CrAM takes two gradients; SGD takes as many with twice the epochs.
    for name, epochs, callbacks in (("sgd", 2 * EPOCHS, []), ("cram", EPOCHS, [cram])):
        model = network(digits.input_shape, digits.num_classes, epochs * (len(x) // BATCH + 1))
        model.fit(x, y, batch_size=BATCH, epochs=epochs, verbose=2, callbacks=callbacks)
        sweep = ks.one_shot_sweep(
            model,
            digits.test,
            calibration=x[:1000],
            evaluate_untuned=True,
            **OPERATORS,
            **FIRST,
        )
        print(name)
        sweep.print()
        sweep.plot(f"{name}.png")
    ks.prune(model, 0.9, **FIRST)
    ks.batch_norm_tuning(model, x[:1000])
    ks.report(model, **FIRST).print()


if __name__ == "__main__":
    main()
