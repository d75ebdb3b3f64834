"""A method of one's own: gradual pruning by first-order Taylor scores.

Molchanov et al. (2017) judge a weight by how much the loss would change without it, to first
order: |w * dL/dw|. The rule says how weights are scored, the callback which rule to use; masks,
schedules, patterns, checkpoints, distribution and reports come from the package.

    python examples/taylor_pruning.py
"""

import keras
from keras import ops

import keras_sparse as ks


@keras.saving.register_keras_serializable(package="examples")
class TaylorRule(ks.ScheduledMasks):
    """Keeps the weights whose removal would change the loss most."""

    uses_gradients = True

    def scores(self, tensors):
        """|w * dL/dw|, from the gradient of the batch on which masks change."""
        pairs = zip(tensors.weights, tensors.gradients, strict=True)
        return [ops.abs(weight * gradient) for weight, gradient in pairs]


class TaylorPruning(ks.GMP):
    """Gradual pruning by Taylor scores; arguments as those of `GMP`."""

    rule_class = TaylorRule


def main() -> None:
    """Prunes a small network on scikit-learn's digits to 80 %."""
    digits = ks.data.load("digits")
    model = ks.models.lenet_300_100(digits.input_shape, seed=0)
    model.compile(
        keras.optimizers.SGD(0.05, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(
        *digits.train,
        epochs=20,
        validation_data=digits.test,
        verbose=2,
        callbacks=[TaylorPruning(0.8, ks.Polynomial(every="1ep"))],
    )
    ks.report(model).print()


if __name__ == "__main__":
    main()
