"""A network that is never dense as a whole: its quarters take turns.

Trains a small convolutional network on scikit-learn's digits by cyclic grow-and-prune, to 95 %
zeros between its first and last layer, and the same network with a random mask that never changes,
and draws which part of it was how dense when.

    python examples/grow_and_prune.py
"""

import math

import keras
import numpy as np
from keras import layers
from matplotlib.ticker import MaxNLocator

import keras_sparse as ks
from keras_sparse.plots.drawing import BLUE, GREY, new_figure, written

STEPS, EPOCHS_PER_STEP, FINETUNE_EPOCHS = 8, 5, 20
EPOCHS = STEPS * EPOCHS_PER_STEP + FINETUNE_EPOCHS


def network(input_shape, classes, width=12):
    """Convolutions of equal size, so that the partitions are of nearly equal size."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input(input_shape)], name="digits")
    for i, strides in enumerate([1, 1, 2, 1, 1]):
        model.add(layers.Conv2D(width, 3, strides, "same", use_bias=False, name=f"conv{i + 1}"))
        model.add(layers.BatchNormalization(name=f"norm{i + 1}"))
        model.add(layers.ReLU())
    model.add(layers.GlobalAveragePooling2D())
    model.add(layers.Dense(classes, name="logits"))
    model.compile(
        keras.optimizers.SGD(0.1, momentum=0.9, weight_decay=5e-4),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def rate(epoch, epochs):
    """A cosine over each step, and over fine-tuning."""
    return 0.1 * 0.5 * (1 + math.cos(math.pi * epoch / epochs))


def draw(history, partitions, path):
    """The density of each partition, one row each, and that of all of them."""
    figure, axes = new_figure(7.5, 4.2)
    rows = [np.array(history[f"gap_density_{i}"]) for i in range(partitions)]
    rows.append(np.array(history["gap_density"]))
    labels = [*(f"partition {i}" for i in range(partitions)), "whole model"]
    epochs = np.arange(len(rows[0]) + 1) + 0.5
    for row, density in enumerate(rows):
        bottom = (len(rows) - 1 - row) * 1.25
        color = GREY if row == partitions else BLUE
        axes.stairs(density + bottom, epochs, baseline=bottom, fill=True, color=color)
        peak = f"at most {density.max():.0%}"
        axes.text(epochs[-1] + 0.3, bottom + 0.5, peak, va="center", fontsize="small")
    axes.set_yticks([(len(rows) - 1 - i) * 1.25 + 0.5 for i in range(len(rows))], labels)
    axes.set_xlim(0.5, epochs[-1])
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="epoch", title="Fraction of the weights that are trained")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    return written(figure, path)


def main() -> None:
    """Trains, compares with a fixed random mask, and draws the densities."""
    digits = ks.data.load("digits")
    x, y = digits.train
    training, held_out = (x[300:], y[300:]), (x[:300], y[:300])
    # At 95 % the few weights of the ends would be too few for ten classes, whatever the method.
    ends = ("first", "last")
    gap = ks.CyclicGaP(
        0.95,
        allocation="uniform",
        keep_dense=ends,
        partitions=4,
        steps=STEPS,
        epochs_per_step=EPOCHS_PER_STEP,
        finetune_epochs=FINETUNE_EPOCHS,
        learning_rate=rate,
        validation_data=held_out,
        calibration=training[0],
        best_checkpoint="best.weights.h5",
        seed=0,
    )
    model = network(digits.input_shape, digits.num_classes)
    history = model.fit(*training, batch_size=64, epochs=EPOCHS, verbose=2, callbacks=[gap]).history
    model.load_weights("best.weights.h5")
    ks.report(model).print()
    other = network(digits.input_shape, digits.num_classes)
    once = keras.callbacks.LearningRateScheduler(lambda epoch: rate(epoch, EPOCHS))
    masked = ks.StaticMask(0.95, allocation="uniform", keep_dense=ends, seed=0)
    other.fit(*training, batch_size=64, epochs=EPOCHS, verbose=0, callbacks=[masked, once])
    for name, trained in (("grow-and-prune", model), ("a fixed random mask", other)):
        accuracy = trained.evaluate(*digits.test, verbose=0, return_dict=True)["accuracy"]
        print(f"{name}: {accuracy:.2%} of the test images are recognized")
    print(f"at most {history['gap_peak_density'][-1]:.1%} of the weights were trained at once")
    draw(history, 4, "grow_and_prune.png")


if __name__ == "__main__":
    main()
