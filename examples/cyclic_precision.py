"""Low precision for a part of the training: three schedules beside static 8 bits.

python examples/cyclic_precision.py
"""

import keras

import keras_sparse as ks

EPOCHS, BATCH = 20, 32
SCHEDULES = ("static", "RR", "CR", "ER")


def main() -> None:
    """Trains a small network on scikit-learn's digits with each schedule, and with a mask."""
    digits = ks.data.load("digits")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def trained(*callbacks: keras.callbacks.Callback) -> tuple[float, dict[str, list[float]]]:
        model = ks.models.lenet_300_100(digits.input_shape, seed=0)
        model.compile(keras.optimizers.SGD(0.05, momentum=0.9), loss, metrics=["accuracy"])
        fit = {"batch_size": BATCH, "epochs": EPOCHS, "verbose": 0}
        logs = model.fit(*digits.train, callbacks=list(callbacks), **fit).history
        return model.evaluate(*digits.test, verbose=0)[1], logs

    for name in SCHEDULES:
        schedule = ks.precision.ConstantPrecision(8) if name == "static" else name
        accuracy, logs = trained(ks.PrecisionScheduler(schedule, q_min=3, q_max=8, cycles=4))
        cost = logs["relative_bitops"][-1]
        print(f"{name:>6}: {accuracy:.2%} at {cost:.2f} of the bit operations of static 8 bits")
    low = ks.PrecisionScheduler("CR", q_min=3, q_max=8, cycles=4, quantizer="symmetric")
    accuracy, logs = trained(low, ks.ACDC(0.9))
    print(f"CR and AC/DC at 90 % zeros: {accuracy:.2%}")
    print(f"its bit operations, which leave zeros out: {logs['bitops'][-1]:.3g} a sample")


if __name__ == "__main__":
    main()
