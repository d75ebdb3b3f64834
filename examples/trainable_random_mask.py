"""A random mask that does not train, and the same mask that does.

python examples/trainable_random_mask.py
"""

import keras

import keras_sparse as ks

SPARSITY, EPOCHS, LAYERS, WIDTH = 0.95, 40, 6, 100


def network(shape: tuple[int, ...]) -> keras.Model:
    """A deep, narrow perceptron with orthogonal weights."""
    hidden = [keras.layers.Dense(WIDTH, "tanh") for _ in range(LAYERS)]
    model = keras.Sequential([keras.Input(shape), keras.layers.Flatten(), *hidden])
    model.add(keras.layers.Dense(10))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss, metrics=["accuracy"])
    ks.init_ldi(model, seed=0)
    return model


def main() -> None:
    """Trains the same mask twice on scikit-learn's digits, and draws both."""
    digits = ks.data.load("digits")
    curves, reports = {}, {}
    for name, isometry in {"random mask": False, "with isometry": True}.items():
        model = network(digits.input_shape)
        mask = ks.StaticMask(SPARSITY, seed=0, isometry=isometry)
        probe = ks.SignalPropagation(digits.x_test[:32], every=EPOCHS)
        fit = {"batch_size": 100, "epochs": EPOCHS, "verbose": 0, "callbacks": [mask, probe]}
        history = model.fit(*digits.train, **fit).history
        accuracy = model.evaluate(*digits.test, verbose=0)[1]
        signal = f"singular values of {probe.start['jsv_mean']:.2g} in the mean at the start"
        print(f"{name}: {accuracy:.2%} of the test images, {signal}")
        curves[name] = range(1, EPOCHS + 1), history["loss"]
        reports[name] = ks.signal_report(model, digits.x_test[:32])
    title = f"{SPARSITY:.0%} zeros, the same mask"
    labels = {"label": "training loss", "xlabel": "epoch", "title": title}
    ks.plots.pretraining_curve(curves, "trainable_random_mask.png", **labels)
    ks.plots.signal_propagation(reports, "trainable_random_mask_signals.png", title=title)
    print("trainable_random_mask.png and trainable_random_mask_signals.png are written")


if __name__ == "__main__":
    main()
