"""Several workers, each of which grows and prunes another part of one network.

Trains LeNet-300-100 on scikit-learn's digits to 95 % zeros. Start it as two workers on one machine:

    keras-sparse launch --workers 2 examples/parallel_grow_and_prune.py

or once on each of several machines, with a TF_CONFIG that names all of them. After Ctrl-C, or when
a worker was lost, the same command goes on from the last round.
"""

import math

import keras

import keras_sparse as ks

ROUNDS, EPOCHS_PER_ROUND, FINETUNE_EPOCHS = 6, 4, 8


def main() -> None:
    """Trains with the other workers; worker 0 says what came of it."""
    workers = ks.distribute.connect()  # first of all, before anything makes a tensor
    keras.utils.set_random_seed(workers.rank)  # each worker shuffles the images in its own way
    digits = ks.data.load("digits")
    model = ks.models.lenet_300_100(digits.input_shape)
    model.compile(
        keras.optimizers.SGD(0.1, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    gap = ks.ParallelGaP(
        0.95,
        workers,
        steps=ROUNDS,
        epochs_per_step=EPOCHS_PER_ROUND,
        finetune_epochs=FINETUNE_EPOCHS,
        learning_rate=lambda epoch, epochs: 0.05 * (1 + math.cos(math.pi * epoch / epochs)),
        backup="parallel_grow_and_prune_backup",
        seed=0,
    )
    epochs = ROUNDS * EPOCHS_PER_ROUND + FINETUNE_EPOCHS
    history = model.fit(
        *digits.train, batch_size=64, epochs=epochs, verbose=2, callbacks=[gap]
    ).history
    if workers.rank == 0:  # All have the same model now.
        ks.report(model).print()
        accuracy = model.evaluate(*digits.test, verbose=0, return_dict=True)["accuracy"]
        print(f"{accuracy:.2%} of the test images are recognized")
        print(f"the workers received {history['gap_traffic'][-1]:,.0f} bytes")


if __name__ == "__main__":
    main()
