"""Search methods, sparsities and learning rates on scikit-learn's digits, by accuracy and bytes.

    python examples/sweep.py

About two minutes on two cores. Interrupt it and give the same command again: it goes on with the
epoch that it was in. In `digits_sweep` it leaves the picture of the trials, their numbers as JSON,
and the models of the best.
"""

import keras
from keras import layers

import keras_sparse as ks

METHODS = ["acdc", "gmp", "rigl"]
SPARSITY = ks.tuning.ReverseLogUniform(0.8, 0.98)  # as many trials from 80 to 94 % as above
TRIALS, EPOCHS, WORKERS = 12, 8, 2
FOLDER = "digits_sweep"


def build_model(hp):
    """A perceptron whose learning rate is searched."""
    hidden = [layers.Dense(64, activation="relu") for _ in range(2)]
    model = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), *hidden, layers.Dense(10)])
    rate = hp.Float("learning_rate", 1e-3, 3e-2, sampling="log")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate), loss, metrics=["accuracy"])
    return model


def main():
    """Searches, and prints the trials that no other one dominates."""
    digits = ks.data.load("digits")
    tuner = ks.tuning.SparseTuner(
        ks.tuning.SparseHyperModel(build_model, METHODS, SPARSITY),
        objectives=("accuracy", "bytes"),
        max_trials=TRIALS,
        keep_models=5,
        directory=FOLDER,
        project_name="trials",
    )
    data = {"validation_split": 0.2, "epochs": EPOCHS, "batch_size": 64}
    tuner.search(*digits.train, workers=WORKERS, **data)
    result = tuner.result()
    result.print()
    result.plot(f"{FOLDER}/pareto.png")
    result.write(f"{FOLDER}/pareto.json")
    (model,) = tuner.get_best_models(1)
    print(f"{model.evaluate(*digits.test, verbose=0)[1]:.2%} of the test images by the best model")
    ks.report(model).print()


if __name__ == "__main__":
    main()
